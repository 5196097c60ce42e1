"""Pictures for people: masks, prompts and saliency drawn over the display image, pixel for pixel.

Where the spacing says that rows and columns are not equally far apart, as in most coronal and sagittal cuts, pixels are
repeated along the coarser axis, so that a millimetre is as long down as across; nothing is interpolated.

Pictures are uint8 (H, W, 3) arrays for Pillow.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from monai.config import KeysCollection, NdarrayOrTensor
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, convert_to_numpy, ensure_tuple_rep
from PIL import Image, ImageDraw
from scipy import ndimage

from medclipsam_monai.base.colours import CLASS_COLOURS, Colour
from medclipsam_monai.transforms.drawn_pixels import (
    check_display,
    display_pixels,
    drawn_size,
    first_pixel,
    flat,
    resized,
    rounded,
)
from medclipsam_monai.transforms.lettering import font, with_legend

__all__ = ["CLASS_COLOURS", "Overlay", "OverlayD", "OverlayDict", "Overlayd", "saliency_picture"]

MAX_SLICES = 9
"""How many slices of a volume a picture shows at most."""


class Overlay(Transform):
    """Draw masks over an image: a translucent fill and a crisp contour of each class in its colour.

    Args:
        alpha: opacity of the fill in [0, 1].
        contour: width of the contour in pixels of the picture, inside the mask; 0 = none.
        colours: RGB of each class; used again from the start where there are more classes.
        names: names of the classes; given, a legend is added in a strip below the picture.
        min_size: a picture whose longer side is below this many pixels is enlarged by the least whole factor that
            reaches it; the default never enlarges, so that each pixel of the picture is one of the image.

    Raises:
        ValueError: a parameter out of its range.
    """

    backend = [TransformBackends.NUMPY]  # noqa: RUF012

    def __init__(
        self,
        alpha: float = 0.3,
        contour: int = 2,
        colours: Sequence[Sequence[int]] = CLASS_COLOURS,
        names: Sequence[str] | None = None,
        min_size: int = 1,
    ) -> None:
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha must be in [0, 1], got {alpha}")
        if contour < 0:
            raise ValueError(f"contour must be 0 or more, got {contour}")
        if not colours or any(len(colour) != 3 for colour in colours):
            raise ValueError(f"colours must be at least one (red, green, blue), got {colours!r}")
        self.alpha = alpha
        self.contour = contour
        self.colours: list[Colour] = [(int(red), int(green), int(blue)) for red, green, blue in colours]
        self.names = names
        self.min_size = min_size

    def __call__(
        self,
        img: NdarrayOrTensor,
        mask: NdarrayOrTensor | None = None,
        boxes: Sequence[NdarrayOrTensor] | None = None,
        points: Sequence[NdarrayOrTensor] | None = None,
        spacing: Sequence[float] | None = None,
    ) -> np.ndarray:
        """
        Args:
            img: display image (1 or 3, H, W) or (1 or 3, H, W, D) in [0, 1], as DisplayRange makes it.
            mask: (K, H, W) or (K, H, W, D), foreground where not zero; None draws none.
            boxes: K arrays (N, 4), x0, y0, x1, y1 in pixels, both ends inclusive; only for 2-D images.
            points: K arrays (N, P, 2), x, y in pixels; only for 2-D images.
            spacing: millimetres between rows and between columns, more are left alone; None, or numbers that are not
                positive, for square pixels.

        Returns:
            uint8 (H, W, 3), plus the legend's strip. A volume becomes a montage of up to 9 slices, spread evenly over
            those with foreground (over all, if none has any), each with its number, counted from 1.

        Raises:
            ValueError: the shapes do not fit together, or there are boxes or points for a volume.
        """
        check_display(img)
        sides = tuple(img.shape[1:])
        masks = np.zeros((0, *sides), bool) if mask is None else np.asarray(convert_to_numpy(mask))
        if masks.shape[1:] != sides:
            raise ValueError(f"mask must be (K, {str(sides)[1:-1]}) as the image, got {masks.shape}")
        masks = masks if masks.dtype == bool else masks != 0
        size = drawn_size(sides[:2], spacing, self.min_size)
        if img.ndim == 3:
            picture = self._draw(display_pixels(img), masks, size, boxes or (), points or ())
        elif boxes is not None or points is not None:
            raise ValueError("boxes and points can be drawn on 2-D images only, got a volume")
        else:
            picture = self._montage(img, masks, size)
        return picture if self.names is None else with_legend(picture, self.names, self.colours)

    def _colour(self, index: int) -> Colour:
        return self.colours[index % len(self.colours)]

    def _draw(
        self,
        pixels: np.ndarray,
        masks: np.ndarray,
        size: tuple[int, int],
        boxes: Sequence[NdarrayOrTensor] = (),
        points: Sequence[NdarrayOrTensor] = (),
    ) -> np.ndarray:
        """Pixels (H, W, 1 or 3) float in [0, 255] and masks (K, H, W) to a picture of some rows and columns."""
        down, across = size[0] / pixels.shape[0], size[1] / pixels.shape[1]
        pixels, masks = resized(pixels, size), resized(masks.transpose(1, 2, 0), size).transpose(2, 0, 1)
        picture = rounded(pixels)
        covered = np.flatnonzero(masks.any(axis=0))
        under = flat(pixels)[covered]
        for i, mask in enumerate(masks):
            blended = under + self.alpha * (np.array(self._colour(i)) - under)
            under = np.where(mask.reshape(-1, 1)[covered], blended, under).astype(np.float32)
        flat(picture)[covered] = rounded(under)
        if self.contour:
            for i, mask in enumerate(masks):
                picture[mask & ~ndimage.binary_erosion(mask, iterations=self.contour)] = self._colour(i)
        return self._with_prompts(picture, boxes, points, down, across) if len(boxes) or len(points) else picture

    def _with_prompts(
        self,
        drawn: np.ndarray,
        boxes: Sequence[NdarrayOrTensor],
        points: Sequence[NdarrayOrTensor],
        down: float,
        across: float,
    ) -> np.ndarray:
        """A picture with boxes and points, whose pixels are enlarged by two factors."""
        picture = Image.fromarray(drawn)
        pen = ImageDraw.Draw(picture)
        for i, group in enumerate(boxes):
            for x0, y0, x1, y1 in np.asarray(convert_to_numpy(group), dtype=float).reshape(-1, 4):
                left, right = first_pixel(x0, across), first_pixel(x1 + 1, across) - 1
                top, bottom = first_pixel(y0, down), first_pixel(y1 + 1, down) - 1
                pen.rectangle((left, top, max(left, right), max(top, bottom)), outline=self._colour(i))
        for i, group in enumerate(points):
            for x, y in np.asarray(convert_to_numpy(group), dtype=float).reshape(-1, 2):
                x, y = round((x + 0.5) * across - 0.5), round((y + 0.5) * down - 0.5)
                pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill=self._colour(i), outline=(255, 255, 255))
        return np.array(picture)

    def _montage(self, img: NdarrayOrTensor, masks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """A display image (1 or 3, H, W, D) and masks (K, H, W, D) to one picture of several slices."""
        shown = _spread(np.flatnonzero(masks.any(axis=(0, 1, 2))), img.shape[-1])
        tiles = [self._draw(display_pixels(img[..., i]), masks[..., i], size) for i in shown]
        tiles = [_numbered(tile, str(i + 1)) for tile, i in zip(tiles, shown, strict=True)]
        columns = math.ceil(math.sqrt(len(tiles)))
        tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
        return np.concatenate([np.concatenate(tiles[i : i + columns], 1) for i in range(0, len(tiles), columns)], 0)


def saliency_picture(
    saliency: NdarrayOrTensor,
    image: NdarrayOrTensor,
    alpha: float = 0.7,
    spacing: Sequence[float] | None = None,
) -> np.ndarray:
    """Draw a saliency map over an image as heat, from dark red to bright yellow, the stronger the more opaque.

    Args:
        saliency: (H, W) in [0, 1].
        image: display image (1 or 3, H, W) in [0, 1].
        alpha: opacity where the saliency is 1, in [0, 1].
        spacing: as in :py:class:`Overlay`.

    Returns:
        uint8 (H, W, 3).

    Raises:
        ValueError: the shapes do not fit together or alpha is out of its range.
    """
    from matplotlib import colormaps  # here, for it is slow to import

    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be in [0, 1], got {alpha}")
    pixels = display_pixels(image)
    heat = np.clip(np.nan_to_num(np.asarray(convert_to_numpy(saliency), dtype=float)), 0, 1)
    if heat.shape != pixels.shape[:-1] or heat.ndim != 2:
        raise ValueError(f"saliency must be (H, W) over the image {tuple(image.shape)}, got {heat.shape}")
    colours = np.asarray(colormaps["inferno"](heat))[..., :3] * 255
    picture = np.rint(pixels + alpha * heat[..., None] * (colours - pixels)).astype(np.uint8)
    return resized(picture, drawn_size(heat.shape, spacing))


class Overlayd(MapTransform):
    """Dictionary-based wrapper of :py:class:`Overlay`.

    Args:
        keys: keys of the display images.
        mask_keys: keys of their masks.
        output_keys: keys the pictures are put under.
        alpha: see `Overlay`, as the other parameters.
        contour: see `Overlay`.
        colours: see `Overlay`.
        names: see `Overlay`.
        min_size: see `Overlay`.
        allow_missing_keys: do not raise if a key is missing.

    Raises:
        ValueError: see `Overlay`.
    """

    backend = Overlay.backend

    def __init__(
        self,
        keys: KeysCollection,
        mask_keys: KeysCollection = "pred",
        output_keys: KeysCollection = "overlay",
        alpha: float = 0.3,
        contour: int = 2,
        colours: Sequence[Sequence[int]] = CLASS_COLOURS,
        names: Sequence[str] | None = None,
        min_size: int = 1,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.mask_keys = ensure_tuple_rep(mask_keys, len(self.keys))
        self.output_keys = ensure_tuple_rep(output_keys, len(self.keys))
        self.converter = Overlay(alpha, contour, colours, names, min_size)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key, mask_key, output_key in self.key_iterator(d, self.mask_keys, self.output_keys):
            spacing = d[key].meta.get("spacing") if isinstance(d[key], MetaTensor) else None
            d[output_key] = self.converter(d[key], d[mask_key], spacing=spacing)
        return d


OverlayD = OverlayDict = Overlayd


def _spread(candidates: np.ndarray, depth: int) -> list[int]:
    """Up to MAX_SLICES of the candidates, or of all ``depth`` slices if there are none, spread evenly."""
    if not len(candidates):
        candidates = np.arange(depth)
    # the middles of equal parts, for the first and the last slice of an organ show little of it
    n = min(MAX_SLICES, len(candidates))
    return [int(candidates[int((i + 0.5) * len(candidates) / n)]) for i in range(n)]


def _numbered(tile: np.ndarray, text: str) -> np.ndarray:
    picture = Image.fromarray(tile)
    pen = ImageDraw.Draw(picture)
    pen.text((3, 1), text, fill=(255, 255, 255), font=font(11), stroke_width=1, stroke_fill=(0, 0, 0))
    return np.array(picture)
