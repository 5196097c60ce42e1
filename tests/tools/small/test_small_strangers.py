"""What the shipped small weights do not know: such texts and pictures are told, recorded and answered all the same."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

from medclipsam_monai.networks.known_pictures import KnownPictures
from medclipsam_monai.phantoms import make_phantom
from medclipsam_monai.phantoms.seeds import SAMPLES
from medclipsam_monai.presets import load_preset
from medclipsam_monai.weights.registry import resolve, weight_hash
from tools.small.fitted.known_pictures import odd_pictures, photographs

pytestmark = pytest.mark.slow
LIKE_NONE = "the picture is like none that the weights of small know (nearest: "
Told = Callable[..., tuple[int, list[str], dict]]


@pytest.fixture
def told(command, tmp_path) -> Told:
    """Exit code, lines on stderr and record of a chest X-ray, or another picture, that is asked for a text."""

    def call(text: str, picture: np.ndarray | None = None) -> tuple[int, list[str], dict]:
        if picture is None:
            (seed,) = SAMPLES.seeds(1)
            picture = (make_phantom("chest_xray", seed, captions=0).image * 255).round().astype(np.uint8)
        Image.fromarray(picture).save(tmp_path / "a.png")
        words = ("--text", text, "--preset", "small", "--device", "cpu", "--output", tmp_path / "out")
        code, _, err = command("segment", tmp_path / "a.png", *words)
        record = tmp_path / "out" / "a.json"
        lines = err.replace(f"{tmp_path}/", "").splitlines()
        return code, lines, json.loads(record.read_text()) if record.is_file() else {}

    return call


def test_what_is_known_is_answered_without_a_word(told):
    code, lines, record = told("lungs")
    assert (code, lines, record["warnings"]) == (0, [], [])
    assert record["nearest_picture"]["kind"] == "chest X-ray" and record["nearest_picture"]["familiar"]


@pytest.mark.parametrize("text", ["Leber", "foie", "hello world", "the weather is nice today"])
def test_another_language_and_nonsense(told, text):
    code, lines, record = told(text)
    (line,) = record["warnings"]
    assert code == 0 and lines[0] == f"warning  {line}"
    assert line.startswith(f"{text!r} is outside of what the weights of preset small were trained on (nearest: ")
    near = record["classes"][0]["nearest_known"]
    assert not near["familiar"] and near["similarity"] < 0.6 and near["kinds"] == []


@pytest.mark.parametrize("text", ["lungen", "Lunge"])
def test_a_word_of_another_language_that_is_nearly_the_same(told, text):
    code, lines, record = told(text)
    near = record["classes"][0]["nearest_known"]
    assert code == 0 and near["familiar"] and near["text"].startswith("lung") and "chest X-ray" in near["kinds"]
    assert lines == record["warnings"] == []


def test_words_of_which_no_letter_is_known_are_refused(told):
    code, lines, record = told("肝臓")
    assert code == 2 and record == {}
    assert lines[-1].endswith("the words of '肝臓' are not in this model's vocabulary; describe the target in English")


@pytest.mark.parametrize(
    ("text", "what"), [("no lungs", "lungs"), ("kein Tumor", "Tumor"), ("the heart is not visible", "heart")]
)
def test_a_denial(told, text, what):
    code, lines, record = told(text)
    line = f"{text!r} says that something is absent; a mask can only show what is there: ask for {what!r}"
    assert code == 0 and lines[0] == f"warning  {line}" and record["warnings"] == [line]


@pytest.mark.parametrize(
    ("text", "kind"),
    [("left ventricle", "cardiac MRI"), ("fetal head", "fetal ultrasound"), ("cell nuclei", "microscopy image")],
)
def test_a_target_of_another_kind_of_picture(told, text, kind):
    code, lines, record = told(text)
    (line,) = record["warnings"]
    assert code == 0 and f"warning  a.png: {line}" in lines
    assert line.endswith(", this looks like a chest X-ray: the mask may mean nothing")
    assert line.startswith(f"small knows {text!r} on ") and kind in line
    near = record["classes"][0]["nearest_known"]
    assert near["familiar"] and "chest X-ray" not in near["kinds"]


@pytest.mark.parametrize("name", ["landscape", "screen", "rings"])
def test_a_made_picture_of_no_medical_kind(told, name):
    code, lines, record = told("lungs", odd_pictures()[name])
    (line,) = record["warnings"]
    assert code == 0 and f"warning  a.png: {line}" in lines
    assert line.startswith(LIKE_NONE) and line.endswith("); the mask may mean nothing")
    assert not record["nearest_picture"]["familiar"] and record["nearest_picture"]["distance"] > 1


@pytest.mark.parametrize(("name", "kind"), [("noise 0", "breast ultrasound"), ("colour noise 3", "microscopy image")])
def test_noise_is_taken_for_speckle_or_a_stain_on_which_no_lungs_are_known(told, name, kind):
    code, lines, record = told("lungs", odd_pictures()[name])
    known = "abdominal CT and chest X-ray and chest CT"
    line = f"small knows 'lungs' on {known}, this looks like a {kind}: the mask may mean nothing"
    assert code == 0 and record["warnings"] == [line] and f"warning  a.png: {line}" in lines


@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea", "page"])
def test_a_photograph(told, name):
    pytest.importorskip("skimage")
    code, _, record = told("lungs", photographs()[name])
    (line,) = record["warnings"]
    assert code == 0 and line.startswith(LIKE_NONE) and not record["nearest_picture"]["familiar"]


def test_the_file_is_of_these_weights_and_of_all_kinds_that_they_know():
    preset = load_preset("small")
    path = resolve(preset.known_pictures)
    assert set(KnownPictures.load(path).kinds) == preset.knows.keys()
    with safe_open(path, "pt") as file:
        assert file.metadata()["clip"] == weight_hash(resolve(preset.clip))
