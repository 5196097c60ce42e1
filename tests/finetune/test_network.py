from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.finetune import ContrastiveCLIP, ExportClip, merged_state_dict, save_clip_folder
from medclipsam_monai.networks.clip.load import load_text_image_encoder


def test_features_are_those_of_the_frozen_encoder(network, steady_clip, batch):
    encoder = load_text_image_encoder(steady_clip)
    image, text = network.eval()(batch["image"], batch["text"])
    unit = torch.nn.functional.normalize
    torch.testing.assert_close(unit(image, dim=1), encoder.encode_image(batch["image"]), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(unit(text, dim=1), encoder.encode_token_ids(batch["text"]), atol=1e-5, rtol=1e-4)
    assert torch.equal(network(batch["image"]), image)


def test_captions_are_cut_off_where_requests_are_refused(network, steady_clip):
    long = "lung " * 50
    assert network.tokenize([long]).shape == (1, 16)
    with pytest.raises(InputError, match="this model reads at most"):
        load_text_image_encoder(steady_clip).encode_text([long])


def test_all_but_the_logit_scale_can_learn(network):
    assert [name for name, p in network.named_parameters() if not p.requires_grad] == ["clip.logit_scale"]


def test_blocks_that_do_nothing_are_skipped_and_stay(steady_clip, tmp_path, batch):
    network = ContrastiveCLIP(steady_clip)
    idle = network.clip.visual.trunk.blocks[1]
    with torch.no_grad():
        for end in (idle.attn.proj, idle.mlp.fc2):
            end.weight.zero_()
            end.bias.zero_()
    expected = network(batch["image"])
    other = ContrastiveCLIP(save_clip_folder(network, tmp_path / "idle"))
    calls = []
    other.clip.visual.trunk.blocks[1].attn.register_forward_hook(lambda *_: calls.append(1))
    torch.testing.assert_close(other(batch["image"]), expected)
    assert not calls
    assert not any(p.requires_grad for p in other.clip.visual.trunk.blocks[1].parameters())


def test_what_is_saved_is_loaded_as_it_was(network, tmp_path):
    folder = save_clip_folder(network, tmp_path / "clip", temperature=0.25)
    loaded = ContrastiveCLIP(folder)
    state = network.state_dict()
    for name, value in loaded.state_dict().items():
        if name != "clip.logit_scale":
            assert torch.equal(value, state[name]), name
    assert loaded.clip.logit_scale.exp().item() == pytest.approx(4)
    with torch.no_grad():
        network.clip.visual.head.proj.weight.zero_()
    save_clip_folder(network, folder)  # again, in place of the first
    assert not ContrastiveCLIP(folder).clip.visual.head.proj.weight.any()
    assert [path.name for path in tmp_path.iterdir()] == ["clip"]


def test_the_transformers_layout_is_written_on_request(network, tmp_path):
    save_clip_folder(network, tmp_path / "clip", transformers_folder=tmp_path / "port")
    from medclipsam_monai.weights.state_dicts import is_transformers_layout, read_state_dict

    assert is_transformers_layout(read_state_dict(tmp_path / "port" / "model.safetensors"))
    assert torch.equal(
        ContrastiveCLIP(tmp_path / "port").clip.visual.head.proj.weight, network.clip.visual.head.proj.weight
    )


def test_a_place_that_cannot_be_written_is_one_line(network, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot write"):
        save_clip_folder(network, tmp_path / "file" / "clip")


@pytest.mark.parametrize("place", ["folder", "transformers_folder"])
def test_a_folder_with_anything_but_a_clip_is_not_replaced(network, tmp_path, place):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years of work")
    places = {"folder": tmp_path / "clip", place: mine}
    with pytest.raises(InputError, match=r"cannot replace .*mine: it holds thesis\.tex, which is no file of a CLIP"):
        save_clip_folder(network, **places)
    assert [path.name for path in mine.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("place", ["folder", "transformers_folder"])
def test_a_folder_that_will_not_be_replaced_is_said_before_the_training(network, tmp_path, place):
    (tmp_path / "thesis.tex").write_text("years of work")
    places = {"folder": tmp_path / "clip", place: tmp_path}
    with pytest.raises(InputError, match=r"holds thesis\.tex, which is no file of a CLIP"):
        ExportClip(network, tmp_path / "models", **places).attach(Engine(lambda engine, batch: None))
    ExportClip(network, tmp_path / "models", tmp_path / "clip").attach(Engine(lambda engine, batch: None))


def test_a_disk_that_fills_up_leaves_the_old_folder_whole(network, tmp_path, monkeypatch):
    folder = save_clip_folder(network, tmp_path / "clip")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("medclipsam_monai.weights.clip_folder.shutil.copyfile", full)
    with pytest.raises(InputError, match=r"cannot write clip in .*: No space left on device"):
        save_clip_folder(network, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["clip"]


def test_an_unknown_fit_is_refused(steady_clip):
    with pytest.raises(InputError, match="fit must be one of squash, letterbox, got 'crop'"):
        ContrastiveCLIP(steady_clip, fit="crop")


class TestLora:
    @pytest.fixture
    def lora(self, steady_clip):
        network = ContrastiveCLIP(steady_clip, lora_rank=2)
        torch.manual_seed(0)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if "lora_B" in name:
                    parameter.normal_(std=0.1)
        return network

    def test_only_updates_of_both_towers_learn(self, lora):
        free = [name for name, p in lora.named_parameters() if p.requires_grad]
        assert all("lora_" in name for name in free)
        assert any("visual.trunk" in name for name in free) and any("text.transformer" in name for name in free)
        assert not any(".embeddings." in name for name in free)

    def test_merged_weights_do_what_the_updates_do(self, lora, network, batch, tmp_path):
        before = network.eval()(batch["image"], batch["text"])
        changed = lora.eval()(batch["image"], batch["text"])
        assert not torch.allclose(changed[0], before[0], atol=1e-3)
        merged = ContrastiveCLIP(save_clip_folder(lora, tmp_path / "clip")).eval()(batch["image"], batch["text"])
        torch.testing.assert_close(merged, changed, atol=1e-5, rtol=1e-4)
        assert merged_state_dict(lora).keys() == network.state_dict().keys()


def test_lora_names_the_extra_where_peft_is_missing(steady_clip, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(InputError, match=r"LoRA needs peft: pip install 'medclipsam-monai\[finetune\]'"):
        ContrastiveCLIP(steady_clip, lora_rank=4)


def test_a_negative_rank_is_refused(steady_clip):
    with pytest.raises(ValueError, match="rank must be positive, got -1"):
        ContrastiveCLIP(steady_clip, lora_rank=-1)
