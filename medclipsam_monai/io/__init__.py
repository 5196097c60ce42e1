"""Everything between files on disk and arrays in memory: finding, reading, writing, and the record beside each mask.

Each name is imported on first use: finding inputs needs no model code.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medclipsam_monai.io.dicom_series import LeftOut
    from medclipsam_monai.io.discovery import SUPPORTED_SUFFIXES, Found, ImageSource, find_inputs, search_inputs
    from medclipsam_monai.io.geometry import DISPLAY_CODES, SLICE_AXES, SMALLEST_SIDE, Geometry, restore_geometry
    from medclipsam_monai.io.guard import InputWarning
    from medclipsam_monai.io.readers import read_image
    from medclipsam_monai.io.records import build_record, class_sizes, hash_files, is_finished, request_key
    from medclipsam_monai.io.writers import PALETTE, write_float_map, write_json, write_mask, write_picture

_MODULES = {
    "dicom_series": ("LeftOut",),
    "discovery": ("SUPPORTED_SUFFIXES", "Found", "ImageSource", "find_inputs", "search_inputs"),
    "geometry": ("DISPLAY_CODES", "SLICE_AXES", "SMALLEST_SIDE", "Geometry", "restore_geometry"),
    "guard": ("InputWarning",),
    "readers": ("read_image",),
    "records": ("build_record", "class_sizes", "hash_files", "is_finished", "request_key"),
    "writers": ("PALETTE", "write_float_map", "write_json", "write_mask", "write_picture"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "DISPLAY_CODES",
    "PALETTE",
    "SLICE_AXES",
    "SMALLEST_SIDE",
    "SUPPORTED_SUFFIXES",
    "Found",
    "Geometry",
    "ImageSource",
    "InputWarning",
    "LeftOut",
    "build_record",
    "class_sizes",
    "find_inputs",
    "hash_files",
    "is_finished",
    "read_image",
    "request_key",
    "restore_geometry",
    "search_inputs",
    "write_float_map",
    "write_json",
    "write_mask",
    "write_picture",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value
