"""From the grid of an image in a MONAI pipeline to that of its file, shown upright.

`ReadImage` puts all that is needed in the meta data. Of an image of MONAI's ``LoadImage`` the file is read again. What
spatial transforms have done to either since, its affine tells: index to index, the two grids differ by one matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.data.utils import to_affine_nd
from nibabel.orientations import inv_ornt_aff
from torch import Tensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.formats.table import DICOM
from medclipsam_monai.io.geometry import Geometry
from medclipsam_monai.io.image_meta import geometry_and_source
from medclipsam_monai.io.inputs.sources import ImageSource
from medclipsam_monai.io.memory.meta_tensors import file_shape, is_upright, made_by_reader, to_file_index, to_world
from medclipsam_monai.io.readers import read_image
from medclipsam_monai.transforms import DisplayRange

_TIE = 1e-4  # of a voxel: a point this near to the middle of two voxels is taken for the middle
_UNKNOWN = (
    "the image must be one of ReadImaged or of MONAI's LoadImaged, with its meta data: "
    "they say from what file it is and how it lies"
)


@dataclass(frozen=True)
class FileGrid:
    """The file of an image, and where the image's voxels lie in it.

    Attributes:
        geometry: of the file.
        source: the file.
        sides: of the image, without channels.
        matrix: 4 x 4, index of the image to row, column and slice of the file shown upright.
        image: the image itself where it is the upright file, else the file as `read_image` gives it.
    """

    geometry: Geometry
    source: ImageSource
    sides: tuple[int, ...]
    matrix: np.ndarray
    image: MetaTensor

    def labels(self, labels: Tensor) -> Tensor:
        """A label map on the image's grid to one on the upright file's, by the nearest voxel; 0 outside of the image.

        Raises:
            InputError: it is not as large as the image.
        """
        if tuple(labels.shape) != self.sides:
            sizes = (" x ".join(map(str, sides)) for sides in (labels.shape, self.sides))
            raise InputError(f"{self.source.label}: a prediction of {' for an image of '.join(sizes)} voxels")
        shape = self.geometry.display_shape
        if self.sides == shape and np.allclose(self.matrix, np.eye(4), atol=_TIE):
            return labels
        on_file = _nearest(labels.numpy().reshape(*self.sides, *[1] * (3 - len(self.sides))), self.matrix, shape)
        return torch.from_numpy(on_file)

    def picture(self) -> tuple[Tensor, Any]:
        """The upright file (3, H, W[, D]) in [0, 1] to draw on, and its spacing."""
        shown = self.image if is_upright(self.image) else DisplayRange()(self.image)
        return torch.as_tensor(shown).cpu(), self.image.meta.get("spacing")


def find_file_grid(image: Any) -> FileGrid:
    """The file of an image of `ReadImage` or of MONAI's ``LoadImage``, also after spatial transforms.

    Raises:
        InputError: its meta data do not say how it lies or name no file that can be read; it is a batch, waits for lazy
            transforms, has other dimensions than its file, or the file is another one by now.
    """
    if not made_by_reader(image):
        raise InputError(_UNKNOWN)
    if image.ndim > 4:
        raise InputError(f"the image must be (C, H, W) or (C, H, W, D), got shape {tuple(image.shape)}")
    if image.is_batch or image.pending_operations:
        state = "a batch" if image.is_batch else "waiting for lazy transforms"
        raise InputError(f"the image is {state}; a mask is written for one image, transformed")
    return _of_read_image(image) if is_upright(image) else _of_load_image(image)


def _of_read_image(image: MetaTensor) -> FileGrid:
    geometry, source = geometry_and_source(image.meta)
    sides = tuple(image.shape[1:])
    matrix = np.linalg.inv(geometry.display_affine) @ _affine(image)
    unmoved = sides == geometry.display_shape and np.allclose(matrix, np.eye(4), atol=_TIE)
    shown = image if unmoved else read_image(source, str(image.meta["slice_axis"]))
    return FileGrid(geometry, source, sides, matrix, shown)


def _of_load_image(image: MetaTensor) -> FileGrid:
    name = image.meta.get("filename_or_obj")
    if not isinstance(name, str) or not name:
        raise InputError(_UNKNOWN)
    file = read_image(name)
    geometry, source = file.meta["geometry"], file.meta["source"]
    stored = file_shape(image)
    expected = geometry.shape if geometry.affine is not None else geometry.shape[::-1]
    if _without_ones(stored) != _without_ones(expected):
        raise InputError(f"{name}: is {expected} voxels, the image was read from a file of {stored}")
    sides = tuple(image.shape[-len(stored) :])
    if image.ndim not in (len(stored), len(stored) + 1):
        raise InputError(f"{name}: has {len(stored)} dimensions, the image has {image.ndim - 1} and a channel")
    if geometry.kind == DICOM:  # readers do not agree on the order of slices
        matrix = np.linalg.inv(geometry.display_affine) @ to_world(image)
    else:
        matrix = _index_to_display(geometry) @ to_file_index(image)
    return FileGrid(geometry, source, sides, matrix, file)


def _index_to_display(geometry: Geometry) -> np.ndarray:
    """4 x 4: a file's index, x (columns) first, to row, column and slice of the upright image."""
    to_array = np.eye(4)[[1, 0, 2, 3]] if geometry.affine is None else np.eye(4)
    turned = inv_ornt_aff(np.array(geometry.orientation), geometry.volume_shape)
    return np.asarray(np.linalg.inv(turned) @ to_array)


def _affine(image: MetaTensor) -> np.ndarray:
    return np.asarray(to_affine_nd(3, image.affine.detach().cpu().numpy().astype(float)))


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _nearest(labels: np.ndarray, matrix: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Labels (I, J, K) at the voxels of another grid, nearest voxel, a slab at a time; 0 in voxels that touch none.

    MONAI's ``Spacing`` cuts a rim that is thinner than a voxel, so a voxel whose middle is outside may still touch.

    Args:
        labels: the label map.
        matrix: 4 x 4, its index to the index of the other grid.
        shape: of the other grid, two or three sides.

    Raises:
        InputError: a matrix that cannot be inverted.
    """
    if abs(np.linalg.det(matrix[:3, :3])) < 1e-12:
        raise InputError("the image's affine is singular, so its mask cannot be put on the file's grid")
    back = np.linalg.inv(matrix)
    rows, columns, slices = (*shape, 1)[:3]
    plane = np.stack(np.meshgrid(np.arange(columns), np.arange(slices), indexing="ij"))
    within = np.tensordot(back[:3, 1:3], plane, axes=1) + back[:3, 3].reshape(3, 1, 1)
    half = np.abs(back[:3, :3]).sum(axis=1).reshape(3, 1, 1) / 2  # of a voxel of the other grid
    sides = np.reshape(labels.shape, (3, 1, 1))
    result = np.zeros((rows, columns, slices), labels.dtype)
    for row in range(rows):
        place = within + row * back[:3, 0].reshape(3, 1, 1)
        touches = ((place + half > _TIE - 0.5) & (place - half < sides - 0.5 - _TIE)).all(axis=0)
        index = np.floor(place + 0.5 + _TIE).astype(int).clip(0, sides - 1)
        result[row][touches] = labels[tuple(index[:, touches])]
    return result.reshape(shape)
