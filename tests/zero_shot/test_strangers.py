"""A picture of another kind, or a text that says what is not there: said, recorded, and answered all the same.

The demo's weights, with a file of known pictures that is made here from phantoms.
"""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medclipsam_monai import TextSegmenter
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.networks.clip.load import load_text_image_encoder
from medclipsam_monai.networks.known_pictures import KnownPictures
from medclipsam_monai.phantoms import make_phantom
from medclipsam_monai.phantoms.seeds import SAMPLES
from medclipsam_monai.presets import load_preset
from medclipsam_monai.weights.registry import resolve
from tools.small.fitted.known_pictures import Group, known_pictures, odd_pictures, summarise

KNOWS = {"chest X-ray": ["lungs", "heart"], "breast ultrasound": ["cyst"], "brain MRI": ["ventricles"]}
TASKS = {"chest_xray": "chest X-ray", "breast_ultrasound": "breast ultrasound", "brain_mri": "brain MRI"}
LIKE_NONE = "the picture is like none that the weights of mine know (nearest: "
OTHER = "mine knows 'cyst' on breast ultrasound, this looks like a chest X-ray: the mask may mean nothing"
DENIES = "'no lungs' says that something is absent; a mask can only show what is there: ask for 'lungs'"


def pixels(task: str, number: int) -> np.ndarray:
    (seed,) = SAMPLES.seeds(1, number)
    image = (make_phantom(task, seed, captions=0).image * 255).round().astype(np.uint8)
    return np.repeat(image[..., None], 3, axis=2)


@pytest.fixture(scope="module")
def preset(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("preset")
    encoder = load_text_image_encoder(resolve("demo/clip"))
    of = {task: summarise(encoder, [pixels(task, n) for n in range(24)]) for task in TASKS}
    train = [Group(task, TASKS[task], found[:16]) for task, found in of.items()]
    choose = [Group(task, TASKS[task], found[16:]) for task, found in of.items()]
    file = known_pictures(train, choose, within=1.0).save(folder / "known.safetensors")
    content = {"extends": "demo", "knows": KNOWS, "stranger_below": 0.9, "known_pictures": str(file)}
    (folder / "mine.json").write_text(json.dumps(content))
    return folder / "mine.json"


@pytest.fixture(scope="module")
def segmenter(preset) -> TextSegmenter:
    return TextSegmenter.from_preset(preset, "cpu")


@pytest.fixture
def told(command, preset, tmp_path):
    """The lines on stderr and the record of a picture that is asked for a text."""

    def call(picture: np.ndarray, text: str) -> tuple[list[str], dict]:
        Image.fromarray(picture).save(tmp_path / "a.png")
        out = tmp_path / "out"
        words = ("--text", text, "--preset", preset, "--device", "cpu", "--output", out, "--overwrite")
        code, _, err = command("segment", tmp_path / "a.png", *words)
        assert code == 0 and (out / "a_mask.png").is_file()
        return err.replace(f"{tmp_path}/", "").splitlines(), json.loads((out / "a.json").read_text())

    return call


def test_what_is_known_on_this_kind_of_picture_is_answered_without_a_word(told):
    lines, record = told(pixels("chest_xray", 30), "lungs")
    assert lines == [] and record["warnings"] == []
    assert record["nearest_picture"]["kind"] == "chest X-ray" and record["nearest_picture"]["familiar"]
    assert record["classes"][0]["nearest_known"]["kinds"] == ["chest X-ray"]
    assert record["classes"][0]["pixels"] > 0


def test_a_text_that_denies(told):
    lines, record = told(pixels("chest_xray", 30), "no lungs")
    assert lines == [f"warning  {DENIES}"] and record["warnings"] == [DENIES]


def test_a_text_that_is_known_on_another_kind_of_picture(told):
    lines, record = told(pixels("chest_xray", 30), "cyst")
    assert f"warning  a.png: {OTHER}" in lines and record["warnings"] == [OTHER]
    assert record["nearest_picture"]["kind"] == "chest X-ray" and record["nearest_picture"]["familiar"]


@pytest.mark.parametrize("name", ["noise 0", "landscape", "screen", "chessboard"])
def test_a_picture_of_no_kind(told, name):
    lines, record = told(odd_pictures()[name], "lungs")
    (line,) = record["warnings"]
    assert line.startswith(LIKE_NONE) and line.endswith("); the mask may mean nothing")
    assert f"warning  a.png: {line}" in lines
    assert not record["nearest_picture"]["familiar"] and record["nearest_picture"]["distance"] > 1


def test_a_strange_text_on_a_strange_picture_is_told_both(told):
    lines, record = told(odd_pictures()["landscape"], "hello world")
    text, picture = record["warnings"]
    assert text.startswith("'hello world' is outside of what the weights of preset mine were trained on (nearest: ")
    assert picture.startswith(LIKE_NONE) and lines[:2] == [f"warning  {text}", f"warning  a.png: {picture}"]


def test_the_middle_slice_stands_for_a_volume(segmenter, tmp_path):
    stack = np.zeros((256, 256, 3), np.uint8)
    stack[..., 1] = pixels("chest_xray", 31)[..., 0].T
    nib.save(nib.Nifti1Image(stack, np.diag([-1.0, -1.0, 3.0, 1.0])), tmp_path / "v.nii.gz")
    found = segmenter(tmp_path / "v.nii.gz", "cyst", window="full")
    assert found.found.picture.kind == "chest X-ray"
    assert found.warnings == found.record({})["warnings"] == [OTHER]


def test_no_picture_is_encoded_once_more_for_it(segmenter, monkeypatch):
    encoder, calls = segmenter.network.encoder, []
    encode = encoder.tokens_of_input
    monkeypatch.setattr(encoder, "tokens_of_input", lambda x, block: calls.append(block) or encode(x, block))
    opened = segmenter.open(pixels("chest_xray", 32))
    last = {"saliency.layer": encoder.last_block}
    assert opened("lungs", settings=last).found.picture == opened("heart", settings=last).found.picture is not None
    assert calls == [encoder.last_block]


def test_what_other_weights_know_is_not_said_of_these(preset, segmenter):
    assert load_preset(preset).with_settings({"clip": "small/clip"}).known_pictures == ""
    assert load_preset(preset).with_settings({"threshold": 0.4}).known_pictures != ""
    assert segmenter.with_settings({"threshold": 0.4}).network.known_pictures is segmenter.network.known_pictures
    assert TextSegmenter.from_preset(preset, "cpu", clip=resolve("demo/clip")).network.known_pictures is None
    other = TextSegmenter.from_preset("demo", "cpu")(pixels("chest_xray", 30), "lungs")
    assert other.found.picture is other.record({})["nearest_picture"] is None


def test_a_preset_that_says_too_little_or_names_no_file_is_refused(preset, tmp_path):
    content = json.loads(preset.read_text())
    (tmp_path / "a.json").write_text(json.dumps({**content, "knows": {}}))
    with pytest.raises(InputError, match="known_pictures needs knows"):
        load_preset(tmp_path / "a.json")
    (tmp_path / "b.json").write_text(json.dumps({**content, "known_pictures": str(tmp_path / "none")}))
    with pytest.raises(InputError, match="weights not found"):
        TextSegmenter.from_preset(tmp_path / "b.json", "cpu")


def test_the_file_is_of_one_network(preset):
    known = KnownPictures.load(load_preset(preset).known_pictures)
    assert set(known.kinds) == KNOWS.keys() and known.directions.shape[0] == 2 * 192
