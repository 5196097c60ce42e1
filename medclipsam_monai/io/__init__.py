"""Everything between files on disk and arrays in memory: finding, reading, writing, and the record beside each mask."""

from __future__ import annotations

from medclipsam_monai.io.discovery import SUPPORTED_SUFFIXES, ImageSource, find_inputs
from medclipsam_monai.io.even_grid import EvenGrid, acquired_slices, even_grid
from medclipsam_monai.io.geometry import DISPLAY_CODES, SLICE_AXES, Geometry, restore_geometry
from medclipsam_monai.io.guard import InputWarning
from medclipsam_monai.io.label_descriptions import write_label_descriptions
from medclipsam_monai.io.readers import SMALLEST_SIDE, read_image
from medclipsam_monai.io.records import (
    build_record,
    class_sizes,
    hash_files,
    hash_outputs,
    is_finished,
    request_key,
)
from medclipsam_monai.io.volumes import detached_data
from medclipsam_monai.io.writers import (
    write_float_map,
    write_json,
    write_mask,
    write_picture,
)

__all__ = [
    "DISPLAY_CODES",
    "SLICE_AXES",
    "SMALLEST_SIDE",
    "SUPPORTED_SUFFIXES",
    "EvenGrid",
    "Geometry",
    "ImageSource",
    "InputWarning",
    "acquired_slices",
    "build_record",
    "class_sizes",
    "detached_data",
    "even_grid",
    "find_inputs",
    "hash_files",
    "hash_outputs",
    "is_finished",
    "read_image",
    "request_key",
    "restore_geometry",
    "write_float_map",
    "write_json",
    "write_label_descriptions",
    "write_mask",
    "write_picture",
]
