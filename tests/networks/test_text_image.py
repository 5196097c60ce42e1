from __future__ import annotations

import json
import os
import pickle
import shutil

import pytest
import torch
import torch.nn.functional as F
from small_models import TIMM_VISION, write_clip_folder

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.networks.clip.load import load_text_image_encoder
from medclipsam_monai.networks.clip.preprocess import Preprocess
from medclipsam_monai.weights.clip_folder import build_clip
from medclipsam_monai.weights.state_dicts import read_state_dict

OPEN_CLIP_VISION = {"layers": 3, "width": 48, "head_width": 16, "patch_size": 16, "image_size": 96}


@pytest.fixture(scope="module", params=["timm", "timm_mean_pooled", "open_clip", "open_clip_mean_pooled"])
def any_encoder(request, tmp_path_factory):
    vision = {
        "timm": TIMM_VISION,
        "timm_mean_pooled": {**TIMM_VISION, "timm_pool": "avg"},
        "open_clip": OPEN_CLIP_VISION,
        "open_clip_mean_pooled": {**OPEN_CLIP_VISION, "pool_type": "avg"},
    }[request.param]
    folder = write_clip_folder(tmp_path_factory.mktemp(request.param), {"image_size": 160, **vision})
    return load_text_image_encoder(folder)


def images(encoder, count: int = 2) -> torch.Tensor:
    size = encoder.image_size
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def test_cut_at_any_block_it_is_the_whole_network(any_encoder):
    x = images(any_encoder)
    with torch.no_grad():
        expected = any_encoder.clip.encode_image(any_encoder.preprocess(x))
        for block in range(any_encoder.num_blocks):
            embedding = any_encoder.embed(any_encoder.tokens(x, block), block)
            torch.testing.assert_close(embedding, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(any_encoder.encode_image(x), F.normalize(expected, dim=-1), atol=1e-5, rtol=1e-4)


def test_tokens_have_the_class_token_before_the_grid(any_encoder):
    rows, columns = any_encoder.grid
    tokens = any_encoder.tokens(images(any_encoder), 0)
    assert tokens.shape[:2] == (2, 1 + rows * columns)


def test_text_is_encoded_as_open_clip_does_it(any_encoder):
    texts = ["lungs", "no tumor in the brain"]
    with torch.no_grad():
        expected = F.normalize(any_encoder.clip.encode_text(any_encoder.tokenizer(texts)), dim=-1)
    torch.testing.assert_close(any_encoder.encode_text(texts), expected)
    assert any_encoder.encode_text(texts).shape == (2, 24)


def test_padding_is_cut_and_does_not_matter(encoder):
    short = encoder.tokenizer(["lungs", "a bright tumor"])
    assert short.shape == (2, 5), "two marks and the longest sentence's three words"
    padded = F.pad(short, (0, 16 - 5))
    torch.testing.assert_close(encoder.encode_token_ids(short), encoder.encode_token_ids(padded))


def test_weights_are_frozen_and_training_mode_stays_off(encoder):
    encoder.train()
    assert not encoder.clip.training
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


@pytest.mark.parametrize("block", [-1, 99])
def test_a_block_that_is_not_there_is_named(encoder, block):
    with pytest.raises(ValueError, match=f"between 0 and 5 .* got {block}"):
        encoder.tokens(images(encoder), block)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (" \n\t", "is empty"),
        ("lungs " * 2000, "12000 characters"),
        ("lungs " * 20, "22 tokens, this model reads at most 16"),
        ("肺", "vocabulary"),
        ("лёгкие", "vocabulary"),
    ],
)
def test_texts_it_cannot_take_are_refused(encoder, text, message):
    with pytest.raises(InputError, match=message):
        encoder.encode_text([text])


def test_a_moved_folder_still_loads(clip_folder, tmp_path, encoder):
    moved = shutil.copytree(clip_folder, tmp_path / "moved away")
    assert torch.equal(load_text_image_encoder(moved).encode_text(["lungs"]), encoder.encode_text(["lungs"]))


@pytest.mark.parametrize("name", ["open_clip_model.safetensors", "tokenizer.json", "config.json"])
def test_a_missing_file_is_named(clip_folder, tmp_path, name):
    folder = shutil.copytree(clip_folder, tmp_path / "clip")
    (folder / name).unlink()
    with pytest.raises(InputError, match=name):
        load_text_image_encoder(folder)


def test_truncated_weights_are_refused(clip_folder, tmp_path):
    folder = shutil.copytree(clip_folder, tmp_path / "clip")
    weights = folder / "open_clip_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        load_text_image_encoder(folder)


def test_weights_of_another_architecture_are_refused(clip_folder, tmp_path):
    other = write_clip_folder(tmp_path / "other", {**TIMM_VISION, "image_size": 160, "timm_proj": "mlp"})
    shutil.copy(clip_folder / "open_clip_model.safetensors", other / "open_clip_model.safetensors")
    with pytest.raises(InputError, match=r"another architecture .* names missing .* unknown"):
        load_text_image_encoder(other)


def test_a_tower_that_is_no_vit_is_refused(tmp_path):
    vision = {"timm_model_name": "test_resnet", "timm_pool": "avg", "timm_proj": "linear", "image_size": 160}
    folder = write_clip_folder(tmp_path / "resnet", vision)
    with pytest.raises(InputError, match="is a ResNet; expected a ViT"):
        load_text_image_encoder(folder)


def test_a_configuration_that_describes_no_model_is_refused(clip_folder, tmp_path):
    folder = shutil.copytree(clip_folder, tmp_path / "clip")
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"]["vision_cfg"]["timm_model_name"] = "no_such_model"
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="does not describe an open_clip model"):
        build_clip(folder)


class Malicious:
    def __reduce__(self):
        return os.system, ("echo this must never run",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({"w": Malicious()}), "could run code"),
        (b"", "not a whole weights file"),
        (b"PK\x03\x04 cut off", "not a whole weights file"),
    ],
)
def test_files_that_are_no_plain_weights_are_refused(tmp_path, content, message):
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_state_dict(path)


def test_a_checkpoint_that_wraps_its_weights_is_unwrapped(tmp_path):
    torch.save({"state_dict": {"module.w": torch.ones(2)}, "epoch": 3}, tmp_path / "w.pt")
    assert list(read_state_dict(tmp_path / "w.pt")) == ["w"]


@pytest.mark.parametrize("fit", ["squash", "letterbox"])
@pytest.mark.parametrize("shape", [(300, 100), (100, 300), (224, 224), (37, 53)])
def test_a_map_comes_back_to_where_the_picture_was(fit, shape):
    """A bright square in a picture of any proportion is bright at its own place in the map, and nowhere else."""
    height, width = shape
    image = torch.zeros(1, 3, height, width)
    top, left = int(height * 0.6), int(width * 0.7)
    image[..., top : top + height // 4, left : left + width // 4] = 1
    preprocess = Preprocess(112, (0.0,) * 3, (1.0,) * 3, fit)
    back = preprocess.restore(preprocess(image)[:, :1], shape)
    assert back.shape == (1, 1, height, width)
    assert ((back - image[:, :1]).abs() > 0.5).float().mean() < 0.02


@pytest.mark.parametrize("fit", ["squash", "letterbox"])
def test_the_borders_of_a_wide_picture_are_seen(fit):
    image = torch.zeros(1, 3, 30, 90)
    image[..., :10] = 1
    assert float(Preprocess(48, (0.0,) * 3, (1.0,) * 3, fit)(image).amax()) > 0.9


def test_an_unknown_fit_is_refused():
    with pytest.raises(ValueError, match="squash, letterbox"):
        Preprocess(48, (0.0,) * 3, (1.0,) * 3, "crop")


def test_a_hub_name_loads_from_the_local_cache(clip_folder, encoder, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download", lambda name, allow_patterns: (asked.append(name), str(clip_folder))[1]
    )
    loaded = load_text_image_encoder("hf-hub:some/model")
    assert asked == ["some/model"]
    assert torch.equal(loaded.encode_text(["lungs"]), encoder.encode_text(["lungs"]))


def test_a_hub_name_that_cannot_be_had_is_one_line(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"^hub model no-such/model cannot be had \(.*local folder$"):
        load_text_image_encoder("hf-hub:no-such/model")
