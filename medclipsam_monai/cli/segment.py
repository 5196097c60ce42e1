"""`medclipsam segment`: the command line of `segment_files`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from medclipsam_monai.base.errors import printable
from medclipsam_monai.cli import checks, options
from medclipsam_monai.presets import DEFAULT_PRESET

_Notify = Callable[[str, str], None]
_ENDS = ("done", "skipped", "failed")  # once for each image, see `segment_files`
_DEMO_NOTICE = (
    "the demo weights know procedural phantoms only: what they find in real images means nothing (other weights: "
    "medclipsam presets, medclipsam weights list)"
)


def segment(
    context: typer.Context,
    images: Annotated[list[str], typer.Argument(help="Files, folders or globs: PNG, JPG, TIFF, NIfTI, NRRD, DICOM.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for masks, pictures and records.")],
    text: options.Text = None,
    opposite: options.Opposite = None,
    prompts: options.Prompts = None,
    examples: options.Examples = None,
    example_encoder: options.ExampleEncoder = None,
    preset: options.Preset = DEFAULT_PRESET,
    task: options.Task = None,
    clip: options.Clip = None,
    sam: options.Sam = None,
    set_: options.Changes = None,
    window: options.Window = None,
    slice_axis: options.SliceAxis = "acquired",
    device: options.Device = "auto",
    amp: options.Amp = None,
    always: options.Always = False,
    seed: options.Seed = None,
    format_: options.Format = None,
    dicom_seg: options.DicomSeg = False,
    save_saliency: options.SaveSaliency = False,
    save_probability: options.SaveProbability = False,
    overlay: options.Overlay = True,
    overwrite: options.Overwrite = False,
    strict: options.Strict = False,
    max_voxels: options.MaxVoxels = None,
    batch: options.Batch = 1,
) -> None:
    """Segment images by text: masks in each input's own geometry, a picture and a JSON record beside each."""
    from medclipsam_monai.base.files import check_writable
    from medclipsam_monai.base.imports import import_monai_alone
    from medclipsam_monai.io.inputs.discovery import search_inputs
    from medclipsam_monai.io.limits import largest_allowed

    wanted = checks.targets(text, prompts, opposite, examples)
    checks.reading(window, slice_axis, max_voxels)
    checks.writing(format_, dicom_seg)
    checks.device(device)
    checks.positive("--batch", batch)
    checks.encoder(example_encoder, examples)
    chosen = checks.preset(preset, task, set_ or [], always, seed)
    checks.weights(chosen.clip if clip is None else clip, chosen.sam if sam is None else sam)
    context.with_resource(largest_allowed(max_voxels))
    shown = checks.examples(examples)
    found = search_inputs(images)
    if not found.sources:
        for label, reason in found.failed:
            show("failed", reason if label in reason else f"{label}: {reason}")
        finish(f"0 done, 0 skipped, {len(found.failed)} failed", output, 2)
    checks.some_dicom(dicom_seg, found.sources)
    check_writable(output)

    import_monai_alone()
    from medclipsam_monai.zero_shot.batch import segment_files
    from medclipsam_monai.zero_shot.output_files import OutputFiles
    from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter

    note_demo(chosen.clip if clip is None else clip)
    with _status("loading weights"):
        segmenter = TextSegmenter.from_preset(chosen, device, clip, sam, amp=amp)
        if examples is not None:
            segmenter = segmenter.with_examples(examples, example_encoder, window)
    kept = [*checks.files(prompts, preset), *shown]
    images_in_all = len(found.sources) + len(found.failed)
    with progress_of(images_in_all, show) as notify:
        summary = segment_files(
            segmenter,
            found,
            wanted,
            output,
            opposites=opposite,
            window=window,
            slice_axis=slice_axis,
            files=OutputFiles(overlay, save_saliency, save_probability, format_, dicom_seg),
            overwrite=overwrite,
            protected=kept,
            progress=sys.stderr.isatty() and images_in_all == 1,
            debug=bool(context.obj),
            notify=notify,
            batch=batch,
        )
    finish(summary.line, output, 2 if summary.failed or (strict and summary.left_out) else 0)


def finish(counts: str, output: Path | str, code: int) -> NoReturn:
    """Print the last line, and end with a code."""
    with contextlib.suppress(BrokenPipeError):
        typer.echo(printable(f"{counts}: {output}"))
    raise typer.Exit(code)


def _status(message: str) -> Any:
    """A spinner where someone watches, nothing in a log."""
    from rich.console import Console

    return Console(stderr=True, quiet=not sys.stderr.isatty()).status(message)


def note_demo(clip: str) -> None:
    """Say of the demo weights what they know."""
    if clip == "demo/clip":
        show("note", _DEMO_NOTICE)


def show(kind: str, message: str) -> None:
    """Print a line of a kind, see `segment_files`."""
    with contextlib.suppress(BrokenPipeError):  # who read the lines has had enough; the work goes on
        typer.echo(f"{kind:9}{printable(message)}", err=kind in ("failed", "warning"))


@contextlib.contextmanager
def progress_of(images: int, notify: _Notify) -> Iterator[_Notify]:
    """What notifies of images, with a bar below its lines where there are several images and someone watches.

    Args:
        images: how many there are.
        notify: prints a line of a kind, see `segment_files`.
    """
    if images < 2 or not sys.stderr.isatty():
        yield notify
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
    out = sys.stdout.isatty()  # lines that go to a file or a pipe stay what they are
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=out) as bar:
        task = bar.add_task("", total=images, rate="")

        def counting(kind: str, message: str) -> None:
            notify(kind, message)
            if kind in _ENDS:
                bar.advance(task)
                speed = bar.tasks[0].speed
                bar.update(task, rate="" if speed is None else f"{speed:.2g} images/s, left")

        yield counting
