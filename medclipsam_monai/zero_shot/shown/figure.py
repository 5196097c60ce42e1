"""The stages of a segmentation side by side: image, saliency, coarse mask with boxes, mask; a row for each class."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from medclipsam_monai.base.colours import CLASS_COLOURS
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.transforms import Overlay, saliency_picture
from medclipsam_monai.zero_shot.shown.picture import SMALLEST
from medclipsam_monai.zero_shot.volumes.result import VolumeResult

if TYPE_CHECKING:
    from medclipsam_monai.zero_shot.segmentation import Segmentation

_PANEL = 2.6  # inches


class StagesFigure(Figure):
    """A figure that notebooks show wherever it is the last value of a cell, and that pyplot does not keep."""

    def _repr_png_(self) -> bytes:
        content = io.BytesIO()
        self.savefig(content, format="png")
        return content.getvalue()


def stages_figure(segmentation: Segmentation, slice_number: int | None = None) -> StagesFigure:
    """Draw the stages.

    Args:
        segmentation: of a picture, or of a volume; a volume's saliency is drawn where it was kept.
        slice_number: of a volume, from 1; None for each class's slice with the largest mask, or the middle one.

    Raises:
        InputError: the volume has no such slice, or the image is no volume.
    """
    volume = segmentation.display.ndim == 4
    depth = segmentation.display.shape[-1]
    if slice_number is not None and not (volume and 1 <= slice_number <= depth):
        wanted = f"from 1 to {depth}" if volume else "left out, for this is no volume"
        raise InputError(f"the number of the slice must be {wanted}, got {slice_number}")
    rows = []
    for k, name in enumerate(segmentation.found.names):
        number = slice_number if slice_number is not None or not volume else _largest(segmentation.label_map == k + 1)
        title = " ".join(name.split()) + (f", slice {number}" if volume else "")
        rows.append((title, _panels(segmentation, k, number)))
    return _laid_out(rows)


def _largest(mask: Tensor) -> int:
    """The number, from 1, of the slice with the most of a mask (H, W, D); of an empty one the middle slice."""
    areas = mask.sum(dim=(0, 1))
    return int(areas.argmax() if areas.any() else mask.shape[-1] // 2) + 1


def _panels(segmentation: Segmentation, k: int, number: int | None) -> dict[str, np.ndarray]:
    """A class's pictures by their titles."""
    found, spacing = segmentation.found, segmentation.spacing

    def cut(values: Tensor) -> Tensor:
        return values if number is None else values[..., number - 1]

    image, boxes = cut(segmentation.display), found.boxes[k]
    if number is not None:
        boxes = boxes[boxes[:, 0] == number - 1, 1:]
    draw = Overlay(colours=[CLASS_COLOURS[k % len(CLASS_COLOURS)]], min_size=SMALLEST)
    panels = {"image": draw(image, spacing=spacing)}
    if not isinstance(found, VolumeResult) or "saliency" in found.maps:
        panels["saliency"] = saliency_picture(cut(found.saliency[k]), image, spacing=spacing)
    coarse, mask = cut(found.coarse[k]), cut(segmentation.label_map) == k + 1
    panels["coarse mask, boxes"] = draw(image, torch.stack([coarse]), boxes=[boxes], spacing=spacing)
    panels["mask"] = draw(image, torch.stack([mask]), spacing=spacing)
    return panels


def _laid_out(rows: list[tuple[str, dict[str, np.ndarray]]]) -> StagesFigure:
    columns = len(rows[0][1])
    figure = StagesFigure(figsize=(_PANEL * columns, _PANEL * len(rows)), layout="constrained")
    axes: Any = figure.subplots(len(rows), columns, squeeze=False)
    for row, (name, panels) in zip(axes, rows, strict=True):
        row[0].set_ylabel(name)
        for axis, picture in zip(row, panels.values(), strict=True):
            axis.imshow(picture)
            axis.set(xticks=[], yticks=[])
    for axis, title in zip(axes[0], rows[0][1], strict=True):
        axis.set_title(title)
    return figure
