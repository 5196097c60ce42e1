"""Run the zero-shot network over pictures or volumes by text.

A volume is a stack of pictures along its last axis; which anatomical axis that is, the reader decides when it puts a
file in display orientation (see `medclipsam_monai.io`). Slices go through the networks in batches.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import torch
from monai.inferers import Inferer
from torch import Tensor

from medclipsam_monai.base.checked_fields import Range, check_value
from medclipsam_monai.prompts import parse_targets
from medclipsam_monai.zero_shot.network import EncodedTargets, ZeroShotSegmenter
from medclipsam_monai.zero_shot.volume_result import VolumeResult, VolumeStack


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

    def __init__(self, text: Any = None, opposites: Any = None, slice_batch: int = 4, progress: bool = False) -> None:
        _check_batch(slice_batch)
        check_value("progress", progress, bool)
        self.targets = None if text is None else parse_targets(text, opposites)
        self.slice_batch, self.progress = slice_batch, progress

    def __call__(self, inputs: Tensor, network: Any, *args: Any, **kwargs: Any) -> Tensor:
        """Pictures (B, 3, H, W) or volumes (B, 3, H, W, D) in [0, 1] to probabilities (B, K, H, W[, D]).

        The probability is 0 where the final mask is off: components that the coarse mask does not have are cut.

        Raises:
            ValueError: for an input of another shape.
        """
        if inputs.ndim not in (4, 5) or inputs.shape[1] != 3:
            raise ValueError(f"inputs must be (B, 3, H, W) or (B, 3, H, W, D), got {tuple(inputs.shape)}")
        targets = network.encode_targets(self.targets or parse_targets(network.text))
        plain = inputs.as_tensor() if hasattr(inputs, "as_tensor") else inputs
        if inputs.ndim == 4:
            results = network.segment_encoded(plain, network.encode_image(plain), targets)
        else:
            options = (targets, self.slice_batch, self.progress, ("probability",))
            results = [segment_volume(network, one, *options) for one in plain]
        return torch.stack([result.probability * result.mask for result in results]).to(inputs.device)


def segment_volume(
    network: ZeroShotSegmenter,
    volume: Tensor,
    targets: EncodedTargets,
    slice_batch: int = 4,
    progress: bool = False,
    keep: Collection[str] = (),
) -> VolumeResult:
    """Segment a volume (3, H, W, D) in [0, 1] slice by slice along D.

    Args:
        network: the zero-shot network.
        volume: display range, three equal channels, which may share their memory, or colours.
        targets: from ``network.encode_targets``.
        slice_batch: slices that go through the networks together, from 1 to 256.
        progress: show a bar.
        keep: maps to keep, of "saliency" and "probability": 4 bytes a voxel and class each.

    Returns:
        One result, stacked along D.

    Raises:
        InputError: a batch out of its range, or an unknown map.
    """
    _check_batch(slice_batch)
    stack = VolumeStack(volume.shape[-1], keep)
    for start in _starts(volume.shape[-1], slice_batch, progress):
        pictures = volume[..., start : start + slice_batch].movedim(-1, 0).contiguous()
        for result in network.segment_encoded(pictures, network.encode_image(pictures), targets):
            stack.add(result)
    return stack.result()


def _check_batch(slice_batch: int) -> None:
    check_value("slice_batch", slice_batch, int, Range(1, 256))


def _starts(depth: int, step: int, progress: bool) -> Iterator[int]:
    starts = range(0, depth, step)
    if not progress:
        return iter(starts)
    from rich.progress import track

    return iter(track(starts, description=f"{depth} slices", transient=True))
