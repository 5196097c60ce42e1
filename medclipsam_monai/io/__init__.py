"""Everything between files on disk and arrays in memory: finding, reading, writing, and the record beside each mask.

Each name is imported on first use: finding inputs needs no model code.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from medclipsam_monai.base.errors import InputWarning

if TYPE_CHECKING:
    from medclipsam_monai.io.dicom.files import LeftOut
    from medclipsam_monai.io.formats.table import FORMATS, supported_suffixes
    from medclipsam_monai.io.formats.volumes import detached_data
    from medclipsam_monai.io.geometry import DISPLAY_CODES, SLICE_AXES, SMALLEST_SIDE, Geometry, restore_geometry
    from medclipsam_monai.io.inputs.discovery import find_inputs, search_inputs
    from medclipsam_monai.io.inputs.sources import Found, ImageSource
    from medclipsam_monai.io.label_descriptions import write_label_descriptions
    from medclipsam_monai.io.readers import read_geometry, read_image
    from medclipsam_monai.io.records import (
        build_record,
        class_sizes,
        hash_files,
        hash_outputs,
        is_finished,
        request_key,
    )
    from medclipsam_monai.io.uneven_slices import EvenGrid, acquired_slices, drawn_evenly, even_grid
    from medclipsam_monai.io.writers import write_float_map, write_mask, write_picture

_MODULES = {
    "dicom.files": ("LeftOut",),
    "inputs.discovery": ("find_inputs", "search_inputs"),
    "inputs.sources": ("Found", "ImageSource"),
    "uneven_slices": ("EvenGrid", "acquired_slices", "drawn_evenly", "even_grid"),
    "geometry": ("DISPLAY_CODES", "SLICE_AXES", "SMALLEST_SIDE", "Geometry", "restore_geometry"),
    "label_descriptions": ("write_label_descriptions",),
    "readers": ("read_geometry", "read_image"),
    "records": ("build_record", "class_sizes", "hash_files", "hash_outputs", "is_finished", "request_key"),
    "formats.table": ("FORMATS", "supported_suffixes"),
    "formats.volumes": ("detached_data",),
    "writers": ("write_float_map", "write_mask", "write_picture"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "DISPLAY_CODES",
    "FORMATS",
    "SLICE_AXES",
    "SMALLEST_SIDE",
    "EvenGrid",
    "Found",
    "Geometry",
    "ImageSource",
    "InputWarning",
    "LeftOut",
    "acquired_slices",
    "build_record",
    "class_sizes",
    "detached_data",
    "drawn_evenly",
    "even_grid",
    "find_inputs",
    "hash_files",
    "hash_outputs",
    "is_finished",
    "read_geometry",
    "read_image",
    "request_key",
    "restore_geometry",
    "search_inputs",
    "supported_suffixes",
    "write_float_map",
    "write_label_descriptions",
    "write_mask",
    "write_picture",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value
