"""Dense CRF as a coarse mask's threshold (Krähenbühl and Koltun, NeurIPS 2011), the way of MedCLIP-SAM's first version.

Two labels, background and foreground, with the saliency s as the foreground's probability p, and 1 - s as the
background's:

    unary(p) = -log(p + 1e-8) / (tau sigmoid(p))

and between all pairs of pixels a Gaussian kernel on their distance and a bilateral one on distance and colour. The
mask is the more probable label after one step of mean-field inference. The parameters' defaults are the paper's.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.presets.parameters import CRFParameters
from medclipsam_monai.transforms.coarse import ThresholdTransform

__all__ = ["DenseCRF"]

_EPSILON = 1e-8


@dataclass(frozen=True)
class DenseCRF(CRFParameters, ThresholdTransform):
    """Saliency (K, H, W) and image (C, H, W) to mask (K, H, W) by a fully connected CRF.

    Call it with the saliency and the image it belongs to.

    Args:
        iterations: steps of mean-field inference.
        gaussian_sxy: standard deviation of the Gaussian kernel, in pixels.
        gaussian_compat: its weight.
        bilateral_sxy: standard deviation of the bilateral kernel over distance, in pixels.
        bilateral_srgb: the same over colour, in levels of 255.
        bilateral_compat: its weight.
        tau: of the unary term.

    Raises:
        InputError: a value of another type or out of its range, or pydensecrf2 is not installed.
    """

    needs_image = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _densecrf()  # missing, it is better missed now than at the first image

    def foreground(self, channel: Tensor, image: Tensor | None) -> Tensor:
        if image is None:
            raise ValueError("DenseCRF needs the image, call it with (saliency, image)")
        height, width = channel.shape
        if image.ndim != 3 or tuple(image.shape[-2:]) != (height, width):
            raise ValueError(f"image must be (C, {height}, {width}) as the saliency, got {tuple(image.shape)}")
        crf = _densecrf().DenseCRF2D(width, height, 2)
        crf.setUnaryEnergy(self._unary(channel.clamp(0, 1).numpy()))
        crf.addPairwiseGaussian(sxy=self.gaussian_sxy, compat=self.gaussian_compat)
        crf.addPairwiseBilateral(
            sxy=self.bilateral_sxy, srgb=self.bilateral_srgb, rgbim=_levels(image), compat=self.bilateral_compat
        )
        background, foreground = np.asarray(crf.inference(self.iterations))
        return torch.from_numpy(foreground > background).reshape(height, width)

    def _unary(self, saliency: np.ndarray) -> np.ndarray:
        """Energies (2, H * W) float32 of background and foreground."""
        p = np.stack([1 - saliency.ravel(), saliency.ravel()])
        return (-np.log(p + _EPSILON) * (1 + np.exp(-p)) / self.tau).astype(np.float32)


def _levels(image: Tensor) -> np.ndarray:
    """A display picture (C, H, W) in [0, 1], C = 1 or 3, as (H, W, 3) uint8."""
    picture = image.detach().cpu().float().clamp(0, 1).expand(3, -1, -1)
    return np.ascontiguousarray((picture * 255).round().byte().permute(1, 2, 0).numpy())


def _densecrf() -> Any:
    """pydensecrf2's module; the package is an extra because it is built from source."""
    try:
        return importlib.import_module("pydensecrf.densecrf")
    except ImportError as error:
        raise InputError(
            "the dense CRF needs pydensecrf2, which is not installed: pip install 'medclipsam-monai[crf]' "
            "(it builds with a C++ compiler and Python's headers)"
        ) from error
