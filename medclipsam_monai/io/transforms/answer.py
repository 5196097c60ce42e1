"""`AnswerOnFiled`: the last step for hosts that write the answer themselves, MONAI Label and MONAI Deploy."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import TransformBackends

from medclipsam_monai.io.geometry import Geometry
from medclipsam_monai.io.image_meta import geometry_of
from medclipsam_monai.io.uneven_slices import even_grid

RESULT_EXTENSION = "result_extension"
"""Where MONAI Label's writer looks for the suffix of its file; a request may set it."""


class AnswerOnFiled(MapTransform):
    """Give a label map (1, *grid), which ``Invertd`` has put on its file's grid, the shape that hosts write.

    - A volume stays (1, X, Y, Z), and an image of the plane that has a place in space gets its third axis. Slices that
      are not evenly apart are laid on an even grid, see `even_grid`, which the image's meta data then describe.
    - A picture of a file becomes (X, Y), columns first: MONAI Label's writer takes three axes for a volume.
    - An image that was in memory keeps its channel, which MONAI Deploy's operator takes away itself.

    MONAI Label names its file like the image. Not every image format holds a label map (a JPEG changes its numbers), so
    ``data["result_extension"]`` becomes the suffix that our own masks have, unless the request names one.

    Args:
        keys: keys of the label maps.
        image_key: key of the image, read by `ReadImaged`.
        allow_missing_keys: do not raise where a key is missing.
    """

    backend = [TransformBackends.TORCH]  # noqa: RUF012

    def __init__(self, keys: KeysCollection, image_key: str = "image", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.image_key = image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """
        Raises:
            ValueError: the image is none of `ReadImaged`.
        """
        d = dict(data)
        for key in self.key_iterator(d):
            image = data[self.image_key]
            geometry = geometry_of(image.meta)
            if "source" in image.meta:
                d[key], d[self.image_key] = _of_file(d[key], image, geometry)
                d[RESULT_EXTENSION] = d.get(RESULT_EXTENSION) or geometry.suffix
        return d


def _of_file(labels: Any, image: MetaTensor, geometry: Geometry) -> tuple[Any, MetaTensor]:
    """The label map in the shape of the file's writer, and the image with what the writer looks up in it."""
    if geometry.affine is None:
        return labels[0], image
    grid = even_grid(geometry)
    if len(geometry.shape) == 3 and grid is None:
        return labels, image
    laid = labels.reshape(1, *geometry.volume_shape)
    affine = geometry.affine
    if grid is not None:
        laid, affine = laid[..., list(grid.source)], grid.affine(affine)
    meta = {**image.meta, "spatial_shape": list(laid.shape[1:]), "original_affine": torch.from_numpy(affine.copy())}
    return laid, MetaTensor(image.as_tensor(), meta=meta, applied_operations=image.applied_operations)


AnswerOnFileD = AnswerOnFileDict = AnswerOnFiled
