"""`medclipsam archive SOURCE --output DEST`: the command line of `archive_images`."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.presets import DEFAULT_PRESET, load_preset

_DEVICES = ("auto", "cpu", "cuda")


def archive(
    source: Annotated[
        str, typer.Argument(help="Folder, glob, or a CSV or Parquet table with a column path, perhaps name and text.")
    ],
    output: Annotated[str, typer.Option("--output", "-o", help="Folder for masks, records and the table.")],
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
    preset: Annotated[str, typer.Option(help="Weights and parameters: a name or a JSON file.")] = DEFAULT_PRESET,
    task: Annotated[str | None, typer.Option(help="Parameters for one of the preset's tasks.")] = None,
    clip: Annotated[str | None, typer.Option(help="CLIP weights instead of the preset's.")] = None,
    sam: Annotated[str | None, typer.Option(help="SAM weights instead of the preset's.")] = None,
    window: Annotated[
        str | None, typer.Option(help="Grey levels: a CT window's name, 'CENTRE,WIDTH', percentile[:LOW,HIGH], full.")
    ] = None,
    slice_axis: Annotated[
        str, typer.Option(help="How volumes are cut: acquired, axial, coronal, sagittal, all.")
    ] = "acquired",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
    amp: Annotated[
        bool | None, typer.Option(help="Half precision in SAM, if the device has it. (default: only on cuda)")
    ] = None,
    overlay: Annotated[bool, typer.Option(help="Write a picture of each mask.")] = True,
    format_: Annotated[
        str | None, typer.Option("--format", help="nrrd: masks as .seg.nrrd. (default: the input's own kind)")
    ] = None,
    dicom_seg: Annotated[
        bool, typer.Option("--dicom-seg", help="Of DICOM images write a DICOM SEG too (the extra 'seg').")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that hold the networks. (default: one a GPU, else 1)")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of each worker on CPUs. (default: the processors shared out)")
    ] = None,
    readers: Annotated[int, typer.Option(min=1, help="Processes that read, and as many that write.")] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Pictures of one size that go through the networks together.")] = 1,
    ray: Annotated[
        str | None, typer.Option(help="HOST:PORT of a Ray cluster. (default: a Ray of its own here)")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit code 2 where files of a folder are left out that are no images.")
    ] = False,
) -> None:
    """Segment an archive on many processors: masks and records as `segment` writes them, and a Parquet table.

    Errors are rows of the table. The same command goes on where it was cut off.
    """
    from medclipsam_monai.archive.sources import list_images

    wanted = _wanted(text, prompts, opposite)
    _check(output, window, slice_axis, format_, device, ray)
    chosen = load_preset(preset).for_task(task)
    _check_weights(chosen.clip if clip is None else clip, chosen.sam if sam is None else sam)
    from medclipsam_monai.archive.cluster import check_address, require_ray

    require_ray(ray is None)
    if ray is not None:
        check_address(ray)
    listed = list_images(os.path.abspath(Path(source).expanduser()))

    from medclipsam_monai.base.imports import import_monai_alone

    import_monai_alone()
    from medclipsam_monai.archive.run import Loader, Wish, archive_images
    from medclipsam_monai.zero_shot.output_files import OutputFiles

    if dicom_seg:
        from medclipsam_monai.io.dicom_seg.algorithm import require_highdicom

        require_highdicom()
    plan = _plan(device, workers, threads, readers, batch, ray)
    for name, reason in listed.left_out:
        _notify("left out", f"{name} ({reason})")
    files = OutputFiles(overlay, format=format_, dicom_seg=dicom_seg)
    wish = Wish(wanted, opposite, window, slice_axis, files)
    loader = Loader(chosen, clip, sam, plan.gpus if amp is None else amp)
    summary = archive_images(listed, loader, wish, Path(output).expanduser(), plan, ray, _notify)
    summary.left_out.extend(listed.left_out)
    typer.echo(f"{summary.line}: {output}")
    raise typer.Exit(2 if summary.failed or (strict and summary.left_out) else 0)


def _notify(kind: str, message: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # who read the lines has had enough; the work goes on
        typer.echo(f"{kind:9}{message}", err=kind in ("failed", "warning"))


def _wanted(text: list[str] | None, prompts: str | None, opposites: list[str] | None) -> Any:
    """What to segment, None where the rows of a table are to say it.

    Raises:
        InputError: two texts, one that is none, a prompt set that is not there, or an opposite of no text.
    """
    from medclipsam_monai.prompts import parse_targets, read_prompts

    if text and prompts is not None:
        raise InputError("give what to segment as --text or as --prompts, not as both")
    wanted = text or (None if prompts is None else read_prompts(prompts))
    if wanted is not None:
        parse_targets(wanted, opposites)
    return wanted


def _check(output: str, window: str | None, slice_axis: str, format_: str | None, device: str, ray: str | None) -> None:
    """Refuse mistakes that need no image and no weights to be seen.

    Raises:
        InputError: with the first one.
    """
    from medclipsam_monai.base.windows import parse_window

    if "://" in output:
        raise InputError(f"--output must be a folder of this machine or one that is mounted on it, got {output}")
    if window is not None:
        parse_window(window)
    if slice_axis not in ("acquired", "axial", "coronal", "sagittal", "all"):
        raise InputError(f"--slice-axis must be acquired, axial, coronal, sagittal or all, got {slice_axis!r}")
    if format_ not in (None, "nrrd"):
        raise InputError(f"--format must be nrrd, got {format_!r}")
    if device not in _DEVICES:
        raise InputError(f"--device must be auto, cpu or cuda, got {device!r}")


def _check_weights(*names: str) -> None:
    from medclipsam_monai.weights.registry import resolve

    for name in names:
        resolve(name)


def _plan(device: str, workers: int | None, threads: int | None, readers: int, batch: int, ray: str | None) -> Any:
    """Who does what; on a cluster GPUs are taken where --device says so, here where there are some.

    Raises:
        InputError: a GPU is asked for and there is none here.
    """
    import torch

    from medclipsam_monai.archive.pipeline import Plan

    here = torch.cuda.device_count()
    if device == "cuda" and ray is None and not here:
        raise InputError("--device cuda: this machine has no GPU that torch can use; leave it out to work on the CPUs")
    gpus = device == "cuda" or (device == "auto" and here > 0)
    count = workers or (max(here, 1) if gpus else 1)
    if gpus and ray is None and count > here:
        raise InputError(f"--workers must be at most {here}, one a GPU, got {count}")
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Plan(count, threads or max(1, processors // count), readers, batch, gpus)
