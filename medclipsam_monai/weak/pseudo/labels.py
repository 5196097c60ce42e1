"""Zero-shot masks of a folder of images, to be learnt from: what `segment_files` writes, with the records read back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.json_files import read_object
from medclipsam_monai.base.windows import WindowLike
from medclipsam_monai.io import ImageSource, find_inputs
from medclipsam_monai.prompts import OppositesLike, TextLike
from medclipsam_monai.weak.folders import WorkFolders
from medclipsam_monai.zero_shot.batch import segment_files
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter

Notify = Callable[[str, str], None]


@dataclass(frozen=True)
class PseudoLabel:
    """An image with the mask that was made for it.

    Attributes:
        stem: name of the image's outputs, unique in a run.
        source: the image's file, or the folder of its DICOM series.
        mask: label map in the image's own geometry: 0 background, 1.. the classes in the texts' order.
        record: the mask's JSON record.
        files: the files of a DICOM series, whose folder may hold others; empty for one file.
        patient: whose image it is, where that is known.
    """

    stem: str
    source: Path
    mask: Path
    record: dict[str, Any]
    files: tuple[Path, ...] = ()
    patient: str | None = None

    @property
    def image(self) -> Path | ImageSource:
        """What `read_image` takes."""
        return ImageSource(self.files, "dicom", self.stem) if self.files else self.source


def write_pseudo_labels(
    segmenter: TextSegmenter,
    inputs: Sequence[str | Path],
    text: TextLike,
    folders: WorkFolders,
    opposites: OppositesLike | None = None,
    window: WindowLike | None = None,
    slice_axis: str = "acquired",
    overwrite: bool = False,
    notify: Notify = lambda kind, message: None,
) -> list[PseudoLabel]:
    """Segment images by text; what an earlier run finished is kept, what cannot be used is named and left out.

    Masks of another request that are still as they were written are replaced; what somebody else put there, or
    changed, is not: its image is named and left out.

    Args:
        segmenter: loaded networks.
        inputs: see `find_inputs`.
        text: see `parse_targets`.
        folders: of the run; masks go to ``pseudo_labels``.
        opposites: see `parse_targets`.
        window: see `DisplayRange`.
        slice_axis: "acquired", "axial", "coronal" or "sagittal".
        overwrite: do again what is done.
        notify: called with ("done" | "skipped" | "failed") and a line for each image.

    Returns:
        A label for each image that could be used, in the order of `find_inputs`.

    Raises:
        InputError: an input that finds nothing, a text that is none, no image that can be used.
    """
    sources = find_inputs(inputs)
    output = folders.pseudo_labels
    summary = segment_files(
        segmenter,
        inputs,
        text,
        output,
        opposites,
        window,
        slice_axis,
        overwrite=overwrite,
        replace_own=True,
        notify=notify,
    )
    failed = {label for label, _ in summary.failed}
    labels = [_label(source, output) for source in sources if source.label not in failed]
    if not labels:
        raise InputError(f"none of the {len(sources)} images can be used; the first: {summary.failed[0][1]}")
    return labels


def _label(source: ImageSource, output: Path) -> PseudoLabel:
    record = read_object(output / f"{source.stem}.json")
    series = len(source.paths) > 1
    return PseudoLabel(
        stem=source.stem,
        source=source.paths[0].parent if series else source.paths[0],
        mask=output / next(iter(record["outputs"])),
        record=record,
        files=source.paths if series else (),
    )
