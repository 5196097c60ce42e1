"""Saliency to coarse mask: a threshold for each class, then a choice among the connected components.

MedCLIP-SAMv2 (arXiv 2409.19483, section 3.2.2): Otsu's threshold, then the connected components whose confidence, the
mean saliency inside, exceeds eta_c. The released code instead clusters the values by k-means with two clusters, or
uses a fixed threshold, and keeps the k largest components; version 1 uses a dense CRF (`dense_crf.py`). All are here
and may be mixed. Maps are (K, H, W), one channel a class, and channels never influence each other; a volume's are
(K, H, W, D), with one threshold for all slices and components in three dimensions.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, convert_to_dst_type, ensure_tuple_rep
from torch import Tensor

from medclipsam_monai.presets.methods import make_method, split_coarse
from medclipsam_monai.presets.parameters import FixedParameters, NoParameters, OtsuParameters
from medclipsam_monai.transforms.components import KeepConfidentComponents, class_channels, saliency_channels

__all__ = [
    "CoarseMask",
    "CoarseMaskD",
    "CoarseMaskDict",
    "CoarseMaskd",
    "FixedThreshold",
    "OtsuThreshold",
    "ThresholdTransform",
    "TwoMeansThreshold",
    "make_coarse",
]


class ThresholdTransform(Transform):
    """Saliency (K, H, W[, D]) to mask by a threshold for each channel; a constant map gives an empty mask.

    Attributes:
        needs_image: whether it looks at the image, and so takes pictures only.
    """

    backend = [TransformBackends.TORCH]  # noqa: RUF012
    needs_image = False

    @abstractmethod
    def foreground(self, channel: Tensor, image: Tensor | None) -> Tensor:
        """The foreground of one class.

        Args:
            channel: saliency (H, W[, D]), float64, with at least two values.
            image: (C, H, W) in [0, 1], for the thresholds that look at it; None where none was given.
        """

    def __call__(self, img: NdarrayOrTensor, image: NdarrayOrTensor | None = None) -> NdarrayOrTensor:
        """
        Args:
            img: saliency (K, H, W[, D]), usually in [0, 1]. NaN counts as 0.
            image: (C, H, W) in [0, 1], what the saliency was made of.

        Returns:
            The mask, bool, of the shape and kind that came.

        Raises:
            ValueError: the shape is not (K, H, W[, D]), or an image is needed and missing or of another size.
        """
        picture = None if image is None else class_channels(image, "image")
        channels = saliency_channels(img, volumes=True)
        mask = torch.zeros(channels.shape, dtype=torch.bool)
        for i, channel in enumerate(channels):
            if channel.numel() and channel.min() < channel.max():
                mask[i] = self.foreground(channel, picture)
        return convert_to_dst_type(mask, dst=img, dtype=torch.bool)[0]


@dataclass(frozen=True)
class OtsuThreshold(OtsuParameters, ThresholdTransform):
    """Otsu's threshold (1979): the split of a histogram with the greatest variance between its two sides.

    Whole bins fall on one side, so the mask is exactly the best split of the histogram; the threshold lies within half
    a bin of the bin centre that skimage.filters.threshold_otsu returns.

    Args:
        bins: bins of equal width between the minimum and the maximum of a channel.

    Raises:
        InputError: no whole number, fewer than two bins or more than 65,536.
    """

    def foreground(self, channel: Tensor, image: Tensor | None) -> Tensor:
        low, high = channel.min(), channel.max()
        index = ((channel - low) / (high - low) * self.bins).long().clamp_(max=self.bins - 1)
        count = torch.bincount(index.flatten(), minlength=self.bins).double()
        centre = torch.arange(self.bins, dtype=torch.float64)
        return index > _best_split(count, count * centre)


@dataclass(frozen=True)
class TwoMeansThreshold(NoParameters, ThresholdTransform):
    """The exact optimum of k-means with two clusters on the values, which is Otsu's criterion without bins.

    The released code runs an iterative k-means from random starts; on one dimension the best split of the sorted
    values is found directly. The foreground is the brighter cluster.
    """

    def foreground(self, channel: Tensor, image: Tensor | None) -> Tensor:
        values, count = channel.flatten().unique(sorted=True, return_counts=True)
        return channel > values[_best_split(count.double(), count * values)]


@dataclass(frozen=True)
class FixedThreshold(FixedParameters, ThresholdTransform):
    """Foreground where the saliency is at least ``value`` (the released code's choice on validation images: 0.3).

    Args:
        value: in [0, 1].

    Raises:
        InputError: another value.
    """

    def foreground(self, channel: Tensor, image: Tensor | None) -> Tensor:
        return channel >= self.value


@dataclass(frozen=True)
class CoarseMask(Transform):
    """Saliency (K, H, W[, D]) to coarse mask of the same shape: a threshold, then a choice among the components.

    Args:
        threshold: (saliency, image) to mask; the image is left out where none was given.
        components: (mask, saliency) to mask; None keeps every component.

    Examples:
        >>> import numpy as np
        >>> from medclipsam_monai.transforms import KeepLargestComponents
        >>> saliency = np.array([[[0.9, 0.8, 0.1, 0.4, 0.1]]])
        >>> CoarseMask()(saliency)[0]  # the paper: Otsu, then components more confident than 0.5
        array([[ True,  True, False, False, False]])
        >>> CoarseMask(TwoMeansThreshold(), KeepLargestComponents(2))(saliency)[0]  # the released code for lungs
        array([[ True,  True, False, False, False]])
    """

    threshold: Callable[..., NdarrayOrTensor] = field(default_factory=OtsuThreshold)
    components: Callable[[NdarrayOrTensor, NdarrayOrTensor], NdarrayOrTensor] | None = field(
        default_factory=KeepConfidentComponents
    )

    def __call__(self, img: NdarrayOrTensor, image: NdarrayOrTensor | None = None) -> NdarrayOrTensor:
        """
        Args:
            img: saliency (K, H, W[, D]), usually in [0, 1].
            image: (C, H, W) in [0, 1], what the saliency was made of: only the dense CRF looks at it.

        Returns:
            The coarse mask, bool, of the shape and kind that came.

        Raises:
            ValueError: the shape is not (K, H, W[, D]), or an image is needed and missing or of another size.
        """
        mask = self.threshold(img) if image is None else self.threshold(img, image)
        return mask if self.components is None else self.components(mask, img)


class CoarseMaskd(MapTransform):
    """Dictionary-based wrapper of :py:class:`CoarseMask`, whose parts are named as in a preset's "coarse" group.

    Args:
        keys: keys of the saliency maps.
        output_keys: keys the masks are put under; None puts each in place of its saliency.
        threshold: "otsu", "two_means", "crf" or a number from 0 to 1, see `FixedThreshold`.
        components: "confident", "largest" or None, which keeps every component.
        image_keys: keys of the images that the saliency was made of; None gives the masks no image.
        allow_missing_keys: do not raise if a key is missing.
        parameters: of the threshold and of the choice of components, such as ``bins`` or ``min_confidence``.

    Raises:
        InputError: an unknown name, or a parameter that is not of what was named, or out of its range.

    Examples:
        >>> import numpy as np
        >>> lungs = CoarseMaskd("saliency", threshold="two_means", components="largest", k=2)
        >>> lungs({"saliency": np.array([[[0.9, 0.8, 0.1, 0.4, 0.1]]])})["saliency"][0]
        array([[ True,  True, False, False, False]])
    """

    backend = ThresholdTransform.backend

    def __init__(
        self,
        keys: KeysCollection,
        output_keys: KeysCollection | None = None,
        threshold: str | float = "otsu",
        components: str | None = "confident",
        image_keys: KeysCollection | None = None,
        allow_missing_keys: bool = False,
        **parameters: Any,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.output_keys = self.keys if output_keys is None else ensure_tuple_rep(output_keys, len(self.keys))
        self.image_keys = ensure_tuple_rep(image_keys, len(self.keys))
        self.converter = make_coarse({"threshold": threshold, "components": components, **parameters})

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key, output_key, image_key in self.key_iterator(d, self.output_keys, self.image_keys):
            d[output_key] = self.converter(d[key], None if image_key is None else d[image_key])
        return d


CoarseMaskD = CoarseMaskDict = CoarseMaskd


def _best_split(count: Tensor, total: Tensor) -> int:
    """Index of the last class of the lower side of the best two-part split of ordered classes.

    Args:
        count: (n,) how many values each class has, float64; n >= 2, first and last not zero.
        total: (n,) sum of the values of each class.

    Returns:
        The split that maximises the between-class variance w0 w1 (m1 - m0)^2, the first of equal ones.
    """
    weight, mass = count.cumsum(0), total.cumsum(0)
    w0, w1 = weight[:-1], weight[-1] - weight[:-1]
    m0, m1 = mass[:-1] / w0, (mass[-1] - mass[:-1]) / w1
    return int((w0 * w1 * (m1 - m0).square()).argmax())


def make_coarse(settings: Mapping[str, Any]) -> CoarseMask:
    """The coarse mask's transform from a preset's "coarse" group.

    Raises:
        InputError: for a threshold, a choice of components or a parameter that is not known.
    """
    threshold, own, components, rest = split_coarse(dict(settings))
    chosen: Any = make_method("coarse", "threshold", threshold, own) if isinstance(threshold, str) else None
    kept = None if components is None else make_method("coarse", "components", components, rest)
    return CoarseMask(chosen or FixedThreshold(float(threshold)), kept)
