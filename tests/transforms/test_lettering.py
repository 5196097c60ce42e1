"""Words in pictures can be read: every character is drawn or written as an escape."""

from __future__ import annotations

import numpy as np
import pytest

from medclipsam_monai.transforms import Overlay
from medclipsam_monai.transforms.lettering import font, printable, shortened
from medclipsam_monai.weak.pseudo.picture_sheet import Tile, picture_sheet


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("left kidney", "left kidney"),
        ("Nebenhöhle, côlon, żołądek, böbreğin", "Nebenhöhle, côlon, żołądek, böbreğin"),
        ("πνεύμονες", "πνεύμονες"),
        ("лёгкие", "лёгкие"),
        ("الرئة ריאה", "الرئة ריאה"),
        ("肺", "\\u80ba"),
        ("lung 폐", "lung \\ud3d0"),
        ("ปอด", "\\u0e1b\\u0e2d\\u0e14"),
        ("\U0001fac1", "\\U0001fac1"),
        ("two\nlines\tand a tab", "two\\nlines\\tand a tab"),
        ("e\u0301", "é"),
    ],
)
def test_characters_that_the_font_lacks_are_escaped(text: str, drawn: str) -> None:
    assert printable(text) == drawn


def strip(name: str) -> np.ndarray:
    return Overlay(names=[name])(np.zeros((1, 40, 300)), np.zeros((1, 40, 300)))[40:]


def test_legends_of_other_scripts_differ_from_each_other_and_from_empty_boxes() -> None:
    names = ["лёгкие", "печень", "πνεύμονες", "肺", "肝", "\uffff\uffff"]
    drawn = [strip(name).tobytes() for name in names]
    assert len(set(drawn)) == len(names)
    assert np.array_equal(strip("肺"), strip("\\u80ba"))


def test_a_name_longer_than_the_picture_is_shortened_with_dots() -> None:
    lettering = font(12)
    cut = shortened("a very long name of a class", lettering, 80)
    assert cut.endswith("…") and lettering.getlength(cut) <= 80 and "a very long name".startswith(cut[:-1])
    assert shortened("short", lettering, 80) == "short"


def test_a_sheet_takes_words_of_every_script(tmp_path) -> None:
    sheet = picture_sheet("肺 лёгкие", [Tile(tmp_path / "none.png", ("печень", "肝"))])
    assert sheet.dtype == np.uint8 and (sheet == 255).any()
