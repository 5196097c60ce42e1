"""`ReadImage`: files, DICOM series and images in memory upright, as a MONAI transform that can be inverted."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform
from monai.utils import SpaceKeys, TraceKeys, TransformBackends
from torch import Tensor

from medclipsam_monai.io.geometry import Geometry
from medclipsam_monai.io.image_meta import DISPLAY_META, collatable_meta, has_columns_first, index_order
from medclipsam_monai.io.inputs.sources import ImageSource
from medclipsam_monai.io.memory import read_memory
from medclipsam_monai.io.readers import read_image


class ReadImage(InvertibleTransform):
    """Read a file or a DICOM series upright, see `read_image`; or an image that is in memory already.

    The result's meta data hold only what MONAI's data loaders can collate, and what `WriteMaskd` needs to write on the
    file's grid, see `collatable_meta`; those of an image in memory are kept beside them. The way from the file's grid
    to the upright one is in ``applied_operations``, so ``Invertd`` puts a prediction back, as ``SaveImaged``
    expects it.

    Args:
        slice_axis: how volumes are cut: "acquired", "axial", "coronal" or "sagittal".
    """

    backend = [TransformBackends.NUMPY]  # noqa: RUF012

    def __init__(self, slice_axis: str = "acquired") -> None:
        self.slice_axis = slice_axis

    def __call__(self, image: Any) -> MetaTensor:
        """A path, one of `find_inputs`, or what `read_memory` takes, to (C, H, W[, D]) float32.

        Hosts that read by themselves, such as MONAI Deploy, give an image in memory. It must be one that says how it
        lies; a plain array is a picture with its rows first.

        Raises:
            InputError: if the image cannot be read.
        """
        if isinstance(image, str | Path | ImageSource):
            read = read_image(image, self.slice_axis)
        else:
            read = read_memory(image, self.slice_axis)
        meta = collatable_meta(read, self.slice_axis)
        if isinstance(image, MetaTensor):
            meta = _with_own(meta, image)
        shown = MetaTensor(self.values(read), affine=read.affine, meta=meta)
        way = _way_to_display(read.meta["geometry"], has_columns_first(read))
        return self.push_transform(shown, orig_size=way["shape"], extra_info=way)

    def values(self, image: MetaTensor) -> Tensor:
        """What becomes of the numbers (C, H, W[, D]) of `read_image`; here nothing."""
        return image.as_tensor()

    def inverse(self, data: Tensor) -> MetaTensor:
        """An upright image or prediction (K, H, W[, D]) to the file's grid, the one that MONAI's ``LoadImage`` gives.

        Its axes are the file's in index order: x (columns) first for pictures, too. An image that was in memory goes
        back on its own axes. No voxel is interpolated.

        Raises:
            ValueError: nothing says how it was read, or its size is not that of the image as read.
        """
        operations = list(data.applied_operations) if isinstance(data, MetaTensor) else []
        places = [place for place, one in enumerate(operations) if one[TraceKeys.CLASS_NAME] == type(self).__name__]
        if not isinstance(data, MetaTensor) or not places:
            raise ValueError("only an image whose applied operations hold ReadImage can be put back on its file's grid")
        way = operations.pop(places[-1])[TraceKeys.EXTRA_INFO]
        meta = {key: value for key, value in data.meta.items() if key not in ("affine", *DISPLAY_META)}
        meta["original_channel_dim"] = math.nan  # as of LoadImage; SaveImage takes a volume for flat without it
        affine = torch.tensor(way["affine"], dtype=torch.float64)
        return MetaTensor(_on_file(data.as_tensor(), way), affine=affine, meta=meta, applied_operations=operations)


def _with_own(meta: dict[str, Any], image: MetaTensor) -> dict[str, Any]:
    """The meta data of an image as read, beside those that it came with; coordinates are RAS from now on."""
    own = {str(key): value for key, value in image.meta.items() if key != "affine"}
    return {**own, **({"space": SpaceKeys.RAS.value} if "space" in own else {}), **meta}


def _way_to_display(geometry: Geometry, columns_first: bool) -> dict[str, Any]:
    """How a file's array became the upright image, in plain numbers, with the axes of the file in index order."""
    affine = np.eye(4) if geometry.affine is None else geometry.affine
    axes = index_order(geometry.orientation[:2], columns_first) + geometry.orientation[2:]
    return {
        "shape": list(index_order(geometry.shape, columns_first)),
        "axes": [axis for axis, _ in axes],
        "flips": [flip for _, flip in axes],
        "affine": affine.tolist(),
    }


def _on_file(shown: Tensor, way: Mapping[str, Any]) -> Tensor:
    """An upright (K, H, W[, D]) on the file's array (K, *shape)."""
    turned = (shown if shown.ndim == 4 else shown[..., None]).permute(0, *(axis + 1 for axis in way["axes"]))
    flipped = turned.flip([place + 1 for place, flip in enumerate(way["flips"]) if flip < 0])
    if list(flipped.shape[1:]) != [*way["shape"], 1, 1][:3]:
        raise ValueError(f"the image must be as large as it was read, {way['shape']}, got {list(flipped.shape[1:])}")
    return flipped.reshape(len(shown), *way["shape"]).contiguous()


class ReadImaged(MapTransform, InvertibleTransform):
    """Dictionary-based wrapper of :py:class:`ReadImage`.

    Args:
        keys: keys of the paths or images, which become images.
        slice_axis: see `ReadImage`.
        allow_missing_keys: do not raise where a key is missing.
    """

    backend = ReadImage.backend

    def __init__(self, keys: KeysCollection, slice_axis: str = "acquired", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.read = ReadImage(slice_axis)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        return {**data, **{key: self.read(data[key]) for key in self.key_iterator(dict(data))}}

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Images and predictions back on their files' grids, see `ReadImage.inverse`."""
        return {**data, **{key: self.read.inverse(data[key]) for key in self.key_iterator(dict(data))}}


ReadImageD = ReadImageDict = ReadImaged
