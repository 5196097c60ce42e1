"""A text that is outside of what the weights know: said, recorded, and answered all the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medclipsam_monai import TextSegmenter

KNOWS = {"chest X-ray": ["lungs", "heart"], "breast ultrasound": ["cyst"]}


@pytest.fixture(scope="module")
def preset(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("preset") / "mine.json"
    path.write_text(json.dumps({"extends": "demo", "licence": "CC0-1.0", "knows": KNOWS, "stranger_below": 0.9}))
    return path


@pytest.fixture(scope="module")
def segmenter(preset) -> TextSegmenter:
    return TextSegmenter.from_preset(preset, "cpu")


@pytest.mark.parametrize("text", ["lungs", "brain tumor", ["the lungs", "heart"], {"organ": ["heart", "kidneys"]}])
def test_the_nearest_is_that_of_the_least_familiar_sentence(segmenter, text):
    request = segmenter.request(text)
    encode = segmenter.network.encoder.encode_text
    for target, near in zip(request.targets, request.nearest, strict=True):
        names = ["lungs", "heart", "cyst"]
        kinds = ["chest X-ray", "chest X-ray", "breast ultrasound"]
        said = names + [f"{kind} showing the {name}" for kind, name in zip(kinds, names, strict=True)]
        similar = (encode(list(target.sentences)) @ encode(said).T).numpy()
        worst = similar.max(1).argmin()
        assert near.similarity == pytest.approx(float(similar[worst].max()), abs=6e-4)
        assert near.text == names[similar[worst].argmax() % 3]
        assert near.familiar == (near.similarity >= 0.9)


def test_what_is_known_is_familiar_and_what_is_not_is_strange(segmenter):
    assert segmenter.request("lungs").strange == []
    (line,) = segmenter.request({"a": "lungs", "b": "kidneys"}).strange
    assert line.startswith("'b' is outside of what the weights of preset mine were trained on (nearest: ")
