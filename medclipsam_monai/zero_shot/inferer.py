"""Run the zero-shot network over pictures or volumes by text.

A volume is a stack of pictures along its last axis; which anatomical axis that is, the reader decides when it puts a
file in display orientation (see `medclipsam_monai.io`). Slices go through the networks in batches.
"""

from __future__ import annotations

from typing import Any

from monai.inferers import Inferer
from torch import Tensor

from medclipsam_monai.base.checked_fields import Range, check_value
from medclipsam_monai.io.transforms.request import asked_of
from medclipsam_monai.prompts import OppositesLike, TextLike, parse_targets
from medclipsam_monai.zero_shot.volumes.segment import SLICE_BATCHES

_THRESHOLDS = Range(0, 1)


class TextPromptedInferer(Inferer):
    """MONAI inferer: ``inferer(inputs, network)`` with the text fixed here, for bundles and MONAI's evaluators.

    What the network is asked is decided here, for hosts that make an inferer a request and the network once.

    Args:
        text: anything `parse_targets` takes; None for the network's own.
        opposites: see `parse_targets`.
        slice_batch: slices of a volume that go through the networks together, from 1 to 256.
        progress: show a bar over the slices of a volume.
        threshold: of the probability in the final mask, from 0 to 1; None for the network's own.

    Raises:
        InputError: a text that is none, or a value of another type or out of its range.
    """

    def __init__(
        self,
        text: TextLike | None = None,
        opposites: OppositesLike | None = None,
        slice_batch: int = 4,
        progress: bool = False,
        threshold: float | None = None,
    ) -> None:
        check_value("slice_batch", slice_batch, int, SLICE_BATCHES)
        check_value("progress", progress, bool)
        if threshold is not None:
            check_value("threshold", threshold, float, _THRESHOLDS)
        self.targets = None if text is None else parse_targets(text, opposites)
        self.opposites = opposites
        self.slice_batch, self.progress, self.threshold = slice_batch, progress, threshold

    def __call__(self, inputs: Tensor, network: Any, *args: Any, **kwargs: Any) -> Tensor:
        """Pictures (B, 3, H, W) or volumes (B, 3, H, W, D) in [0, 1] to probabilities (B, K, H, W[, D]).

        See `ZeroShotSegmenter.forward`. A text and a threshold that the inputs' own request names, see `KeepRequestd`,
        go before those of the inferer.

        Raises:
            ValueError: for an input of another shape.
            InputError: a text that is none, or a value of another type or out of its range, in the request.
        """
        asked = asked_of(inputs)
        targets = parse_targets(asked["text"], self.opposites) if "text" in asked else self.targets
        threshold = asked.get("threshold", self.threshold)
        if threshold is not None:
            check_value("threshold", threshold, float, _THRESHOLDS)
        if threshold is not None and threshold != network.settings.threshold:
            network = network.with_settings({"threshold": threshold})
        found: Tensor = network(inputs, targets, self.slice_batch, self.progress)
        return found
