"""Any medical image to a display image: three channels in [0, 1], as the networks and a reader's eye expect it.

CLIP and SAM were trained on 8-bit pictures, so how grey values are mapped decides what they can see.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, convert_to_dst_type
from torch import Tensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.windows import Window, WindowLike, parse_window, percentile_window, range_window
from medclipsam_monai.transforms.voi import apply_voi

__all__ = ["DisplayRange", "DisplayRangeD", "DisplayRangeDict", "DisplayRanged"]

COLOUR_CHANNELS = {1: 1, 2: 1, 3: 3, 4: 3}
"""Channels of a picture -> how many of them are colour; the rest is alpha."""

VALUE_META = ("voi", "window_center", "window_width", "photometric", "uint8", "mode")
"""Meta keys that describe the values of an image; they are no longer true of the display image."""

EIGHT_BIT_MODES = ("L", "LA", "RGB", "RGBA")
"""Pillow modes with 8 bits a channel, as MONAI's PILReader records them in meta "mode"."""

MAX_SAMPLES = 1 << 20
"""Percentiles of larger images are taken over a regular sample of about this many values."""


class DisplayRange(Transform):
    """Map an image of any kind to a display image: three channels in [0, 1].

    With the automatic window (None), the first rule that fits is used:

    1. The meta data hold a DICOM display mapping (under "voi", see :py:func:`apply_voi`), or else a window (numbers
       under "window_center" and "window_width"): centre +- width / 2.
    2. The values are 8-bit, that is, of dtype uint8, or whole numbers in [0, 255] whose meta data say that they were
       ("uint8" is true, or Pillow's "mode" has 8 bits): divided by 255.
    3. Otherwise between two percentiles of the finite values of the whole image or volume, so that the slices of a
       volume stay comparable. Percentiles that coincide, as in an almost empty image, give way to the full range.

    NaN and minus infinity become the lower end, infinity the upper one; an image without any contrast becomes zeros
    (an 8-bit one stays what it is). Alpha channels are dropped, and of a grey image meta "photometric" = "MONOCHROME1"
    (low values are bright) inverts the result. The meta keys that describe the old values are removed from the result.

    Args:
        window: None = automatic, a text as in :py:func:`parse_window`, (centre, width) or a :py:class:`Window`.
        percentiles: lower and upper percentile of the automatic and the "percentile" window, in [0, 100].

    Raises:
        InputError: the window is unknown or impossible.

    Examples:
        >>> image = np.array([[[-2000.0, -160.0, 40.0, 240.0, 3000.0]]])  # one channel, HU
        >>> DisplayRange("soft_tissue")(image)[0].tolist()
        [[0.0, 0.0, 0.5, 1.0, 1.0]]
    """

    backend = [TransformBackends.TORCH]  # noqa: RUF012

    def __init__(self, window: WindowLike | None = None, percentiles: Sequence[float] = (0.5, 99.5)) -> None:
        if isinstance(window, Window):
            self.window = window
        elif isinstance(window, str):
            self.window = parse_window(window, percentiles)
        elif window is None:
            self.window = percentile_window("auto", percentiles)
        else:
            if len(window) != 2:
                raise InputError(f"a window is (centre, width), got {len(window)} numbers")
            self.window = range_window(*window)

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """
        Args:
            img: (C, H, W) or (C, H, W, D), C = 1 (grey), 2 (grey and alpha), 3 (RGB) or 4 (RGB and alpha), any values.

        Returns:
            (3, H, W) or (3, H, W, D) float32 in [0, 1], of the kind that came (array, tensor or MetaTensor).

        Raises:
            InputError: the shape is none of these, the image is empty or its values are not real numbers.
        """
        scaled = self.scaled(img)
        out, *_ = convert_to_dst_type(scaled.expand(3, *scaled.shape[1:]).contiguous(), dst=img, dtype=torch.float32)
        if isinstance(out, MetaTensor):
            out.meta = {key: value for key, value in out.meta.items() if key not in VALUE_META}
        return out

    def view(self, img: NdarrayOrTensor) -> Tensor:
        """As a call, at a third of the memory for a grey image: a plain tensor whose three channels are one.

        Returns:
            (3, H, W) or (3, H, W, D) float32 in [0, 1], not to be written to.

        Raises:
            InputError: see a call.
        """
        scaled = self.scaled(img)
        return scaled.expand(3, *scaled.shape[1:])

    def scaled(self, img: NdarrayOrTensor) -> Tensor:
        """The values of a display image, (1, H, W[, D]) of a grey one and (3, H, W[, D]) of one in colour."""
        _check_image(img)
        meta = img.meta if isinstance(img, MetaTensor) else {}
        values = _as_float(img)[: COLOUR_CHANNELS[img.shape[0]]]
        if self.window.kind == "auto" and isinstance(meta.get("voi"), str):
            scaled = apply_voi(values, meta["voi"])
        else:
            scaled = _scale(values, *self._ends(values, meta, eight_bit=str(img.dtype).endswith("uint8")))
        if len(values) == 1 and str(meta.get("photometric", "")).strip().upper() == "MONOCHROME1":
            scaled = scaled.neg_().add_(1)
        return scaled

    def _ends(self, values: Tensor, meta: Mapping[Any, Any], eight_bit: bool) -> tuple[float, float]:
        """The values that become 0 and 1."""
        window = self.window
        if window.kind == "auto":
            window = _window_in_meta(meta) or window
        if window.kind == "range":
            return window.low, window.high
        if window.kind == "uint8" or (window.kind == "auto" and (eight_bit or _was_eight_bit(values, meta))):
            return 0.0, 255.0
        if window.kind == "full":
            return _full_range(values)
        low, high = _percentile_range(values, window.low, window.high)
        return (low, high) if low < high else _full_range(values)


class DisplayRanged(MapTransform):
    """Dictionary-based wrapper of :py:class:`DisplayRange`.

    Args:
        keys: keys of the images.
        window: see :py:class:`DisplayRange`.
        percentiles: see :py:class:`DisplayRange`.
        allow_missing_keys: do not raise if a key is missing.
    """

    backend = DisplayRange.backend

    def __init__(
        self,
        keys: KeysCollection,
        window: WindowLike | None = None,
        percentiles: Sequence[float] = (0.5, 99.5),
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.converter = DisplayRange(window, percentiles)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.converter(d[key])
        return d


def _check_image(img: NdarrayOrTensor) -> None:
    if img.ndim not in (3, 4) or 0 in img.shape:
        raise InputError(f"an image is (C, H, W) or (C, H, W, D) and not empty, got shape {tuple(img.shape)}")
    if img.shape[0] not in COLOUR_CHANNELS:
        raise InputError(
            f"an image has 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha) channels, got {img.shape[0]}"
        )
    if not (isinstance(img, Tensor) or img.dtype.kind in "buif") or (isinstance(img, Tensor) and img.is_complex()):
        raise InputError(f"an image holds real numbers, got {img.dtype}")


def _as_float(img: NdarrayOrTensor) -> Tensor:
    """The values as a plain float32 tensor; float64 stays, for its large values have no place in float32."""
    if isinstance(img, Tensor):
        values = img.as_tensor() if isinstance(img, MetaTensor) else img
        return values if values.dtype == torch.float64 else values.float()
    # numpy converts byte orders, strides and types that torch does not know
    return torch.from_numpy(np.ascontiguousarray(img, dtype=np.float64 if img.dtype.itemsize >= 8 else np.float32))


def _first_number(value: Any) -> float:
    """A scalar, or the first of several as DICOM allows; NaN where there is none."""
    try:
        return float(np.asarray(value, dtype=float).reshape(-1)[0])
    except (TypeError, ValueError, IndexError):
        return math.nan


def _window_in_meta(meta: Mapping[Any, Any]) -> Window | None:
    centre, width = _first_number(meta.get("window_center")), _first_number(meta.get("window_width"))
    return range_window(centre, width) if math.isfinite(centre) and math.isfinite(width) and width > 0 else None


def _was_eight_bit(values: Tensor, meta: Mapping[Any, Any]) -> bool:
    recorded = bool(meta.get("uint8", False)) or meta.get("mode") in EIGHT_BIT_MODES
    return recorded and bool(((values >= 0) & (values <= 255) & (values == values.round())).all())


def _full_range(values: Tensor) -> tuple[float, float]:
    """Minimum and maximum of the finite values; (0, 0) if there are none."""
    low, high = values.aminmax()
    if not bool(torch.isfinite(low) & torch.isfinite(high)):
        values = values[torch.isfinite(values)]
        if not len(values):
            return 0.0, 0.0
        low, high = values.aminmax()
    return float(low), float(high)


def _percentile_range(values: Tensor, low: float, high: float) -> tuple[float, float]:
    """Two percentiles of the finite values; (0, 0) if there are none."""
    in_memory = sorted(range(values.ndim), key=values.stride, reverse=True)  # the order that needs no copy
    sample = values.permute(in_memory).reshape(-1)
    stride = -(-len(sample) // MAX_SAMPLES)
    # a stride that shares a factor with a side of the image would see only some of its rows or slices
    while math.gcd(stride, len(sample)) > 1:
        stride += 1
    sample = sample[::stride]
    sample = sample[torch.isfinite(sample)]
    if not len(sample):
        return _full_range(values)
    # halves, for the interpolation between two huge values of opposite sign would overflow
    ends = torch.quantile(sample / 2, torch.tensor([low / 100, high / 100], dtype=sample.dtype, device=sample.device))
    return 2 * float(ends[0]), 2 * float(ends[1])


def _scale(values: Tensor, low: float, high: float) -> Tensor:
    """Map [low, high] to [0, 1] and clip, as float32; zeros where the two coincide."""
    span = high / 2 - low / 2
    if not span > 0:
        return torch.zeros_like(values, dtype=torch.float32)
    if not 1e-30 < span < 1e30:
        values = values.double()
    # halves throughout: high - low may be beyond the largest number
    scaled = values.clamp(low, high).div_(2).sub_(low / 2).div_(span)
    return scaled.nan_to_num_(nan=0.0).clamp_(0, 1).float()


DisplayRangeD = DisplayRangeDict = DisplayRanged
