"""``medclipsam segment --examples`` from the outside."""

from __future__ import annotations

import json

import numpy as np
import pytest
from command_line import make_picture, outputs
from PIL import Image


def example(folder, name, shape=(40, 60), lit=True):
    make_picture(folder / f"{name}.png", *shape)
    mask = np.zeros(shape, np.uint8)
    mask[10:20, 10:30] = 255 * lit
    Image.fromarray(mask).save(folder / f"{name}_mask.png")
    return folder


def test_a_folder_of_examples_stands_for_a_text_or_beside_it(run, tmp_path):
    image, folder = make_picture(tmp_path / "chest.png", seed=3), example(tmp_path / "shown", "a")
    code, out, err = run(image, "--examples", folder)
    assert code == 0 and "1 done" in out
    assert err.splitlines()[0].startswith("warning  examples without a text say where, not whether")
    assert outputs(tmp_path / "out") == {"chest_mask.png", "chest_overlay.png", "chest.json"}
    record = (tmp_path / "out" / "chest.json").read_text()
    assert json.loads(record)["parameters"]["examples"]["count"] == 1
    assert "shown" not in record and "a_mask" not in record
    assert "1 skipped" in run(image, "--examples", folder)[1]
    assert run(image, "--examples", folder, "--text", "lungs", "--output", tmp_path / "both")[0] == 0
    assert json.loads((tmp_path / "both" / "chest.json").read_text())["texts"] == {"lungs": ["lungs"]}
    example(folder, "b")
    code, _, err = run(image, "--examples", folder)
    assert code == 2 and "is in the way: it is of another request" in err


def test_masks_of_examples_are_never_replaced(run, tmp_path):
    folder = example(tmp_path / "shown", "a")
    before = (folder / "a_mask.png").read_bytes()
    code, _, err = run(folder / "a.png", "--examples", folder, "--output", folder, "--overwrite")
    assert code == 2 and "a_mask.png" in err
    assert (folder / "a_mask.png").read_bytes() == before


def lone(folder):
    make_picture(example(folder, "a") / "b.png")


def small(folder):
    Image.fromarray(np.ones((4, 4), np.uint8)).save(example(folder, "a") / "a_mask.png")


def many(folder):
    for number in range(17):
        example(folder, f"e{number}")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lone, "b.png: has no mask; an example is an image with a mask beside it"),
        (small, "a_mask.png: is a mask of 4 x 4 for an image of 40 x 60"),
        (lambda folder: example(folder, "a", lit=False), "a_mask.png: is empty"),
        (lambda folder: folder.mkdir(), "there must be 1 to 16 labelled images, got 0"),
        (many, "there must be 1 to 16 labelled images, got 17"),
        (lambda folder: None, "is no folder of examples"),
    ],
)
def test_examples_that_cannot_be_used_are_one_line(run, tmp_path, make, reason):
    make(tmp_path / "shown")
    code, out, err = run(make_picture(tmp_path / "a.png"), "--examples", tmp_path / "shown")
    assert (code, out) == (2, "")
    assert reason in err and err.count("\n") == 1
    assert outputs(tmp_path / "out") == set()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--text", "lungs", "--text", "heart"], "examples show one class, got 2 in words"),
        (["--opposite", "no lungs"], "--opposite is that of a text"),
        (["--example-encoder", "nowhere"], "is no folder of a DINOv2"),
    ],
)
def test_words_that_do_not_go_with_examples(run, tmp_path, words, reason):
    folder = example(tmp_path / "shown", "a")
    code, _, err = run(make_picture(tmp_path / "a.png"), "--examples", folder, *words)
    assert code == 2 and reason in err and err.count("\n") == 1


def test_an_encoder_of_examples_needs_some(run, tmp_path):
    code, _, err = run(make_picture(tmp_path / "a.png"), "--text", "lungs", "--example-encoder", tmp_path)
    assert code == 2 and "give --examples, too" in err
