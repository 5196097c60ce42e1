"""Folders of a Hugging Face hub: which files come, gates, and what is refused; from a hub on this machine."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace

import pytest
from encoder_folders import CLIP, write_encoder, write_hugging_face_folder
from hub_server import serving
from promptable_networks import write_network
from safetensors.torch import load_file
from typer.testing import CliRunner

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.cli.weights import weights_app
from medclipsam_monai.networks.clip.load import load_text_image_encoder
from medclipsam_monai.networks.transformers_sam.load import load_segmenter
from medclipsam_monai.weights import registry
from medclipsam_monai.weights.entries import known_weights
from medclipsam_monai.weights.hugging_face.fetch import Repository, check_folder, fetch_folder

GATE = "https://example.org/model"
ASKED = Repository("someone/network")


@pytest.fixture(scope="module")
def small_clip(tmp_path_factory):
    return write_hugging_face_folder(tmp_path_factory.mktemp("clip") / "clip", CLIP)


@pytest.fixture
def hub(small_clip, tmp_path):
    """A hub of a small CLIP, with what a repository holds besides."""
    folder = shutil.copytree(small_clip, tmp_path / "hub")
    for name in ("README.md", "pytorch_model.bin", "flax_model.msgpack", "modeling_own.py", "onnx/model.safetensors"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"not asked for")
    with serving(folder) as running:
        yield running


@pytest.fixture(autouse=True)
def no_token(monkeypatch, tmp_path):
    """Tests never send a token that this machine has."""
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)


def fetch(hub, target, asked=ASKED):
    return fetch_folder(asked, target, progress=False, endpoint=hub.url)


def test_settings_tokenizer_and_one_form_of_weights_come_and_nothing_else(hub, small_clip, tmp_path):
    target = tmp_path / "home" / "network"
    assert fetch(hub, target) == target
    assert {path.name for path in target.iterdir()} == {path.name for path in small_clip.iterdir()}
    for path in small_clip.iterdir():
        assert (target / path.name).read_bytes() == path.read_bytes()
    assert sorted(set(hub.fetched)) == sorted(path.name for path in small_clip.iterdir())
    assert {path.name for path in target.parent.iterdir() if not path.name.endswith(".lock")} == {"network"}
    assert set(hub.tokens) == {None}


@pytest.mark.parametrize("progress", [True, False])
def test_progress_goes_to_stderr_where_it_is_asked_for(hub, tmp_path, capsys, progress):
    fetch_folder(ASKED, tmp_path / "network", progress=progress, endpoint=hub.url)
    out, err = capsys.readouterr()
    assert out == "" and bool(err.strip()) == progress


def test_what_is_there_is_checked_without_the_hub(hub, small_clip, tmp_path):
    target = shutil.copytree(small_clip, tmp_path / "network")
    assert fetch(hub, target) == target
    assert hub.tokens == []
    (target / "model.safetensors").write_bytes((target / "model.safetensors").read_bytes()[:-10])
    with pytest.raises(InputError, match=r"not as published: model.safetensors is no whole safetensors .*delete it to"):
        fetch(hub, target)


def test_a_line_that_breaks_keeps_what_arrived(hub, tmp_path):
    hub.broken = {"model.safetensors"}
    with pytest.raises(InputError, match=r"someone/network did not arrive: .*run it again to go on") as error:
        fetch(hub, tmp_path / "network")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "network").exists() and (tmp_path / "network.part" / "config.json").is_file()
    hub.broken.clear()
    hub.fetched.clear()
    fetch(hub, tmp_path / "network")
    assert set(hub.fetched) == {"model.safetensors"}
    assert load_file(tmp_path / "network" / "model.safetensors").keys()


@pytest.mark.parametrize(
    ("content", "size", "message"),
    [
        (b"<html>please log in</html>", None, "no whole safetensors file"),
        (None, 1234, r"its weights are .* bytes\), expected 1234 bytes"),
    ],
)
def test_weights_of_another_form_or_size_are_refused_and_leave_nothing(hub, tmp_path, content, size, message):
    if content is not None:
        (hub.folder / "model.safetensors").write_bytes(content)
    with pytest.raises(InputError, match=message):
        fetch(hub, tmp_path / "network", replace(ASKED, size=size))
    assert not (tmp_path / "network").exists() and not (tmp_path / "network.part").exists()


def test_settings_that_are_no_json_are_refused(hub, tmp_path):
    (hub.folder / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config\.json"):
        fetch(hub, tmp_path / "network")


def test_a_repository_without_weights_is_refused_before_anything_is_fetched(hub, tmp_path):
    for name in ("model.safetensors", "pytorch_model.bin"):
        (hub.folder / name).unlink()
    with pytest.raises(InputError, match="holds no weights that this package reads"):
        fetch(hub, tmp_path / "network")
    assert hub.fetched == []


def test_weights_in_parts_come_with_all_parts(tmp_path):
    folder = write_network(tmp_path / "hub", "Sam2", max_shard_size="200KB")
    with serving(folder) as hub:
        target = fetch(hub, tmp_path / "network")
    assert len(list(target.glob("model-*.safetensors"))) > 1
    assert load_segmenter(target).image_size == 128


def test_a_folder_in_open_clips_form_loads(tmp_path):
    with serving(write_encoder("open_clip_siglip", tmp_path / "hub")) as hub:
        target = fetch(hub, tmp_path / "network")
    assert load_text_image_encoder(target).encode_text(["lung"]).shape == (1, 32)


def test_a_torch_file_has_to_be_a_whole_archive(small_clip, tmp_path):
    folder = shutil.copytree(small_clip, tmp_path / "clip")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"PK no archive")
    with pytest.raises(InputError, match=r"pytorch_model\.bin is no whole file of torch\.save"):
        check_folder(folder, None)


def test_a_gated_one_without_a_token_is_one_line_and_asks_nobody(tmp_path, offline):
    with pytest.raises(
        InputError, match=rf"is gated and there is no token; accept its licence at {GATE}.*HF_TOKEN"
    ) as e:
        fetch_folder(replace(ASKED, gate=GATE), tmp_path / "network", progress=False)
    assert "\n" not in str(e.value) and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("refusal", "message"),
    [
        ((403, "GatedRepo"), f"may not have it; accept its licence at {GATE}$"),
        ((401, ""), f"may not have it; accept its licence at {GATE}$"),
        ((404, "RepoNotFound"), "is not on the hub as it was listed"),
    ],
)
def test_a_hub_that_refuses_is_one_line(hub, tmp_path, refusal, message):
    hub.refusal = refusal
    with pytest.raises(InputError, match=message) as error:
        fetch(hub, tmp_path / "network", replace(ASKED, gate=GATE))
    assert "\n" not in str(error.value)


def test_a_token_goes_to_the_hub_and_to_no_mirror(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_of_a_test")
    fetch(hub, tmp_path / "network")
    assert set(hub.tokens) == {None}
    hub.tokens.clear()
    hub.refusal = (401, "")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)  # as if it were the hub itself
    with pytest.raises(InputError, match="the token's account may not have it"):
        fetch_folder(replace(ASKED, gate=GATE), tmp_path / "gated", progress=False)
    assert set(hub.tokens) == {"Bearer hf_of_a_test"}


def test_the_command_brings_a_folder_from_another_hub_and_no_gated_one(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("MEDCLIPSAM_HOME", str(tmp_path / "home"))
    entry = replace(known_weights()["edgetam"], size=(hub.folder / "model.safetensors").stat().st_size)
    monkeypatch.setattr(registry, "known_weights", lambda: {**known_weights(), "edgetam": entry})
    done = CliRunner().invoke(weights_app, ["download", "edgetam", "--no-progress", "--url", hub.url])
    assert (done.exit_code, done.stdout) == (0, f"edgetam: {tmp_path / 'home' / 'edgetam'}\n")
    digest = hashlib.sha256((hub.folder / "model.safetensors").read_bytes()).hexdigest()
    assert registry.weight_hash(registry.resolve("edgetam")) == digest
    refused = CliRunner().invoke(weights_app, ["download", "sam3", "--url", hub.url])
    assert isinstance(refused.exception, InputError) and "gated" in str(refused.exception)


def test_a_file_is_brought_by_its_hash_alone(tmp_path, monkeypatch):
    entry = replace(known_weights()["sam2_tiny"], sha256="")
    monkeypatch.setattr(registry, "known_weights", lambda: {"sam2_tiny": entry})
    with pytest.raises(ValueError, match="no size or no hash"):
        registry.download("sam2_tiny", tmp_path)
