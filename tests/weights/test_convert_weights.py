from __future__ import annotations

import argparse
import json
import os
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from small_models import write_clip_folder
from typer.testing import CliRunner

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.cli.weights import weights_app
from medclipsam_monai.networks.clip.load import load_text_image_encoder
from medclipsam_monai.weights.convert import convert


@pytest.fixture(scope="module")
def transformers_folder(clip_folder, tmp_path_factory):
    return convert(clip_folder, tmp_path_factory.mktemp("converted") / "port", "transformers")


def embeddings(folder):
    encoder = load_text_image_encoder(folder)
    image = torch.rand(1, 3, 160, 160, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return encoder.encode_image(image), encoder.encode_text(["a bright disk in the left lung"])


def test_transformers_folder_loads_and_computes_the_same(clip_folder, transformers_folder):
    keys = load_file(transformers_folder / "model.safetensors").keys()
    assert "vision_model.encoder.layers.0.self_attn.q_proj.weight" in keys
    assert not any(key.startswith("visual.") for key in keys)
    for before, after in zip(embeddings(clip_folder), embeddings(transformers_folder), strict=True):
        torch.testing.assert_close(after, before, rtol=0, atol=0)


def test_there_and_back_gives_every_tensor_back(clip_folder, transformers_folder, tmp_path):
    back = convert(transformers_folder, tmp_path / "back", "open_clip")
    before, after = (load_file(folder / "open_clip_model.safetensors") for folder in (clip_folder, back))
    assert {key for key in before if "position_ids" not in key} == after.keys()
    assert all(torch.equal(before[key], value) for key, value in after.items())
    assert embeddings(back)[0].shape == embeddings(clip_folder)[0].shape


def test_half_precision_stays_half_precision(clip_folder, tmp_path):
    half = shutil.copytree(clip_folder, tmp_path / "half")
    file = half / "open_clip_model.safetensors"
    save_file({k: v.half() if v.is_floating_point() else v for k, v in load_file(file).items()}, file)
    done = convert(half, tmp_path / "port", "transformers")
    assert load_file(done / "model.safetensors")["visual_projection.weight"].dtype == torch.float16


def test_single_file_target(clip_folder, transformers_folder, tmp_path):
    file = convert(clip_folder, tmp_path / "new" / "port.safetensors", "transformers")
    assert [path.name for path in file.parent.iterdir()] == ["port.safetensors"]
    assert load_file(file).keys() == load_file(transformers_folder / "model.safetensors").keys()


def test_empty_folder_is_filled(clip_folder, tmp_path):
    (tmp_path / "empty").mkdir()
    assert (convert(clip_folder, tmp_path / "empty", "open_clip") / "open_clip_config.json").is_file()


def test_command_converts(clip_folder, tmp_path):
    target = tmp_path / "port"
    arguments = ["convert", str(clip_folder), str(target), "--layout", "transformers"]
    result = CliRunner().invoke(weights_app, arguments)
    assert (result.exit_code, result.stdout) == (0, f"{target}\n")
    assert (target / "model.safetensors").is_file()


class RunsCode:
    def __reduce__(self):
        return os.getcwd, ()


def unknown_layout(path):
    torch.save({"encoder.layer.weight": torch.zeros(2)}, path)


def code_in_pickle(path):
    torch.save({"a": RunsCode()}, path)


def cut_off(path):
    unknown_layout(path)
    path.write_bytes(path.read_bytes()[:200])


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (unknown_layout, r"odd\.pth is a checkpoint of another architecture"),
        (code_in_pickle, r"odd\.pth is refused: .*could run code"),
        (cut_off, r"odd\.pth is not a whole weights file"),
    ],
)
def test_source_that_is_no_biomedclip_is_refused_and_nothing_is_written(tmp_path, write, message):
    write(tmp_path / "odd.pth")
    with pytest.raises(InputError, match=message):
        convert(tmp_path / "odd.pth", tmp_path / "new", "open_clip")
    assert [path.name for path in tmp_path.iterdir()] == ["odd.pth"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("taken.safetensors", "is there already"), ("full", "is there already"), ("new.pth", "would be a pickle")],
)
def test_target_that_would_be_lost_or_unsafe_is_refused(clip_folder, tmp_path, name, message):
    (tmp_path / "taken.safetensors").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    with pytest.raises(InputError, match=message):
        convert(clip_folder, tmp_path / name, "transformers")
    assert (tmp_path / "taken.safetensors").read_text() == "mine"


def test_hub_name_and_unknown_layout_are_refused(clip_folder, tmp_path):
    with pytest.raises(InputError, match="is a hub name"):
        convert("hf-hub:a/b", tmp_path / "new", "open_clip")
    with pytest.raises(ValueError, match="layout must be one of open_clip, transformers, got 'timm'"):
        convert(clip_folder, tmp_path / "new", "timm")


def test_target_that_cannot_be_written_is_one_line(clip_folder, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(InputError, match="cannot write"):
        convert(clip_folder, tmp_path / "file" / "new", "open_clip")


class RunsCodeLikeNumpy:
    """A number of numpy, as pickles name it, made by a call of something else."""

    def __reduce__(self):
        return os.system, ("exit 1",)


@pytest.fixture
def unimed(tmp_path):
    """A small UniMed-CLIP: its fork's names, as its training left them, and the settings that come apart from it."""
    vision = {"layers": 2, "width": 32, "head_width": 16, "patch_size": 16, "image_size": 64}
    settings = write_clip_folder(tmp_path / "settings", vision)
    weights = load_file(settings / "open_clip_model.safetensors")
    (settings / "open_clip_model.safetensors").unlink()
    config = json.loads((settings / "open_clip_config.json").read_text())
    config["model_cfg"]["quick_gelu"] = True
    (settings / "open_clip_config.json").write_text(json.dumps(config))
    state = {f"module.{name.replace('text.', 'text_encoder.', 1)}": value for name, value in weights.items()}
    best, options = np.float64(0.5), argparse.Namespace(lr=np.arange(3.0))
    return settings, weights, {"epoch": np.int64(3), "best": best, "args": options, "state_dict": state}


def test_a_checkpoint_of_a_training_becomes_a_folder_that_loads(unimed, tmp_path):
    settings, weights, checkpoint = unimed
    torch.save(checkpoint, tmp_path / "unimed_clip.pt")
    with pytest.raises(InputError, match="could run code"):
        load_text_image_encoder(tmp_path / "unimed_clip.pt")
    arguments = ["convert", str(tmp_path / "unimed_clip.pt"), str(tmp_path / "new"), "--layout", "open_clip"]
    result = CliRunner().invoke(weights_app, [*arguments, "--settings", str(settings)])
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'new'}\n")
    written = load_file(tmp_path / "new" / "open_clip_model.safetensors")
    assert written.keys() == weights.keys()
    assert all(torch.equal(written[name], value) for name, value in weights.items())
    encoder = load_text_image_encoder(tmp_path / "new")
    assert type(encoder.clip.visual.transformer.resblocks[0].mlp.gelu).__name__ == "QuickGELU"
    image = torch.rand(1, 3, 64, 64)
    expected = torch.nn.functional.normalize(encoder.clip.encode_image(encoder.prepare(image)), dim=-1)
    torch.testing.assert_close(encoder.encode_image(image), expected)


def test_what_is_passed_over_is_not_made(unimed, tmp_path, monkeypatch):
    settings, _, checkpoint = unimed
    torch.save(checkpoint, tmp_path / "unimed_clip.pt")
    monkeypatch.setattr(argparse, "Namespace", None)  # nobody asks for it
    convert(tmp_path / "unimed_clip.pt", tmp_path / "new", "open_clip", settings)
    assert not [one for one in torch.serialization.get_safe_globals() if isinstance(one, tuple)], "nothing is left open"


def test_what_would_run_code_is_refused_also_here(unimed, tmp_path):
    settings, _, checkpoint = unimed
    torch.save({**checkpoint, "best": RunsCodeLikeNumpy()}, tmp_path / "odd.pt")
    with pytest.raises(InputError, match="could run code"):
        convert(tmp_path / "odd.pt", tmp_path / "new", "open_clip", settings)
    torch.save({**checkpoint, "state_dict": {"w": np.float64(1)}}, tmp_path / "odd.pt")
    with pytest.raises(InputError, match="expected names and tensors"):
        convert(tmp_path / "odd.pt", tmp_path / "new", "open_clip", settings)
    assert not (tmp_path / "new").exists()


def test_only_a_biomedclip_has_the_transformers_layout(unimed, clip_folder, tmp_path):
    settings, _, checkpoint = unimed
    torch.save(checkpoint, tmp_path / "unimed_clip.pt")
    with pytest.raises(InputError, match="is no BiomedCLIP, and has no transformers layout"):
        convert(tmp_path / "unimed_clip.pt", tmp_path / "new", "transformers", settings)
    with pytest.raises(InputError, match=r"has its own open_clip_config\.json; leave the settings out"):
        convert(clip_folder, tmp_path / "new", "open_clip", settings)
    with pytest.raises(InputError, match="another architecture"):
        convert(tmp_path / "unimed_clip.pt", tmp_path / "new", "open_clip", clip_folder)
