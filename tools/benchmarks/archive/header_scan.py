"""Seconds that `segment` and `archive` take to find the images of a folder of DICOM series by their headers.

    python -m tools.benchmarks.archive.header_scan                  # 20,000 files in 200 series
    python -m tools.benchmarks.archive.header_scan --series 20

The files are slices of 512 x 512 pixels of a phantom CT, each with identifiers of its own, half of them without a
suffix, two series to a study. Their pixels are holes that take no room on the disk. The files were just written, so
the system has the headers in memory: a cold disk or a network adds its own time for each file.
"""

from __future__ import annotations

import json
import tempfile
import time
import uuid
from io import BytesIO
from pathlib import Path
from typing import Annotated

import pydicom
import typer

from medclipsam_monai.io.dicom.saving import save_dicom
from medclipsam_monai.io.inputs.discovery import search_inputs
from medclipsam_monai.phantoms.dicom import write_phantom_volume

_SIDE = 512
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


def write_archive(folder: Path, series: int, slices: int) -> int:
    """Series of CT slices, each in a folder of its own; the number of files."""
    with tempfile.TemporaryDirectory() as place:
        sources = write_phantom_volume(place, "CT", slices=slices).files
        templates = [_template(path) for path in sources]
    for number in range(series):
        below = folder / f"study{number // 2:05}" / f"series{number:05}"
        below.mkdir(parents=True)
        for place_, (content, uids, size) in enumerate(templates):
            for uid, name in zip(uids, _UIDS, strict=True):
                key = {"StudyInstanceUID": number // 2, "SeriesInstanceUID": number}.get(name, (number, place_))
                content = content.replace(uid, _other(uid, f"{name} {key}"))
            suffix = ".dcm" if number % 2 else ""
            with (below / f"IM{place_:05}{suffix}").open("wb") as file:
                file.write(content)
                file.truncate(size)
    return series * slices


def _template(path: Path) -> tuple[bytes, list[bytes], int]:
    """A file up to its pixels, its identifiers as they stand there, and how long the whole file is."""
    header = pydicom.dcmread(path)
    header.Rows = header.Columns = _SIDE
    header.PixelData = b"\7" * (2 * _SIDE * _SIDE)
    buffer = BytesIO()
    save_dicom(header, buffer)
    content = buffer.getvalue()
    return content[: -len(header.PixelData)], [str(header[name].value).encode() for name in _UIDS], len(content)


def _other(uid: bytes, key: str) -> bytes:
    """Another identifier of the same length."""
    digits = str(uuid.uuid5(uuid.NAMESPACE_OID, key).int)
    prefix = b"2.25.1"
    return prefix + (digits * 2)[: len(uid) - len(prefix)].encode()


def main(
    series: Annotated[int, typer.Option(min=1, help="How many.")] = 200,
    slices: Annotated[int, typer.Option(min=1, help="Files of a series.")] = 100,
) -> None:
    """Write the files, find the images twice, and print one line of JSON."""
    with tempfile.TemporaryDirectory(prefix="medclipsam-") as name:
        folder = Path(name)
        count = write_archive(folder, series, slices)
        told: dict[str, float] = {"files": count}
        for turn in ("first", "second"):
            wall, own = time.perf_counter(), time.process_time()
            found = search_inputs([folder])
            told[f"{turn}_seconds"] = round(time.perf_counter() - wall, 2)
            told[f"{turn}_processor_seconds"] = round(time.process_time() - own, 2)
        told["images"] = len(found.sources)
    typer.echo(json.dumps(told))


if __name__ == "__main__":
    typer.run(main)
