"""The kinds of files that the fuzzing damages, and who makes the small valid ones of each."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator

from tools.robustness.seeds.dicom import dicom_files, packed_dicom_files, series_files
from tools.robustness.seeds.pictures import jpeg_files, other_pictures, png_files, tiff_files
from tools.robustness.seeds.volumes import mha_files, nifti_files, nrrd_files

SEEDS: dict[str, Callable[[], Iterator[bytes]]] = {
    "nii": nifti_files,
    "nii.gz": lambda: (gzip.compress(data, mtime=0) for data in nifti_files()),
    "mha": mha_files,
    "nrrd": nrrd_files,
    "dcm": dicom_files,
    "packed.dcm": packed_dicom_files,
    "series": series_files,
    "png": png_files,
    "tiff": tiff_files,
    "jpg": jpeg_files,
    "bmp": other_pictures,
}
"""Makes the valid files of a kind; the kinds are the files' suffixes, and a series is a folder of them."""
SERIES = "series"
