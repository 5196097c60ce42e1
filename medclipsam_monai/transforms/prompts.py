"""Coarse mask to visual prompts: the boxes and points that are given to SAM (MedCLIP-SAMv2, arXiv 2409.19483).

Coordinates are SAM's: pixels, x to the right and y downwards, a pixel's index at its centre, and a box is the first and
the last foreground column and row, both inclusive.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, ensure_tuple_rep
from scipy import ndimage
from torch import Tensor

from medclipsam_monai.presets.parameters import Grouping, PromptParameters
from medclipsam_monai.transforms.components import class_channels, label_components

__all__ = ["PromptsFromMask", "PromptsFromMaskD", "PromptsFromMaskDict", "PromptsFromMaskd", "VisualPrompts"]


@dataclass(frozen=True, eq=False)
class VisualPrompts:
    """N visual prompts of one class; the segmenter makes one mask for each. N = 0: nothing to segment.

    Attributes:
        boxes: (N, 4) float32, x0, y0, x1, y1, or None.
        points: (N, P, 2) float32, x, y, or None.
        labels: (N, P) int64, 1 = the point is in the foreground, 0 = in the background; None without points.
        masks: (N, H, W) in the picture's pixels, in [0, 1], a first guess beside each box or set of points; or None.

    Raises:
        ValueError: neither boxes nor points, points without labels, or shapes that do not fit together.
    """

    boxes: Tensor | None = None
    points: Tensor | None = None
    labels: Tensor | None = None
    masks: Tensor | None = None

    def __post_init__(self) -> None:
        if self.boxes is None and self.points is None:
            raise ValueError("visual prompts need boxes or points, got neither")
        if self.boxes is not None and (self.boxes.ndim != 2 or self.boxes.shape[1] != 4):
            raise ValueError(f"boxes must be (N, 4), got {tuple(self.boxes.shape)}")
        if (self.points is None) != (self.labels is None):
            raise ValueError("points and labels go together, got only one of them")
        if self.points is not None and self.labels is not None:
            if self.points.ndim != 3 or self.points.shape[2] != 2 or self.labels.shape != self.points.shape[:2]:
                shapes = f"{tuple(self.points.shape)} and {tuple(self.labels.shape)}"
                raise ValueError(f"points must be (N, P, 2) and labels (N, P), got {shapes}")
            if self.boxes is not None and len(self.boxes) != len(self.points):
                raise ValueError(f"one box for each set of points, got {len(self.boxes)} and {len(self.points)}")
        if self.masks is not None and (self.masks.ndim != 3 or len(self.masks) != len(self)):
            raise ValueError(f"masks must be ({len(self)}, H, W), one for each prompt, got {tuple(self.masks.shape)}")

    def with_mask(self, mask: Tensor) -> VisualPrompts:
        """The same prompts with a mask (H, W) beside: of several boxes each has what of it lies in it.

        Raises:
            ValueError: the mask is not (H, W).
        """
        if mask.ndim != 2:
            raise ValueError(f"a mask must be (H, W), got {tuple(mask.shape)}")
        masks = mask.float().expand(len(self), -1, -1)
        if self.boxes is not None and len(self) > 1:
            rows, columns = (torch.arange(size, device=mask.device) for size in mask.shape)
            x0, y0, x1, y1 = self.boxes.to(mask.device)[:, :, None, None].unbind(dim=1)
            inside = (rows[:, None] >= y0) & (rows[:, None] <= y1) & (columns >= x0) & (columns <= x1)
            masks = masks * inside
        return replace(self, masks=masks)

    def __len__(self) -> int:
        some = self.points if self.boxes is None else self.boxes
        return 0 if some is None else len(some)


@dataclass(frozen=True)
class PromptsFromMask(PromptParameters, Transform):
    """Make the visual prompts of each class from its coarse mask.

    Points are drawn at random from the pixels that lie more than ``point_margin`` pixels deep in the mask (the border
    of the image counts as a border of the mask); where nothing is that deep, from the deepest pixels. If there are
    fewer such pixels than points, some points repeat. The same mask always gives the same points, whatever the other
    classes are.

    Args:
        boxes: "single" = one box around all the foreground of a class, "components" = one around each of its connected
            components, None = no boxes.
        points: points in each prompt.
        point_sets: where there are no boxes, "single" = one prompt with points from all the foreground, "components" =
            one prompt for each connected component. With boxes there is one set for each box.
        box_margin: by how much of its width or height a box grows on each side; it is clipped to the image.
        point_margin: depth in pixels.
        seed: of the points.

    Raises:
        InputError: neither boxes nor points, ``point_sets`` that contradict ``boxes``, or a value of another type or
            out of its range.

    Examples:
        >>> mask = np.array([[[0, 1, 1], [0, 1, 0]]])
        >>> PromptsFromMask("single")(mask)[0].boxes
        tensor([[1., 0., 2., 1.]])
    """

    backend = [TransformBackends.NUMPY]  # noqa: RUF012

    @property
    def grouping(self) -> Grouping:
        """What gets one prompt: all the foreground of a class, or each of its components."""
        return self.boxes or self.point_sets or "single"

    def __call__(self, img: NdarrayOrTensor) -> list[VisualPrompts]:
        """
        Args:
            img: mask (K, H, W), foreground where not zero.

        Returns:
            K sets of prompts, on the mask's device; that of an empty channel has N = 0.

        Raises:
            ValueError: the shape is not (K, H, W).
        """
        device = img.device if isinstance(img, Tensor) else torch.device("cpu")
        return [self._prompts(channel != 0, device) for channel in class_channels(img, "mask").numpy()]

    def _prompts(self, mask: np.ndarray, device: torch.device) -> VisualPrompts:
        regions = self._regions(mask)
        boxes = points = labels = None
        if self.boxes is not None:
            corners = [self._box(region) for region in regions]
            boxes = torch.tensor(corners, dtype=torch.float32, device=device).reshape(-1, 4)
        if self.points:
            generator = torch.Generator().manual_seed(self.seed)
            chosen = [self._points(region, generator) for region in regions]
            points = torch.stack(chosen).to(device) if chosen else torch.zeros(0, self.points, 2, device=device)
            labels = torch.ones(points.shape[:2], dtype=torch.int64, device=device)
        return VisualPrompts(boxes, points, labels)

    def _regions(self, mask: np.ndarray) -> list[np.ndarray]:
        """The parts of a mask (H, W) that get one prompt each, each (H, W) bool."""
        if self.grouping == "single":
            return [mask] if mask.any() else []
        labels, n = label_components(mask)
        return [labels == i + 1 for i in range(n)]

    def _box(self, region: np.ndarray) -> list[float]:
        x0, x1 = self._extent(np.asarray(region.any(axis=0)))
        y0, y1 = self._extent(np.asarray(region.any(axis=1)))
        return [x0, y0, x1, y1]

    def _extent(self, line: np.ndarray) -> tuple[float, float]:
        """First and last true index of a line, moved apart by the margin and clipped to the line."""
        first, last = self._ends(line)
        margin = self.box_margin * (last - first + 1)
        return max(first - margin, 0.0), min(last + margin, len(line) - 1.0)

    @staticmethod
    def _ends(line: np.ndarray) -> tuple[int, int]:
        """First and last true index of a line."""
        (where,) = np.nonzero(line)
        return int(where[0]), int(where[-1])

    def _points(self, region: np.ndarray, generator: torch.Generator) -> Tensor:
        """Points in a region, (P, 2) float32, x, y."""
        (row, _), (column, _) = window = [self._ends(np.asarray(region.any(axis=axis))) for axis in (1, 0)]
        part = region[tuple(slice(first, last + 1) for first, last in window)]  # all else is far from it
        depth = ndimage.distance_transform_edt(np.pad(part, 1))[1:-1, 1:-1]
        inside = depth > self.point_margin
        rows, columns = np.nonzero(inside if inside.any() else depth == depth.max())
        order = torch.randperm(len(rows), generator=generator)
        chosen = order[torch.arange(self.points) % len(rows)].numpy()
        return torch.from_numpy(np.stack([columns[chosen] + column, rows[chosen] + row], axis=1).astype(np.float32))


class PromptsFromMaskd(MapTransform):
    """Dictionary-based wrapper of :py:class:`PromptsFromMask`.

    Args:
        keys: keys of the masks.
        output_keys: keys the prompts are put under.
        boxes: see `PromptsFromMask`, as the other parameters.
        points: see `PromptsFromMask`.
        point_sets: see `PromptsFromMask`.
        box_margin: see `PromptsFromMask`.
        point_margin: see `PromptsFromMask`.
        seed: see `PromptsFromMask`.
        allow_missing_keys: do not raise if a key is missing.

    Raises:
        InputError: see `PromptsFromMask`.
    """

    backend = PromptsFromMask.backend

    def __init__(
        self,
        keys: KeysCollection,
        output_keys: KeysCollection = "prompts",
        boxes: Grouping | None = "single",
        points: int = 0,
        point_sets: Grouping | None = None,
        box_margin: float = 0.0,
        point_margin: float = 2.0,
        seed: int = 0,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.output_keys = ensure_tuple_rep(output_keys, len(self.keys))
        self.converter = PromptsFromMask(boxes, points, point_sets, box_margin, point_margin, seed)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key, output_key in self.key_iterator(d, self.output_keys):
            d[output_key] = self.converter(d[key])
        return d


PromptsFromMaskD = PromptsFromMaskDict = PromptsFromMaskd
