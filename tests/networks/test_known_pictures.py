"""Kinds of pictures as centres: distances, the file, and what is said of a picture."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.networks.known_pictures import KnownPictures, NearestPicture, picture_warnings, token_summary
from medclipsam_monai.networks.known_texts import Nearest

MEAN = torch.tensor([1.0, 2.0, 3.0, 4.0])
DIRECTIONS = torch.tensor([[2.0, 0.0], [0.0, 0.5], [0.0, 0.0], [0.0, 0.0]])
CENTRES = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 10.0]])
KINDS = ["chest CT", "chest X-ray", "chest CT"]


def known() -> KnownPictures:
    return KnownPictures(MEAN, DIRECTIONS, CENTRES, KINDS)


def at(x: float, y: float) -> torch.Tensor:
    """A summary that lies at (x, y) among the centres; what no direction sees is anything."""
    return torch.tensor([[1 + x / 2, 2 + 2 * y, -50.0, 70.0]])


@pytest.mark.parametrize(
    ("place", "nearest"),
    [
        ((0.3, 0.4), NearestPicture("chest CT", 0.5, True, ("chest CT",))),
        ((0.0, 9.0), NearestPicture("chest CT", 1.0, True, ("chest CT",))),
        ((4.0, 2.0), NearestPicture("chest X-ray", 2.0, False, ("chest X-ray",))),
        ((2.1, 0.0), NearestPicture("chest X-ray", 1.9, False, ("chest X-ray", "chest CT"))),
    ],
)
def test_a_picture_is_of_the_kind_of_the_nearest_centre_and_perhaps_of_one_hardly_farther(place, nearest):
    assert known().nearest(at(*place)) == (nearest,)


def test_tokens_are_told_by_their_mean_and_spread():
    tokens = torch.tensor([[[1.0, 5.0], [3.0, 5.0], [5.0, 5.0]]])
    torch.testing.assert_close(token_summary(tokens), torch.tensor([[3.0, 5.0, 2.0, 0.0]]))


def test_a_file_gives_back_what_was_saved(tmp_path):
    read = KnownPictures.load(known().save(tmp_path / "known.safetensors", {"clip": "of"}))
    assert read.kinds == tuple(KINDS)
    for name in ("mean", "directions", "centres"):
        torch.testing.assert_close(getattr(read, name), getattr(known(), name))


def _without_kinds(path):
    save_file({"mean": MEAN, "directions": DIRECTIONS, "centres": CENTRES}, path)


def _nan(path):
    KnownPictures(MEAN * float("nan"), DIRECTIONS, CENTRES, KINDS).save(path)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda path: None, "there is no such file"),
        (lambda path: path.write_bytes(b"no tensors"), "is not a whole safetensors file"),
        (_without_kinds, "holds no known pictures: 'kinds'"),
        (lambda path: save_file({"a": MEAN}, path, {"kinds": '["a"]'}), "holds no known pictures: 'mean'"),
        (lambda path: save_file({"a": MEAN}, path, {"kinds": "{"}), "holds no known pictures"),
        (lambda path: save_file({"a": MEAN}, path, {"kinds": "7"}), "its kinds must be a list of names"),
        (_nan, "mean holds NaN"),
    ],
)
def test_another_file_is_refused_in_one_line(tmp_path, write, words):
    path = tmp_path / "known.safetensors"
    write(path)
    with pytest.raises(InputError, match=words) as caught:
        KnownPictures.load(path)
    assert "\n" not in str(caught.value)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match=r"must be \(F,\), \(F, P\) and \(M, P\) with M kinds"):
        KnownPictures(MEAN, DIRECTIONS, CENTRES, KINDS[:2])
    with pytest.raises(InputError, match="of a network with 2 channels, this one has 3"):
        known().nearest(torch.zeros(1, 6))


def text(name: str, *kinds: str) -> Nearest:
    return Nearest(name, 0.9, bool(kinds), kinds)


XRAY = NearestPicture("chest X-ray", 0.4, True, ("chest X-ray", "chest CT"))


@pytest.mark.parametrize(
    ("picture", "texts", "lines"),
    [
        (XRAY, [text("lungs", "chest X-ray")], []),
        (XRAY, [text("kidneys", "abdominal CT", "chest CT")], []),
        (XRAY, [text("strange")], []),
        (
            XRAY,
            [text("lungs", "chest X-ray"), text("left ventricle", "cardiac MRI")],
            [
                "small knows 'left ventricle' on cardiac MRI, this looks like a chest X-ray: the mask may mean nothing",
            ],
        ),
        (
            NearestPicture("abdominal CT", 0.4, True, ("abdominal CT",)),
            [text("cyst", "breast ultrasound", "brain MRI")],
            [
                "small knows 'cyst' on breast ultrasound and brain MRI, this looks like an abdominal CT: the mask may "
                "mean nothing"
            ],
        ),
        (
            NearestPicture("chest X-ray", 1.7, False, ("chest X-ray",)),
            [text("left ventricle", "cardiac MRI")],
            [
                "the picture is like none that the weights of small know (nearest: chest X-ray); the mask may mean "
                "nothing"
            ],
        ),
    ],
)
def test_what_is_said_of_a_picture(picture, texts, lines):
    assert picture_warnings(picture, texts, "small") == lines
