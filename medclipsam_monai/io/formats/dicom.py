"""DICOM as a format: read by `medclipsam_monai.io.dicom`; masks are NIfTI, or PNG where no position is stated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medclipsam_monai.io.dicom.reader import read_dicom, read_dicom_grid
from medclipsam_monai.io.formats.nifti_writer import write_nifti
from medclipsam_monai.io.formats.stored import StoredGrid, StoredImage
from medclipsam_monai.io.guard import one_line, only_our_warnings

write_mask = write_map = write_nifti


def read(paths: Sequence[Path], name: str) -> StoredImage:
    """See `read_dicom`."""
    with one_line(name, "DICOM"), only_our_warnings():  # headers hold whatever their writers put there
        return read_dicom(paths, name)


def read_grid(paths: Sequence[Path], name: str) -> StoredGrid:
    """See `read_dicom_grid`."""
    with one_line(name, "DICOM"), only_our_warnings():
        return read_dicom_grid(paths, name)
