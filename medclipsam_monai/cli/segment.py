"""`medclipsam segment`: the command line of `segment_files`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.cli import checks, options
from medclipsam_monai.presets import DEFAULT_PRESET, load_preset

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
    text: Annotated[
        list[str] | None,
        typer.Option("--text", "-t", help="What to segment: 'lungs', or 'NAME=a sentence'. Repeat for more classes."),
    ] = None,
    opposite: Annotated[
        list[str] | None,
        typer.Option(help="What is seen where the class is absent: 'no tumor', or 'NAME=no tumor'. May be repeated."),
    ] = None,
    prompts: Annotated[
        str | None, typer.Option(help="Instead of --text: a prompt set, as NAME[:LEVEL[:FINDING]], or a JSON file.")
    ] = None,
    examples: Annotated[
        Path | None,
        typer.Option(help="Segment what looks like this: a folder of 1 to 16 images with masks beside them."),
    ] = None,
    example_encoder: Annotated[
        Path | None, typer.Option(help="Compare with the examples by a DINOv2: a local folder of transformers.")
    ] = None,
    preset: options.Preset = DEFAULT_PRESET,
    task: Annotated[str | None, typer.Option(help="Parameters for one of the preset's tasks.")] = None,
    clip: options.Clip = None,
    sam: options.Sam = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Change a parameter of the preset: saliency.gamma=2. Repeatable.")
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(help="Grey levels: a CT window's name, 'CENTRE,WIDTH', percentile[:LOW,HIGH], full."),
    ] = None,
    slice_axis: Annotated[
        str, typer.Option(help="How volumes are cut: acquired, axial, coronal, sagittal, all.")
    ] = "acquired",
    device: options.Device = "auto",
    amp: Annotated[
        bool | None,
        typer.Option(help="Half precision in SAM, if the device has it. (default: only on cuda)"),
    ] = None,
    always: Annotated[
        bool, typer.Option("--always", help="A mask at any price, for who knows that the target is there.")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Seed of the noise and of the points.")] = None,
    format_: Annotated[
        str | None,
        typer.Option("--format", help="nrrd: masks as .seg.nrrd for 3D Slicer. (default: the input's own kind)"),
    ] = None,
    dicom_seg: Annotated[
        bool, typer.Option("--dicom-seg", help="Of DICOM images write a DICOM SEG too (the extra 'seg').")
    ] = False,
    save_saliency: Annotated[bool, typer.Option("--save-saliency", help="Write the saliency maps too.")] = False,
    save_probability: Annotated[bool, typer.Option("--save-probability", help="Write the probabilities too.")] = False,
    overlay: Annotated[bool, typer.Option(help="Write a picture of each mask.")] = True,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Do again what is done, and replace other files that are in the way.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit code 2 where files of a folder are left out that are no images.")
    ] = False,
    max_voxels: Annotated[int | None, typer.Option(help="Read images of up to so many voxels.")] = None,
    batch: Annotated[int, typer.Option(help="Pictures of one size that go through the networks together.")] = 1,
) -> None:
    """Segment images by text: masks in each input's own geometry, a picture and a JSON record beside each."""
    from medclipsam_monai.base.files import check_writable
    from medclipsam_monai.base.imports import import_monai_alone
    from medclipsam_monai.base.windows import parse_window
    from medclipsam_monai.io.dicom_seg.algorithm import require_highdicom
    from medclipsam_monai.io.inputs.discovery import search_inputs
    from medclipsam_monai.io.limits import largest_allowed

    wanted = checks.targets(text, prompts, opposite, examples)
    if example_encoder is not None and examples is None:
        raise InputError("--example-encoder compares with examples; give --examples, too")
    if window is not None:
        parse_window(window)
    checks.one_of("--slice-axis", slice_axis, (*checks.SLICE_AXES, "all"))
    checks.one_of("--format", format_, checks.FORMATS)
    checks.device(device)
    checks.positive("--max-voxels", max_voxels)
    checks.positive("--batch", batch)
    if dicom_seg:
        require_highdicom()
    settings = checks.settings(set_ or []) | ({"presence_threshold": 0.0} if always else {})
    chosen = load_preset(preset).for_task(task)
    seeds = {} if seed is None else chosen.with_settings(settings).settings.seeds(seed)
    chosen = chosen.with_settings({**seeds, **settings})
    checks.weights(chosen.clip if clip is None else clip, chosen.sam if sam is None else sam)
    context.with_resource(largest_allowed(max_voxels))
    shown = checks.examples(examples)
    found = search_inputs(images)
    if not found.sources:
        for label, reason in found.failed:
            _notify("failed", reason if label in reason else f"{label}: {reason}")
        _finish(f"0 done, 0 skipped, {len(found.failed)} failed", output, 2)
    if dicom_seg and all(source.kind != "dicom" for source in found.sources):
        from medclipsam_monai.io.dicom_seg.segmentation import not_dicom

        raise not_dicom(found.sources[0].label)
    check_writable(output)

    import_monai_alone()
    from medclipsam_monai.zero_shot.batch import segment_files
    from medclipsam_monai.zero_shot.output_files import OutputFiles
    from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter

    if (chosen.clip if clip is None else clip) == "demo/clip":
        _notify("note", _DEMO_NOTICE)
    with _status("loading weights"):
        segmenter = TextSegmenter.from_preset(chosen, device, clip, sam, amp=amp)
        if examples is not None:
            segmenter = segmenter.with_examples(examples, example_encoder, window)
    kept = [*(Path(file) for file in (prompts, preset) if file and Path(file).is_file()), *shown]
    images_in_all = len(found.sources) + len(found.failed)
    with progress_of(images_in_all, _notify) as notify:
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
    _finish(summary.line, output, 2 if summary.failed or (strict and summary.left_out) else 0)


def _finish(counts: str, output: Path, code: int) -> None:
    typer.echo(f"{counts}: {output}")
    raise typer.Exit(code)


def _status(message: str) -> Any:
    """A spinner where someone watches, nothing in a log."""
    from rich.console import Console

    return Console(stderr=True, quiet=not sys.stderr.isatty()).status(message)


def _notify(kind: str, message: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # who read the lines has had enough; the work goes on
        typer.echo(f"{kind:9}{message}", err=kind in ("failed", "warning"))


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
