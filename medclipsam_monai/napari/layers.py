"""A napari image layer as `TextSegmenter.open` takes images, and masks back on the layer's own array.

A layer has an array and a transform to a world whose axes napari does not name. Which way they point in a patient only
the reader of the file knows; for voxels to come back in their place it does not matter, for a volume to be shown to
the networks upright it does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.limits import check_size

AS_SHOWN = "as shown"
WORLDS: Mapping[str, str] = {
    "RAS": "x, y, z of nibabel",
    "LPS": "x, y, z of ITK",
    "SAR": "z, y, x of nibabel",
    "SPL": "z, y, x of ITK, DICOM",
}
"""Where a layer's world axes point to, in their order, in nibabel's letters (Right, Posterior), and whose arrays do."""
WORLD_KEY = "world_axes"
"""In a layer's metadata: which of `WORLDS` it lies in."""
_LETTERS = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
_MILLIMETRES = {"meter": 1e3, "centimeter": 10.0, "millimeter": 1.0, "micrometer": 1e-3, "nanometer": 1e-6}


@dataclass(frozen=True, eq=False)
class LayerImage:
    """What is taken of an image layer, so that a thread needs the layer no more.

    Attributes:
        name: of the layer.
        array: (rows, columns) or three axes in the layer's own order, and of colours a last axis of 3 or 4.
        rgb: whether there are colours.
        matrix: (n + 1, n + 1), index of the n axes to world millimetres, or to what is taken for millimetres.
        known: whether the world is known to be measured in a length.
        world: one of `WORLDS`, or `AS_SHOWN`: a stack along the first axis of pictures as napari shows them.
    """

    name: str
    array: np.ndarray
    rgb: bool
    matrix: np.ndarray
    known: bool
    world: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the n axes, without colours."""
        return self.array.shape[:-1] if self.rgb else self.array.shape

    @property
    def spacing(self) -> tuple[float, ...]:
        """Millimetres along the n axes."""
        return tuple(float(length) for length in np.linalg.norm(self.matrix[:-1, :-1], axis=0))

    @property
    def turned(self) -> bool:
        """Whether its axes are not those of the world, in their order and direction."""
        linear = self.matrix[:-1, :-1]
        return not np.allclose(linear, np.diag(self.spacing), atol=1e-6 * max(self.spacing))

    @property
    def placed(self) -> bool:
        """Whether it is a volume whose world is known."""
        return len(self.shape) == 3 and self.world != AS_SHOWN

    def to_open(self) -> dict[str, Any]:
        """The image, and its spacing or affine, as `TextSegmenter.open` takes them."""
        if len(self.shape) == 2:
            return {"image": self.array, "spacing": self.spacing if self.known else None}
        array = self.array if self.placed else np.moveaxis(self.array, 0, 2)
        image = torch.from_numpy(np.moveaxis(array, -1, 0)[:3].copy()) if self.rgb else array
        if self.placed:
            return {"image": image, "affine": world_to_ras(self.world) @ self.matrix}
        depth, rows, columns = self.spacing
        return {"image": image, "spacing": (rows, columns, depth)}

    def opened_index(self, index: Sequence[float] | np.ndarray) -> list[float]:
        """An index of the layer's array as one of the array that was opened."""
        one = [float(value) for value in index]
        return one if len(one) == 2 or self.placed else [*one[1:], one[0]]

    def restored(self, stored: np.ndarray) -> np.ndarray:
        """A mask of the array that was opened on the layer's array."""
        own = stored if len(self.shape) == 2 or self.placed else np.moveaxis(stored, 2, 0)
        return np.ascontiguousarray(own)


def world_to_ras(world: str) -> np.ndarray:
    """4 x 4, from a world of `WORLDS` to RAS.

    Examples:
        >>> (world_to_ras("SPL") @ [30, 20, 10, 1]).tolist()
        [-10.0, -20.0, 30.0, 1.0]
    """
    turn = np.zeros((4, 4))
    turn[3, 3] = 1
    for axis, letter in enumerate(world):
        target, sign = _LETTERS[letter]
        turn[target, axis] = sign
    return turn


def read_layer(layer: Any, world: str | None = None) -> LayerImage:
    """What is taken of a napari image layer.

    Args:
        layer: the layer; of one with several scales the finest.
        world: one of `WORLDS` or `AS_SHOWN`; None for what the layer's metadata say under `WORLD_KEY`, else `AS_SHOWN`.

    Raises:
        InputError: neither two nor three axes, too many voxels, or an unknown world.
    """
    data = layer.data[0] if getattr(layer, "multiscale", False) else layer.data
    rgb = bool(getattr(layer, "rgb", False))
    axes = len(data.shape) - rgb
    if axes not in (2, 3):
        raise InputError(
            f"layer {layer.name!r} has {axes} axes; give a picture or a volume: 'Split Stack' in the layer's menu "
            "makes layers of channels and times"
        )
    check_size(data.shape, layer.name)
    world = world or layer.metadata.get(WORLD_KEY, AS_SHOWN)
    if world != AS_SHOWN and world not in WORLDS:
        raise InputError(f"world axes must be {AS_SHOWN!r} or one of {', '.join(WORLDS)}, got {world!r}")
    matrix, scales = layer_matrix(layer), _lengths(layer, axes)
    matrix[:-1] *= np.array([scale or 1.0 for scale in scales])[:, None]
    known = all(scales) or not np.allclose(np.linalg.norm(matrix[:-1, :-1], axis=0), 1.0)
    return LayerImage(layer.name, np.asarray(data), rgb, matrix, known, world)


def layer_matrix(layer: Any) -> np.ndarray:
    """(n + 1, n + 1), index of a layer's n axes to its world, in the world's own unit."""
    axes = int(layer.ndim)
    origin = np.array(layer.data_to_world(np.zeros(axes)), dtype=float)
    matrix = np.eye(axes + 1)
    matrix[:-1, -1] = origin
    for axis, unit in enumerate(np.eye(axes)):
        matrix[:-1, axis] = np.array(layer.data_to_world(unit), dtype=float) - origin
    return matrix


def _lengths(layer: Any, axes: int) -> list[float | None]:
    """Millimetres of one unit along each world axis; None for pixels and what is no length."""
    units = getattr(layer, "units", None) or [""] * axes
    return [_MILLIMETRES.get(str(unit)) for unit in units]
