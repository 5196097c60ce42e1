"""Connected components of masks (K, H, W[, D]), one channel a class: number them, count them, keep some of them.

MedCLIP-SAMv2 (arXiv 2409.19483, section 3.2.2) keeps the components whose confidence, the mean saliency inside,
exceeds eta_c; its released code keeps the k largest.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from monai.config import NdarrayOrTensor
from monai.data import MetaTensor
from monai.transforms import Transform
from monai.utils import TransformBackends, convert_to_dst_type
from scipy import ndimage
from torch import Tensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.presets.parameters import ConfidentParameters, LargestParameters

__all__ = [
    "KeepConfidentComponents",
    "KeepLargestComponents",
    "as_many_components",
    "class_channels",
    "count_components",
    "label_components",
    "saliency_channels",
]


class _KeepComponents(Transform):
    """Keep some of the connected components of each channel of a mask (K, H, W), or of a volume's (K, H, W, D)."""

    backend = [TransformBackends.NUMPY]  # noqa: RUF012
    connectivity: int

    @abstractmethod
    def kept(self, channel: int, areas: np.ndarray, confidence: np.ndarray | None) -> np.ndarray:
        """Which of n components to keep, as n booleans.

        Args:
            channel: index of the channel.
            areas: n areas in pixels, or volumes in voxels.
            confidence: n mean saliencies, None where no saliency was given.
        """

    def __call__(self, img: NdarrayOrTensor, saliency: NdarrayOrTensor | None = None) -> NdarrayOrTensor:
        """
        Args:
            img: mask (K, H, W[, D]), foreground where not zero.
            saliency: of the same shape, for the choices that look at it.

        Returns:
            The mask of what was kept, bool, of the shape and kind that came.

        Raises:
            ValueError: the shapes are not (K, H, W[, D]) and equal, or a saliency is needed and missing.
        """
        mask = class_channels(img, "mask", volumes=True) != 0
        maps = None if saliency is None else saliency_channels(saliency, volumes=True).numpy()
        if maps is not None and maps.shape != tuple(mask.shape):
            raise ValueError(f"saliency must have the mask's shape {tuple(mask.shape)}, got {maps.shape}")
        out = np.zeros(mask.shape, dtype=bool)
        for i, channel in enumerate(mask.numpy()):
            window = extent(channel)
            labels, n = label_components(channel[window], self.connectivity)
            if not n:
                continue
            areas = np.bincount(labels.ravel(), minlength=n + 1)[1:]
            sums = None if maps is None else np.bincount(labels.ravel(), maps[i][window].ravel(), minlength=n + 1)[1:]
            out[i][window] = np.append(False, self.kept(i, areas, None if sums is None else sums / areas))[labels]
        return convert_to_dst_type(out, dst=img, dtype=torch.bool)[0]


@dataclass(frozen=True)
class KeepConfidentComponents(ConfidentParameters, _KeepComponents):
    """Keep the components whose confidence, the mean saliency inside, exceeds a threshold (MedCLIP-SAMv2's eta_c).

    Call it with a mask and the saliency it came from.

    Args:
        min_confidence: eta_c, in [0, 1] as the saliency.
        keep_best: where no component passes, keep the single most confident one, so that a class that was found never
            ends empty. Off, as in the paper: the channel is then empty.
        connectivity: 1 = pixels touch along sides, 2 = also at corners.

    Raises:
        InputError: a value of another type or out of its range.

    Examples:
        >>> mask = np.array([[[1, 1, 0, 1]]])
        >>> saliency = np.array([[[0.9, 0.7, 0.1, 0.4]]])
        >>> KeepConfidentComponents(0.5)(mask, saliency)[0]
        array([[ True,  True, False, False]])
    """

    def kept(self, channel: int, areas: np.ndarray, confidence: np.ndarray | None) -> np.ndarray:
        if confidence is None:
            raise ValueError("KeepConfidentComponents needs the saliency, call it with (mask, saliency)")
        keep = confidence > self.min_confidence
        if self.keep_best and not keep.any():
            keep[confidence.argmax()] = True
        return keep


@dataclass(frozen=True)
class KeepLargestComponents(LargestParameters, _KeepComponents):
    """Keep the components of greatest area in each channel; of equal ones the first in reading order.

    MONAI's KeepLargestConnectedComponent takes one number of components for all channels, and cannot take one for each.

    Args:
        k: how many to keep, for all channels or one number for each.
        connectivity: 1 = pixels touch along sides, 2 = also at corners.

    Raises:
        InputError: a negative k, not one k for each channel, or a connectivity that is neither 1 nor 2.

    Examples:
        >>> KeepLargestComponents(1)(np.array([[[1, 0, 1, 1]]]))[0]
        array([[False, False,  True,  True]])
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.k, Sequence):
            object.__setattr__(self, "k", tuple(self.k))

    def __call__(self, img: NdarrayOrTensor, saliency: NdarrayOrTensor | None = None) -> NdarrayOrTensor:
        if isinstance(self.k, Sequence) and len(self.k) != len(img):
            raise InputError(f"k must hold one number for each of the {len(img)} channels, got {len(self.k)}")
        return super().__call__(img, saliency)

    def kept(self, channel: int, areas: np.ndarray, confidence: np.ndarray | None) -> np.ndarray:
        k = self.k[channel] if isinstance(self.k, Sequence) else self.k
        keep = np.zeros(len(areas), dtype=bool)
        keep[np.argsort(-areas, kind="stable")[:k]] = True
        return keep


def extent(mask: np.ndarray) -> tuple[slice, ...]:
    """The smallest window of a mask (H, W[, D]) with all of its foreground, of no size where there is none."""
    window = []
    for axis in range(mask.ndim):
        (where,) = np.nonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        window.append(slice(int(where[0]), int(where[-1]) + 1) if len(where) else slice(0, 0))
    return tuple(window)


def label_components(mask: np.ndarray, connectivity: int = 2) -> tuple[np.ndarray, int]:
    """Number the connected components of a mask (H, W[, D]) in reading order.

    Args:
        mask: (H, W[, D]), foreground where not zero.
        connectivity: 1 = pixels touch along sides, voxels along faces, 2 = also at edges and corners.

    Returns:
        The numbers, of the same shape with 0 for the background, and how many components there are.
    """
    reach = 1 if connectivity == 1 else mask.ndim
    labels, n = ndimage.label(mask, structure=ndimage.generate_binary_structure(mask.ndim, reach))
    return labels, int(n)


def count_components(mask: NdarrayOrTensor, connectivity: int = 2) -> list[int]:
    """How many connected components each channel of a mask (K, H, W) has.

    Args:
        mask: (K, H, W), foreground where not zero.
        connectivity: 1 = pixels touch along sides, 2 = also at corners.

    Returns:
        K numbers, to be given to :py:class:`KeepLargestComponents`.

    Raises:
        ValueError: the shape is not (K, H, W), or the connectivity is neither 1 nor 2.
    """
    _check_connectivity(connectivity)
    channels = class_channels(mask, "mask").numpy()
    return [label_components(channel[extent(channel)], connectivity)[1] for channel in channels]


def as_many_components(mask: Tensor, coarse: Tensor, keep_covered: float | None = None) -> Tensor:
    """A mask's largest components, as many as the coarse mask has that it was made from (MedCLIP-SAMv2's code).

    Where the coarse mask joins what the mask parts, as two lungs that touch, one of them would be lost:
    ``keep_covered`` keeps them both.

    Args:
        mask: (K, H, W) bool.
        coarse: (K, H, W) bool.
        keep_covered: keep each component besides, of which the coarse mask covers more than this share.

    Returns:
        What was kept, (K, H, W) bool.

    Raises:
        ValueError: other shapes.

    Examples:
        >>> mask = torch.tensor([[[1, 1, 0, 1, 0, 1]]]).bool()
        >>> coarse = torch.tensor([[[1, 1, 1, 1, 0, 0]]]).bool()
        >>> as_many_components(mask, coarse)[0].int()
        tensor([[1, 1, 0, 0, 0, 0]], dtype=torch.int32)
        >>> as_many_components(mask, coarse, keep_covered=0.75)[0].int()
        tensor([[1, 1, 0, 1, 0, 0]], dtype=torch.int32)
    """
    kept = torch.as_tensor(KeepLargestComponents(count_components(coarse))(mask))
    if keep_covered is not None and not torch.equal(kept, mask):
        kept = kept | torch.as_tensor(KeepConfidentComponents(keep_covered)(mask, coarse))
    return kept


def class_channels(img: NdarrayOrTensor, what: str, volumes: bool = False) -> Tensor:
    """A plain tensor (K, H, W) on the CPU, or of a volume (K, H, W, D) where ``volumes`` are taken.

    Raises:
        ValueError: another shape; ``what`` names it.
    """
    if img.ndim != 3 and not (volumes and img.ndim == 4):
        wanted = "(K, H, W[, D])" if volumes else "(K, H, W)"
        advice = "" if volumes else "; give a volume slice by slice"
        raise ValueError(f"{what} must be {wanted}, got shape {tuple(img.shape)}{advice}")
    if isinstance(img, Tensor):
        return (img.as_tensor() if isinstance(img, MetaTensor) else img).detach().cpu()
    return torch.from_numpy(np.ascontiguousarray(img))


def saliency_channels(img: NdarrayOrTensor, volumes: bool = False) -> Tensor:
    """Saliency (K, H, W[, D]) as float64 on the CPU; NaN and minus infinity count as 0, infinity as 1."""
    return class_channels(img, "saliency", volumes).double().nan_to_num(nan=0.0, posinf=1.0, neginf=0.0)


def _check_connectivity(connectivity: int) -> None:
    if connectivity not in (1, 2):
        raise ValueError(f"connectivity must be 1 (sides) or 2 (sides and corners), got {connectivity}")
