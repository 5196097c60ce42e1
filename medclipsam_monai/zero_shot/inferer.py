"""Run the zero-shot network over pictures or volumes by text.

A volume is a stack of pictures along its last axis; which anatomical axis that is, the reader decides when it puts a
file in display orientation (see `medclipsam_monai.io`). Slices go through the networks in batches.
"""

from __future__ import annotations

from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from monai.utils import convert_to_dst_type
from torch import Tensor

from medclipsam_monai.base.checked_fields import check_value
from medclipsam_monai.prompts import OppositesLike, TextLike, parse_targets
from medclipsam_monai.zero_shot.volume import SLICE_BATCHES, segment_volume


class TextPromptedInferer(Inferer):
    """MONAI inferer: ``inferer(inputs, network)`` with the text fixed here, for bundles and MONAI's evaluators.

    Args:
        text: anything `parse_targets` takes; None for the network's own.
        opposites: see `parse_targets`.
        slice_batch: slices of a volume that go through the networks together, from 1 to 256.
        progress: show a bar over the slices of a volume.

    Raises:
        InputError: a text that is none, or a value of another type or out of its range.
    """

    def __init__(
        self,
        text: TextLike | None = None,
        opposites: OppositesLike | None = None,
        slice_batch: int = 4,
        progress: bool = False,
    ) -> None:
        check_value("slice_batch", slice_batch, int, SLICE_BATCHES)
        check_value("progress", progress, bool)
        self.targets = None if text is None else parse_targets(text, opposites)
        self.slice_batch, self.progress = slice_batch, progress

    def __call__(self, inputs: Tensor, network: Any, *args: Any, **kwargs: Any) -> Tensor:
        """Pictures (B, 3, H, W) or volumes (B, 3, H, W, D) in [0, 1] to probabilities (B, K, H, W[, D]).

        The probability is 0 where the final mask is off: components that the coarse mask does not have are cut. Given a
        ``MetaTensor``, it is one with its meta data and applied operations, so ``Invertd`` and ``SaveImaged`` can
        follow; given a tensor, a tensor.

        Raises:
            ValueError: for an input of another shape.
        """
        if inputs.ndim not in (4, 5) or inputs.shape[1] != 3:
            raise ValueError(f"inputs must be (B, 3, H, W) or (B, 3, H, W, D), got {tuple(inputs.shape)}")
        texts = network.encode_texts(self.targets or parse_targets(network.text))
        plain = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        if inputs.ndim == 4:
            results = network.segment_encoded(network.encode_images(plain), texts)
        else:
            options = (texts, self.slice_batch, self.progress, ("probability",))
            results = [segment_volume(network, one, *options) for one in plain]
        probability = torch.stack([result.probability * result.mask for result in results])
        return convert_to_dst_type(probability, dst=inputs, dtype=probability.dtype)[0]
