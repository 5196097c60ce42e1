"""The rivals by the names that `medclipsam_monai.study.conditions.RIVALS` lists."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor

from medclipsam_monai.study.rivals.salip import salip
from medclipsam_monai.study.rivals.samaug import CHOOSERS, samaug
from medclipsam_monai.zero_shot.encoded import EncodedImages, EncodedTexts
from medclipsam_monai.zero_shot.network import ZeroShotSegmenter

Rival = Callable[[ZeroShotSegmenter, EncodedImages, EncodedTexts], Tensor]
"""A network, one picture and one text to a mask (H, W) bool."""
METHODS: dict[str, Rival] = {"salip": salip, **{f"samaug_{how}": partial(samaug, how=how) for how in CHOOSERS}}
