"""What a browser sent: put into the visitor's own folder, unpacked, and told apart into images."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unicodedata import category

from medclipsam_monai.base.errors import InputError, InputWarning
from medclipsam_monai.base.files import size_text
from medclipsam_monai.base.quiet import collected
from medclipsam_monai.io import ImageSource
from medclipsam_monai.io.inputs.discovery import search_inputs
from medclipsam_monai.web.uploads.unpack import MOST_FILES, unpack_zip

TIMES_UNPACKED = 4
"""A zip file's content may take so many times the bytes of the largest upload."""
SEVERAL = "upload"
"""What files that are sent together are called, as a folder that is given to `medclipsam segment`."""
_LONGEST = 120
_NO_LETTERS = ("Cc", "Cf", "Cs", "Zl", "Zp")  # control, such as of the direction of what follows; half pairs; lines


@dataclass(frozen=True)
class Taken:
    """What was sent.

    Attributes:
        sources: its images.
        notes: lines on what was left out.
    """

    sources: tuple[ImageSource, ...]
    notes: tuple[str, ...] = ()


def take(files: Sequence[Path], folder: Path, most_bytes: int) -> Taken:
    """Take over files that were sent, and find the images in them.

    Args:
        files: as the server keeps them; they stay, as another visitor may have sent the same.
        folder: the visitor's, for this image alone; made if it is not there, and removed where nothing can be used.
        most_bytes: of all files together.

    Returns:
        The images: of a single file that one, of several files and of a zip file all that a folder of them holds.

    Raises:
        InputError: nothing was sent, too much, or nothing that is an image; the line holds no path of the server.
    """
    if not files:
        raise InputError("no file was sent; choose a picture, a volume, or the files of a series")
    if len(files) > MOST_FILES:
        raise InputError(f"{len(files):,} files were sent, at most {MOST_FILES:,} are taken")
    missing = [path for path in files if not path.is_file()]
    if missing:
        raise InputError("the upload did not arrive whole; choose the file again")
    total = sum(path.stat().st_size for path in files)
    if total > most_bytes:
        raise InputError(f"{size_text(total)} were sent; the limit is {size_text(most_bytes)} (--max-upload)")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with without_folder(folder), collected(InputWarning) as notes:
            found = search_inputs([_placed(files, folder, most_bytes)])
            if not found.sources:
                raise InputError(found.failed[0][1] if found.failed else "there is no image among these files")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    left_out = [f"{one.path.name} is left out: {one.reason}" for one in found.left_out]
    return Taken(found.sources, tuple(line.replace(f"{folder}{os.sep}", "") for line in (*notes, *left_out)))


def sent_examples(files: Sequence[str | Path], most_bytes: int) -> Callable[[Path], Path]:
    """What puts labelled examples that were sent into a folder, and says where in it they are; see `take`."""

    def put(folder: Path) -> Path:
        take([Path(file) for file in files], folder, most_bytes)
        (inside,) = folder.iterdir()
        while inside.is_dir() and [one.is_dir() for one in inside.iterdir()] == [True]:
            (inside,) = inside.iterdir()  # a zip file that holds one folder
        return inside

    return put


@contextmanager
def without_folder(folder: Path) -> Iterator[None]:
    """Lets no error of a user's say where the server keeps its files."""
    try:
        yield
    except InputError as error:
        line = str(error).replace(f"{folder}{os.sep}", "")
        raise InputError(line.replace(str(folder), "the upload")) from error


def safe_name(name: str) -> str:
    """The name of a visitor's file as that of a file and nothing else; most names stay as they are."""
    last = re.split(r"[/\\]", name)[-1]
    plain = "".join("_" if category(letter) in _NO_LETTERS else letter for letter in last).strip().lstrip(".")
    return plain[-_LONGEST:] or "file"


def _placed(files: Sequence[Path], folder: Path, most_bytes: int) -> Path:
    """Where the files are now: a single file, or the folder that holds what was sent."""
    if len(files) == 1:
        name = safe_name(files[0].name)
        if not _is_zip(files[0]):
            return _linked(files[0], folder / name)
        return _unpacked(files[0], folder, most_bytes)
    several = folder / SEVERAL
    for path in files:
        if _is_zip(path):
            _unpacked(path, several, most_bytes)
        else:
            _linked(path, _free(several / safe_name(path.name)))
    return several


def _unpacked(archive: Path, folder: Path, most_bytes: int) -> Path:
    """The folder with what is in a zip file, which is called as it."""
    target = folder / (Path(safe_name(archive.name)).stem or SEVERAL)
    target.mkdir(parents=True, exist_ok=True)
    unpack_zip(archive, target, TIMES_UNPACKED * most_bytes)
    return target


def _is_zip(path: Path) -> bool:
    return path.suffix.lower() == ".zip"


def _free(path: Path) -> Path:
    """A place of that name: files of one name from several folders get a folder each."""
    number = 1
    while path.exists():
        number += 1
        path = path.parent / str(number) / path.name if number == 2 else path.parent.parent / str(number) / path.name
    return path


def _linked(source: Path, target: Path) -> Path:
    """The same file under another name, copied where a file cannot have two."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
    return target
