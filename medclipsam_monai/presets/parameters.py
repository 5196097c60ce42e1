"""Every parameter of the methods of the zero-shot chain with its default and range, one dataclass for each of them.

The methods themselves inherit from these. They stand apart, in a module that loads no model code, so that a setting is
checked as soon as it is read. Upper bounds keep a mistake from taking all memory or all day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from medclipsam_monai.base.checked_fields import check, number
from medclipsam_monai.base.errors import InputError

_LARGEST_SEED = 2**63 - 1
Grouping = Literal["single", "components"]


@dataclass(frozen=True)
class Parameters:
    """Fields that are checked when they are set.

    Raises:
        InputError: a value of another type or out of its range.
    """

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class M2IBParameters(Parameters):
    """Of `M2IB`; see there."""

    layer: int = number(9, 0)
    gamma: float = number(1.0, 0, 1_000_000)
    steps: int = number(10, 1, 10_000)
    samples: int = number(10, 1, 100)
    learning_rate: float = number(1.0, above=0, high=1_000)
    seed: int = number(12, 0, _LARGEST_SEED)
    standardise: bool = False
    share_alpha: bool = False
    chunk: int = number(8, 1, 64)


@dataclass(frozen=True)
class GScoreCAMParameters(Parameters):
    """Of `GScoreCAM`; see there."""

    channels: int = number(300, 1, 100_000)
    batch: int = number(32, 1, 256)


@dataclass(frozen=True)
class NoParameters(Parameters):
    """Of methods that have none: `GradCAM`, `TwoMeansThreshold`."""


@dataclass(frozen=True)
class OtsuParameters(Parameters):
    """Of `OtsuThreshold`; see there."""

    bins: int = number(256, 2, 65_536)


@dataclass(frozen=True)
class FixedParameters(Parameters):
    """Of `FixedThreshold`; see there."""

    value: float = number(0.3, 0, 1)


@dataclass(frozen=True)
class CRFParameters(Parameters):
    """Of `DenseCRF`; see there."""

    iterations: int = number(1, 1, 1_000)
    gaussian_sxy: float = number(3.0, above=0, high=10_000)
    gaussian_compat: float = number(3.0, above=0, high=10_000)
    bilateral_sxy: float = number(60.0, above=0, high=10_000)
    bilateral_srgb: float = number(5.0, above=0, high=10_000)
    bilateral_compat: float = number(5.0, above=0, high=10_000)
    tau: float = number(1.05, above=0, high=10_000)


@dataclass(frozen=True)
class ConfidentParameters(Parameters):
    """Of `KeepConfidentComponents`; see there."""

    min_confidence: float = number(0.5, 0, 1)
    keep_best: bool = False
    connectivity: int = number(2, 1, 2)


@dataclass(frozen=True)
class LargestParameters(Parameters):
    """Of `KeepLargestComponents`; see there."""

    k: int | Sequence[int] = number(1, 0)
    connectivity: int = number(2, 1, 2)


@dataclass(frozen=True)
class PromptParameters(Parameters):
    """Of `PromptsFromMask`; see there."""

    boxes: Grouping | None = "single"
    points: int = number(0, 0, 1_000)
    point_sets: Grouping | None = None
    box_margin: float = number(0.0, 0, 100)
    point_margin: float = number(2.0, 0, 100_000)
    seed: int = number(0, 0, _LARGEST_SEED)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.boxes is None and self.points == 0:
            raise InputError("visual prompts need boxes or points, got boxes=None and points=0")
        if self.boxes is not None and self.point_sets not in (None, self.boxes):
            raise InputError(
                f'there is one set of points for each box, got boxes="{self.boxes}", point_sets="{self.point_sets}"'
            )


@dataclass(frozen=True)
class ExampleParameters(Parameters):
    """Of `ByExamples`; see there.

    Attributes:
        layer: the block whose patch tokens are compared; None for the last one.
        foreground: prototypes of what is inside of the examples' masks, at most.
        background: of what is outside.
        temperature: of the softmax over cosines.
        text_weight: of a text's map, stretched to [0, 1], beside the log-odds of the examples; 0 leaves to the text
            what the class is called, and whether it is there.
    """

    layer: int | None = number(None, 0)
    foreground: int = number(1, 1, 1_000)
    background: int = number(4, 1, 1_000)
    temperature: float = number(0.1, above=0, high=100)
    text_weight: float = number(5.0, 0, 1_000)


@dataclass(frozen=True)
class PresenceParameters(Parameters):
    """Of `CalibratedPresence`; see there."""

    bias: float = number(0.0, -1_000, 1_000)
    text: float = number(0.0, -1_000, 1_000)
    denial: float = number(0.0, -1_000, 1_000)
    known: float = number(0.0, -1_000, 1_000)
    familiar: float = number(0.0, -1_000, 1_000)
