"""The one table of file formats: what each is called, its suffixes, and the module that reads and writes it.

A new format is a module with the functions of `FormatCode`, and a line in `FORMATS`. Modules are imported when a file
is read or written: finding inputs and checking a command need no reader.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    import numpy as np

    from medclipsam_monai.io.formats.stored import StoredGrid, StoredImage
    from medclipsam_monai.io.geometry import Geometry


class FormatCode(Protocol):
    """What the module of a format has."""

    def read(self, paths: Sequence[Path], name: str) -> StoredImage:
        """Reads an image, opening each of its files once.

        Args:
            paths: its file, or the files of its series.
            name: what to call it in messages.

        Raises:
            InputError: anything about the files; one line with their name.
        """

    def read_grid(self, paths: Sequence[Path], name: str) -> StoredGrid:
        """Where the voxels lie, without decoding them; raises what `read` raises for a header."""

    def write_mask(self, labels: np.ndarray, geometry: Geometry, path: Path) -> None:
        """Writes labels, uint8 or uint16, in the shape of the file's array.

        Raises:
            InputError: see `even_grid`.
            OSError: the file cannot be written.
        """

    def write_map(self, values: np.ndarray, geometry: Geometry, path: Path) -> None:
        """Writes float32 values in [0, 1] in the shape of the file's array; raises what `write_mask` raises."""


@dataclass(frozen=True)
class Format:
    """A file format.

    Attributes:
        suffixes: in lower case, the usual one first.
        mask_suffixes: of the masks and maps of its images; the first where its own module writes them, the others
            where a file states no position and another module does.
        module: the name of its `FormatCode`.
        series: several files may make one image, and a file may have no suffix.
        detached: voxels may lie in a file beside the header; the module has `detached_data`.
        slice_axis: the file's axis from slice to slice, where the format tells it.
    """

    suffixes: tuple[str, ...]
    mask_suffixes: tuple[str, ...]
    module: str
    series: bool = False
    detached: bool = False
    slice_axis: int | None = None

    @property
    def code(self) -> FormatCode:
        """The module, imported."""
        return cast(FormatCode, importlib.import_module(self.module))

    def detached_data(self, path: Path) -> Path | None:
        """The file beside a header that holds its voxels; None where they follow the header.

        Raises:
            InputError: a damaged header, or voxels in a file that is not beside it.
        """
        return importlib.import_module(self.module).detached_data(path) if self.detached else None


_HERE = "medclipsam_monai.io.formats"
PICTURE, NIFTI, ITK, DICOM = "picture", "nifti", "itk", "dicom"
FORMATS: dict[str, Format] = {
    PICTURE: Format((".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"), (".png",), f"{_HERE}.pictures"),
    NIFTI: Format((".nii", ".nii.gz"), (".nii.gz",), f"{_HERE}.nifti"),
    ITK: Format((".nrrd", ".mha", ".mhd", ".nhdr"), (".nrrd",), f"{_HERE}.volumes", detached=True),
    DICOM: Format((".dcm",), (".nii.gz", ".png"), f"{_HERE}.dicom", series=True, slice_axis=2),
}
"""The formats that are read, by name."""


def supported_suffixes() -> tuple[str, ...]:
    """The suffixes of all formats, in lower case."""
    return tuple(suffix for one in FORMATS.values() for suffix in one.suffixes)


def split_name(path: str | PurePath, more: Sequence[str] = ()) -> tuple[str, str]:
    """Stem of a file, and its suffix in lower case; only the suffixes of formats, and ``more``, count as such."""
    name = PurePath(path).name
    for suffix in sorted((*supported_suffixes(), *more), key=len, reverse=True):
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)], suffix
    return name, ""


def format_of_suffix(suffix: str) -> str:
    """The name of the format that a supported suffix belongs to."""
    return next(name for name, one in FORMATS.items() if suffix in one.suffixes)
