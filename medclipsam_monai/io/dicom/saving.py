"""DICOM files written by pydicom 2 and 3, which ask for the same thing in two ways."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from pydicom.dataset import Dataset


def save_dicom(dataset: Dataset, file: str | Path | BinaryIO) -> None:
    """Write a DICOM file with preamble and whole file meta information, in the transfer syntax that these state.

    Args:
        dataset: with ``file_meta``, which has a TransferSyntaxUID.
        file: path, or an open file.

    Raises:
        OSError: the file cannot be written.
    """
    if hasattr(dataset, "pixel_array_options"):
        dataset.save_as(file, enforce_file_format=True)
        return
    syntax = dataset.file_meta.TransferSyntaxUID  # pydicom 2, which MONAI Label needs
    dataset.is_little_endian, dataset.is_implicit_VR = syntax.is_little_endian, syntax.is_implicit_VR
    dataset.save_as(file, write_like_original=False)
