"""Many files, one request: what ``medclipsam segment`` does."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medclipsam_monai.errors import InputError
from medclipsam_monai.io import ImageSource, find_inputs, hash_files, is_finished
from medclipsam_monai.text_segmenter import TextSegmenter

Notify = Callable[[str, str], None]


@dataclass
class Summary:
    """What became of a batch.

    Attributes:
        done: inputs segmented now.
        skipped: inputs that an earlier run had finished with the same request.
        failed: inputs that cannot be used, each with the reason.
    """

    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)


def segment_files(
    segmenter: TextSegmenter,
    inputs: Sequence[str | Path],
    text: Any,
    output: str | Path,
    opposites: Any = None,
    window: Any = None,
    slice_axis: str = "acquired",
    overlay: bool = True,
    save_saliency: bool = False,
    save_probability: bool = False,
    overwrite: bool = False,
    progress: bool = False,
    notify: Notify = lambda kind, message: None,
) -> Summary:
    """Segment files, folders and globs; what cannot be used is named and the rest goes on.

    Args:
        segmenter: loaded networks.
        inputs: see `find_inputs`.
        text: see `parse_targets`.
        output: folder for masks, pictures and records.
        opposites: see `parse_targets`.
        window: see `DisplayRange`.
        slice_axis: "acquired", "axial", "coronal" or "sagittal".
        overlay: write a picture of each mask.
        save_saliency: write the saliency maps.
        save_probability: write the probabilities.
        overwrite: do again what is done.
        progress: show a bar over the slices of a volume.
        notify: called with ("done" | "skipped" | "failed") and a line for each input.

    Raises:
        InputError: for a text that is none or an output folder that cannot be written, before anything is done.
    """
    outputs = {"overlay": overlay, "save_saliency": save_saliency, "save_probability": save_probability}
    request = segmenter.request(text, opposites, window, slice_axis, **outputs)
    _check_writable(Path(output))
    summary = Summary()
    for source in _usable(inputs, summary, notify):
        try:
            key = request.key(hash_files(source.paths))
            if not overwrite and is_finished(Path(output) / f"{source.stem}.json", key):
                summary.skipped.append(source.label)
                notify("skipped", source.label)
                continue
            segmentation = segmenter.answer(source, request, progress)
            segmentation.save(output, overlay, save_saliency, save_probability)
        except InputError as error:
            summary.failed.append((source.label, str(error)))
            notify("failed", str(error))
        except OSError as error:
            reason = f"{source.label}: {error.strerror or error}"
            summary.failed.append((source.label, reason))
            notify("failed", reason)
        else:
            summary.done.append(source.label)
            notify("done", f"{source.label} ({segmentation.seconds:.1f} s)")
    return summary


def _usable(inputs: Sequence[str | Path], summary: Summary, notify: Notify) -> list[ImageSource]:
    """The images behind the inputs; an input without any is noted and left out."""
    good = []
    for pattern in inputs:
        try:
            find_inputs([pattern])
            good.append(pattern)
        except InputError as error:
            summary.failed.append((str(pattern), str(error)))
            notify("failed", str(error))
    return find_inputs(good) if good else []


def _check_writable(folder: Path) -> None:
    """Make the output folder and a file in it, before hours of work end at its door."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"cannot write in the output folder {folder}: {error.strerror or error}") from error
