"""What texts light up in a volume as a whole, found before the segmenter sees a slice.

Maps of single slices say nothing of each other: stretched to [0, 1] one by one, an empty slice shines as bright as a
full one. So the maps of all slices are gathered on the small grid of the encoder's tokens and stretched together, but
for those slices that surely show the class, whose brightest place is as bright as that of any other; a class is looked
for in the slices that show it, which are runs; one threshold holds for the volume, and the components of what is above
it are those of a body, not of its sections.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from medclipsam_monai.networks.known_pictures import NearestPicture
from medclipsam_monai.saliency.maps import unit_range
from medclipsam_monai.transforms.coarse import CoarseMask, OtsuThreshold
from medclipsam_monai.zero_shot.encoded import EncodedImages, EncodedTexts
from medclipsam_monai.zero_shot.volumes.stages import Stages

_WORKING_SIDE = 64
"""Pixels of a slice's longer side where components are found: about two for each of the encoder's tokens."""
_SMOOTH = 5.0
"""mm over which the presence in neighbouring slices is averaged; thicker slices speak for themselves."""
_ODDS = 3.0
"""By how much the surest slice of a run may be less sure than that of another, as a ratio of their odds."""
_CERTAIN = 0.95
"""Presence of a run's surest slice that needs no comparison with other runs."""
_SURE = 0.75
"""Presence from which on a slice's map is more and more stretched on its own."""


@dataclass(frozen=True)
class VolumeEvidence:
    """What the encoder says of D slices and K classes.

    Attributes:
        grids: (D, K, rows, columns) on the tokens' grid, each class stretched to [0, 1] over all slices.
        presence: (D, K) probability that a slice shows a class, averaged over its neighbours, see `smoothed`; NaN where
            there is nothing to tell it by.
        picture: which kind of picture the middle slice is nearest to; None where the kinds are not known.
        calibrated: whether the maps are probabilities as they are, and were not stretched.
    """

    grids: Tensor
    presence: Tensor
    picture: NearestPicture | None = None
    calibrated: bool = False


def gather(
    network: Stages, batches: Iterable[EncodedImages], texts: EncodedTexts, depth: int, step: float | None
) -> VolumeEvidence:
    """Look at all slices, a batch at a time.

    Args:
        network: the `ZeroShotSegmenter`.
        batches: the slices in their order.
        texts: the classes.
        depth: how many slices there are.
        step: mm from slice to slice; None where unknown.
    """
    grids, presence, picture, known = [], list[tuple[float, ...]](), None, network.known_pictures
    for images in batches:
        middle = depth // 2 - len(presence)
        if known is not None and 0 <= middle < len(images):
            picture = known.nearest(images.summaries())[middle]
        grids.append(network.saliency_grids(images, texts).float().cpu())
        told = network.presence(images, texts, slices=True)
        presence += [tuple(np.nan if p is None else p for p in row) for row in told]
    every = torch.cat(grids)
    tall = every.transpose(0, 1).flatten(1, 2)[None]  # the slices below each other, as one picture
    as_is = network.saliency.calibrated
    maps = network.class_maps(tall if as_is else unit_range(tall), texts)[0].unflatten(1, (depth, -1))
    found = smoothed(torch.tensor(presence), step)
    return VolumeEvidence(maps.transpose(0, 1).contiguous(), found, picture, as_is)


def smoothed(presence: Tensor, step: float | None) -> Tensor:
    """Presence (D, K) averaged over neighbouring slices, as log-odds, so that a sure slice is not lost among its like.

    Args:
        presence: in [0, 1]; a class of NaN stays one.
        step: mm from slice to slice; None where unknown: then as if slices were thick.
    """
    odds = torch.logit(presence.double(), eps=1e-6).numpy()
    sigma = 0.5 if step is None else _SMOOTH / step / 2
    return torch.from_numpy(ndimage.gaussian_filter1d(odds, sigma, axis=0, mode="nearest")).sigmoid().float()


def present_slices(presence: Tensor, threshold: float) -> Tensor:
    """The slices in which each class is taken to be there: runs of at least the threshold that hold a surer slice.

    A slice that is half of the way from the threshold to certainty, or half as much again where that is less, makes a
    run one of the class, whose other slices may be less sure (hysteresis): of many slices, some of those without the
    class pass the threshold by chance. So does what is like the class elsewhere in the body, which is less sure than
    the class itself: the surest slice of a run must have a third of the odds of the surest of all, or be certain.

    Args:
        presence: (D, K) in [0, 1]; of a class of NaN all slices count.
        threshold: in [0, 1].

    Returns:
        (D, K) bool.
    """
    columns, surer = [], threshold + min(threshold, 1 - threshold) / 2
    for found in presence.numpy().T:
        runs, _ = ndimage.label(found >= threshold)
        best = float(np.nan_to_num(found).max(initial=0.0))
        as_sure = best / (best + _ODDS * (1 - best))
        kept = np.unique(runs[found >= max(surer, min(as_sure, _CERTAIN))])
        columns.append(np.isin(runs, kept[kept > 0]) | np.isnan(found))
    return torch.from_numpy(np.stack(columns, axis=1))


class VolumeCoarse:
    """Coarse masks of a volume's slices, cut from what was found in the whole.

    Args:
        evidence: of the volume.
        coarse: how a mask is made of a map, see `make_coarse`; any other callable is asked slice by slice.
        restore: maps (B, K, rows, columns) on the tokens' grid to pixels (B, K, H, W), see `TextImageEncoder`.
        shape: rows and columns of a slice.
        present: (D, K) bool, the slices in which each class is looked for.
    """

    def __init__(
        self, evidence: VolumeEvidence, coarse: Any, restore: Any, shape: tuple[int, int], present: Tensor
    ) -> None:
        self._grids, self.present = balanced(evidence, present), present
        self._coarse, self._restore, self._shape = coarse, restore, shape
        self._as_one = isinstance(coarse, CoarseMask)
        if self._as_one:
            self._level, self._kept = self._find()

    def _find(self) -> tuple[Tensor, Tensor]:
        """The threshold (K,) of each class, and its components (K, h, w, D) at the working size."""
        factor = min(1.0, _WORKING_SIDE / max(self._shape))
        small = (max(1, round(self._shape[0] * factor)), max(1, round(self._shape[1] * factor)))
        maps = self._restore(self._grids, small) * self.present[:, :, None, None]
        maps = maps.permute(1, 2, 3, 0).contiguous()
        threshold, components = self._coarse.threshold, self._coarse.components
        if getattr(threshold, "needs_image", False):
            threshold = OtsuThreshold()
        mask = threshold(maps)
        above = (one[where] for one, where in zip(maps, mask, strict=True))
        level = torch.stack([one.min() if len(one) else one.new_tensor(torch.inf) for one in above])
        return level, mask if components is None else components(mask, maps)

    def saliency(self, index: int) -> Tensor:
        """Maps (K, H, W) of a slice in [0, 1], zero where a class is not looked for."""
        maps: Tensor = self._restore(self._grids[index : index + 1], self._shape)[0]
        return maps * self.present[index][:, None, None]

    def mask(self, index: int, saliency: Tensor, picture: Tensor) -> Tensor:
        """Coarse masks (K, H, W) bool of a slice, whose saliency and picture (3, H, W) are given."""
        if not self._as_one:
            return torch.as_tensor(self._coarse(saliency, picture)) & self.present[index][:, None, None]
        threshold = self._coarse.threshold
        if getattr(threshold, "needs_image", False):
            above = torch.as_tensor(threshold(saliency, picture))
        else:
            above = saliency >= self._level[:, None, None]
        near = F.max_pool2d(self._kept[..., index].float()[None], 3, stride=1, padding=1)
        return above & (F.interpolate(near, self._shape, mode="nearest")[0] > 0)


def balanced(evidence: VolumeEvidence, present: Tensor) -> Tensor:
    """Maps (D, K, rows, columns) in [0, 1] of which those slices that surely show a class reach 1 on their own.

    What an encoder keeps of a class differs much between slices that all show it, and is no measure of how sure it is.
    Where there is nothing to tell the presence by, every slice is taken to show the class.

    Args:
        evidence: of the volume.
        present: (D, K) bool, the slices in which each class is looked for.
    """
    if evidence.calibrated:
        return evidence.grids
    peak = evidence.grids.amax(dim=(2, 3))
    top = (peak * present).amax(dim=0)
    sure = ((evidence.presence - _SURE) / (1 - _SURE)).clamp(0, 1).nan_to_num(1.0)
    scale = (top ** (1 - sure) * peak**sure).clamp_min(torch.finfo(peak.dtype).tiny)
    return (evidence.grids / scale[:, :, None, None]).clamp(max=1.0)
