"""What a request asks of an image, carried along with it."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from medclipsam_monai import TextSegmenter
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.transforms import KeepRequestd
from medclipsam_monai.io.transforms.request import asked_of
from medclipsam_monai.phantoms import make_phantom
from medclipsam_monai.zero_shot.inferer import TextPromptedInferer

KEEP = KeepRequestd("image", ["text", "threshold"])
PHANTOM = torch.from_numpy(make_phantom("chest_xray", 3_400_001, captions=0).image.copy()).float().expand(3, -1, -1)


def asked(**options: object) -> MetaTensor:
    return KEEP({"image": MetaTensor(PHANTOM.clone()), **options})["image"]


def test_options_that_are_there_are_kept_and_nothing_else():
    assert asked_of(asked(text="heart", device="cuda", threshold=None)) == {"text": "heart"}
    assert asked_of(asked()) == {} == asked_of(PHANTOM)
    assert asked_of(asked(text="$print()", threshold=0.3)[None]) == {"text": "$print()", "threshold": 0.3}
    plain = {"image": PHANTOM, "text": "heart"}
    assert KEEP(plain)["image"] is PHANTOM
    with pytest.raises(KeyError):
        KEEP({"text": "heart"})
    assert KeepRequestd("image", ["text"], allow_missing_keys=True)({"text": "heart"}) == {"text": "heart"}


def test_the_request_goes_before_the_inferers_own():
    network = TextSegmenter.from_preset("demo", "cpu").network
    inferer = TextPromptedInferer("lungs", threshold=0.5)
    for text, threshold in (("heart", 0.5), ("lungs", 0.2), ("heart", 0.9)):
        expected = TextPromptedInferer(text, threshold=threshold)(PHANTOM[None], network)
        found = inferer(asked(text=text, threshold=threshold)[None], network)
        torch.testing.assert_close(torch.as_tensor(found), expected)
    expected = inferer(PHANTOM[None], network)
    torch.testing.assert_close(torch.as_tensor(inferer(asked()[None], network)), expected)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"text": " "}, "the text is empty"),
        ({"text": 3}, "text"),
        ({"threshold": "much"}, "threshold must be a number from 0 to 1, got 'much'"),
        ({"threshold": 2}, "threshold must be a number from 0 to 1, got 2"),
    ],
)
def test_what_cannot_be_asked_is_refused(options, line):
    network = TextSegmenter.from_preset("demo", "cpu").network
    with pytest.raises(InputError, match=line):
        TextPromptedInferer("lungs")(asked(**options)[None], network)
