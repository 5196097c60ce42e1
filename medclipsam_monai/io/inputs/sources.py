"""What an image to segment is: its files, its kind, and the name of its outputs."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.dicom.files import LeftOut
from medclipsam_monai.io.dicom.series import common_folder
from medclipsam_monai.io.formats.table import FORMATS


@dataclass(frozen=True)
class ImageSource:
    """One image to segment.

    Attributes:
        paths: its file, or the files of its DICOM series in the order of their names.
        kind: name of its format, see `FORMATS`.
        stem: name for its outputs, unique among the sources found together.
    """

    paths: tuple[Path, ...]
    kind: str
    stem: str

    @property
    def files(self) -> tuple[Path, ...]:
        """All files whose bytes are the image's: ``paths``, and the file beside a header that holds its voxels.

        A header that is refused has no other file.
        """
        data = None
        with contextlib.suppress(InputError):
            data = FORMATS[self.kind].detached_data(self.paths[0])
        return self.paths if data is None else (*self.paths, data)

    @property
    def name(self) -> str:
        """Base name of the file, or of the series' folder: what a record may show."""
        return self.paths[0].name if len(self.paths) == 1 else common_folder(self.paths).resolve().name

    @property
    def label(self) -> str:
        """What to call the image in messages: its path, or the folder and size of its series."""
        if len(self.paths) == 1:
            return str(self.paths[0])
        return f"{common_folder(self.paths)} (series of {len(self.paths)} files, {self.stem})"


@dataclass(frozen=True)
class Found:
    """What some paths, folders and globs mean.

    Attributes:
        sources: the images, with unique stems.
        left_out: DICOM files that are no image to segment, each with what it is.
        failed: patterns that cannot be used, each with the reason in one line.
    """

    sources: tuple[ImageSource, ...]
    left_out: tuple[LeftOut, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
