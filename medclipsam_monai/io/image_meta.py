"""What of a read image's meta data travels with it through MONAI: collated by loaders, pickled, cached, decollated.

Loaders collate numbers, texts, lists and tensors, no objects. So the `Geometry` and the `ImageSource` of an image are
texts in its meta data, and whoever needs them, such as a writer, has them without reading the file again.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.formats.table import PICTURE
from medclipsam_monai.io.geometry import Geometry
from medclipsam_monai.io.inputs.sources import ImageSource

T = TypeVar("T")
DISPLAY_META = ("geometry", "slice_axis", "spacing", "plane")
"""Keys that describe the upright image; they are no longer true on the file's own grid."""
_NIFTI = {1: nib.Nifti1Header, 2: nib.Nifti2Header}


def collatable_meta(image: MetaTensor, slice_axis: str) -> dict[str, Any]:
    """The meta data of an image of `read_image` in a form that passes through every loader, with MONAI's own keys.

    Besides the numbers and texts that are there, it has ``source`` and ``geometry`` (texts, see
    `geometry_and_source`), ``slice_axis``, ``spacing`` (a list, left out where unknown), and as MONAI's readers have
    them ``original_channel_dim``, ``spatial_shape`` (of the file's array, columns first), ``width`` and ``height`` of a
    picture, and ``original_affine`` of what has a place in space. ``SaveImaged`` uses the shape and the affine.
    """
    meta, geometry = image.meta, image.meta["geometry"]
    kept: dict[str, Any] = {key: value for key, value in meta.items() if isinstance(value, bool | int | float | str)}
    if isinstance(meta.get("source"), ImageSource):  # an image in memory is of no file
        kept["source"] = _source_to_text(meta["source"])
    kept |= {
        "geometry": _geometry_to_text(geometry),
        "slice_axis": slice_axis,
        "original_channel_dim": 0,
        "spatial_shape": list(index_order(geometry.shape, has_columns_first(image))),
    }
    if meta["spacing"] is not None:
        kept["spacing"] = list(meta["spacing"])
    if geometry.kind == "picture":
        kept["width"], kept["height"] = kept["spatial_shape"]
    if geometry.affine is not None:
        kept["original_affine"] = torch.from_numpy(geometry.affine.copy())
    return kept


def geometry_and_source(meta: Mapping[str, Any]) -> tuple[Geometry, ImageSource]:
    """What puts a mask back on the file of an image, and the file, from meta data of `collatable_meta`.

    Args:
        meta: of an image of `ReadImage`, which may have gone through a loader.

    Raises:
        InputError: the meta data are not of such an image, or it is of no file.
    """
    geometry = geometry_of(meta)
    if not isinstance(meta.get("source"), str):
        raise InputError("the image was in memory, so there is no file that says where its mask is to be written")
    return geometry, _source_from_text(meta["source"])


def geometry_of(meta: Mapping[str, Any]) -> Geometry:
    """What puts a mask back on an image's own grid, from meta data of `collatable_meta`.

    Raises:
        InputError: the meta data are not of such an image.
    """
    if not isinstance(meta.get("geometry"), str):
        raise InputError("the image must be one of ReadImage, whose meta data hold its geometry and source")
    return _geometry_from_text(meta["geometry"])


def has_columns_first(image: MetaTensor) -> bool:
    """Whether the axes of an image of `read_image` are reversed in MONAI's index order: those of a picture's file are.

    An array in memory has no order but its own.
    """
    return image.meta["geometry"].kind == PICTURE and "source" in image.meta


def index_order(axes: tuple[T, ...], columns_first: bool) -> tuple[T, ...]:
    """What an image's axes have, such as sizes, in MONAI's index order."""
    return axes[::-1] if columns_first else axes


def _source_to_text(source: ImageSource) -> str:
    return json.dumps([[str(path) for path in source.paths], source.kind, source.stem])


def _source_from_text(text: str) -> ImageSource:
    paths, kind, stem = json.loads(text)
    return ImageSource(tuple(map(Path, paths)), kind, stem)


def _geometry_to_text(geometry: Geometry) -> str:
    return json.dumps(
        {
            "kind": geometry.kind,
            "shape": geometry.shape,
            "orientation": geometry.orientation,
            "flat": geometry.flat,
            "affine": None if geometry.affine is None else geometry.affine.tolist(),
            "header": _header_to_plain(geometry.header),
            "slice_positions": geometry.slice_positions,
        }
    )


def _geometry_from_text(text: str) -> Geometry:
    stored = json.loads(text)
    positions = stored["slice_positions"]
    return Geometry(
        kind=stored["kind"],
        shape=tuple(stored["shape"]),
        orientation=tuple((axis, flip) for axis, flip in stored["orientation"]),
        flat=stored["flat"],
        affine=None if stored["affine"] is None else np.array(stored["affine"], dtype=float),
        header=_header_from_plain(stored["header"]),
        slice_positions=None if positions is None else tuple(positions),
    )


def _header_to_plain(header: Any) -> dict[str, Any] | None:
    """nibabel's header without its extensions, which no mask gets, or ITK's frame."""
    if not isinstance(header, nib.Nifti1Header):
        return None if header is None else {"frame": header}
    content = base64.b64encode(header.binaryblock).decode("ascii")
    version = 2 if isinstance(header, nib.Nifti2Header) else 1
    return {"nifti": version, "endianness": header.endianness, "content": content}


def _header_from_plain(header: dict[str, Any] | None) -> Any:
    if header is None:
        return None
    if "frame" in header:
        return {key: tuple(values) for key, values in header["frame"].items()}
    content = base64.b64decode(header["content"])
    return _NIFTI[header["nifti"]](content, endianness=header["endianness"], check=False)
