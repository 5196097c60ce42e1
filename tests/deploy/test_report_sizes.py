"""Sizes in a series' report: none of what is likely not there."""

from __future__ import annotations

import pytest

from medclipsam_monai.deploy.report import _size_line, _with_millilitres

REASON = "presence 0.07 is below 0.5: likely not there"


def entry(**changes: object) -> dict[str, object]:
    return {"name": "liver", "pixels": 12, "size": 2500.0, "unit": "mm3", **changes}


@pytest.mark.parametrize(
    ("found", "millilitres", "line"),
    [
        (entry(), 2.5, "liver 2.5 ml"),
        (entry(pixels=0, size=0.0), 0.0, "liver not found"),
        (entry(pixels=0, size=None, size_reason=REASON), None, "liver absent"),
        (entry(size=None, size_reason=REASON), None, f"liver {REASON}"),
        (entry(size=40.0, unit="mm2"), None, "liver 40 mm2"),
    ],
)
def test_a_size_is_told_where_the_class_is_likely_there(found, millilitres, line):
    told = _with_millilitres(found)
    assert told["volume_ml"] == millilitres
    assert _size_line(told) == line
