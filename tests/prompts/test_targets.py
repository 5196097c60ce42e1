from __future__ import annotations

import pytest

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.prompts import TextTarget, parse_targets

LUNGS = TextTarget("lungs", ("lungs",))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lungs", (LUNGS,)),
        (" lungs ", (LUNGS,)),
        (["lungs", "heart"], (LUNGS, TextTarget("heart", ("heart",)))),
        (("lungs", "heart"), (LUNGS, TextTarget("heart", ("heart",)))),
        ("lungs=both lungs on an X-ray", (TextTarget("lungs", ("both lungs on an X-ray",)),)),
        (["lungs=a", "lungs=b"], (TextTarget("lungs", ("a", "b")),)),
        ({"lungs": "lungs"}, (LUNGS,)),
        ({"lungs": ["a", "b"]}, (TextTarget("lungs", ("a", "b")),)),
        ({"t": {"sentences": "a", "opposites": ["b"]}}, (TextTarget("t", ("a",), ("b",)),)),
        (LUNGS, (LUNGS,)),
    ],
)
def test_a_text_may_be_written_in_several_ways(text, expected):
    assert parse_targets(text) == expected


@pytest.mark.parametrize(
    ("text", "opposites", "expected"),
    [
        ("tumor", "no tumor", ("no tumor",)),
        ("tumor", ["no tumor", "a normal brain"], ("no tumor", "a normal brain")),
        (["tumor", "heart"], "tumor=no tumor", ("no tumor",)),
    ],
)
def test_opposites_go_to_their_class(text, opposites, expected):
    assert parse_targets(text, opposites)[0].opposites == expected


@pytest.mark.parametrize(
    ("text", "opposites", "message"),
    [
        ("", None, "empty"),
        ("   ", None, "empty"),
        ([], None, "no text"),
        (None, None, "no text"),
        ("=lungs", None, "needs a name"),
        ("lungs=", None, "empty text"),
        ({"lungs": []}, None, "has no text"),
        ({"lungs": {"text": "x"}}, None, "unknown key 'text'"),
        (3, None, "must be words, got 3"),
        ([3], None, "must be words, got 3"),
        ([f"c{n}" for n in range(256)], None, "256 classes"),
        (["a", "b"], "c", "names no class"),
        (["a", "b"], "c=d", "belongs to no class"),
        ("lungs\ud800", None, "a text must be UTF-8, got .lungs.ud800."),
        ({"\udcff": "lungs"}, None, "a text must be UTF-8"),
        ("lungs", "no \udcff", "a text must be UTF-8"),
    ],
)
def test_what_is_no_text_is_refused(text, opposites, message):
    with pytest.raises(InputError, match=message):
        parse_targets(text, opposites)
