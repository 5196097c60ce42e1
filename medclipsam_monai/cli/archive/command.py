"""`medclipsam archive SOURCE --output DEST`: the command line of `archive_images`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.cli import checks, options
from medclipsam_monai.cli.segment import finish, note_demo, show
from medclipsam_monai.presets import DEFAULT_PRESET

if TYPE_CHECKING:
    from medclipsam_monai.archive.pipeline import Plan

_DEVICES = ("auto", "cpu", "cuda")


def archive(
    context: typer.Context,
    source: Annotated[
        str, typer.Argument(help="Folder, glob, or a CSV or Parquet table with a column path, perhaps name and text.")
    ],
    output: Annotated[
        str, typer.Option("--output", "-o", help="Folder for masks, records and the table, or s3:// and the like.")
    ],
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
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
    amp: options.Amp = None,
    always: options.Always = False,
    seed: options.Seed = None,
    format_: options.Format = None,
    dicom_seg: options.DicomSeg = False,
    save_saliency: options.SaveSaliency = False,
    save_probability: options.SaveProbability = False,
    overlay: options.Overlay = True,
    overwrite: options.Overwrite = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that hold the networks. (default: one a GPU, else 1)")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of each worker on CPUs. (default: the processors shared out)")
    ] = None,
    readers: Annotated[int, typer.Option(min=1, help="Processes that read, and as many that write.")] = 1,
    batch: options.Batch = 1,
    ray: Annotated[
        str | None, typer.Option(help="HOST:PORT of a Ray cluster. (default: a Ray of its own here)")
    ] = None,
    strict: options.Strict = False,
    max_voxels: options.MaxVoxels = None,
) -> None:
    """Segment an archive on many processors: masks and records as `segment` writes them, and a Parquet table.

    Errors are rows of the table. The same command goes on where it was cut off.
    """
    from medclipsam_monai.archive.sources import list_images
    from medclipsam_monai.archive.stores.address import open_store
    from medclipsam_monai.io.limits import largest_allowed

    said = bool(text) or prompts is not None or examples is not None  # else the rows of a table are to say it
    wanted = checks.targets(text, prompts, opposite, examples) if said else None
    checks.reading(window, slice_axis, max_voxels)
    checks.writing(format_, dicom_seg)
    checks.one_of("--device", device, _DEVICES)
    checks.positive("--batch", batch)
    checks.encoder(example_encoder, examples)
    chosen = checks.preset(preset, task, set_ or [], always, seed)
    checks.weights(chosen.clip if clip is None else clip, chosen.sam if sam is None else sam)
    from medclipsam_monai.archive.cluster import check_address, require_ray

    require_ray(ray is None)
    if ray is not None:
        check_address(ray)
    store = open_store(output)
    context.with_resource(largest_allowed(max_voxels))
    shown = checks.examples(examples)
    listed = list_images(source)
    checks.some_dicom(dicom_seg, [item.source for item in listed.items if item.source is not None])

    from medclipsam_monai.base.imports import import_monai_alone

    import_monai_alone()
    from medclipsam_monai.archive.run import Loader, Wish, archive_images
    from medclipsam_monai.io.examples import read_examples
    from medclipsam_monai.zero_shot.output_files import OutputFiles

    plan = _plan(device, workers, threads, readers, batch, ray)
    for name, reason in listed.left_out:
        show("left out", f"{name} ({reason})")
    files = OutputFiles(overlay, save_saliency, save_probability, format_, dicom_seg)
    protected = tuple(checks.files(prompts, preset) + shown)
    wish = Wish(wanted, opposite, window, slice_axis, files, overwrite, protected)
    read = None if examples is None else read_examples(examples, window)
    encoder = None if example_encoder is None else str(example_encoder)
    loader = Loader(chosen, clip, sam, plan.gpus if amp is None else amp, read, encoder)
    summary = archive_images(listed, loader, wish, store, plan, ray, _telling(chosen.clip if clip is None else clip))
    summary.left_out.extend(listed.left_out)
    finish(summary.line, store.shown, 2 if summary.failed or (strict and summary.left_out) else 0)


def _telling(clip: str) -> Callable[[str, str], None]:
    """`show`, and before its first line what the demo weights know; a run that is refused says nothing of them."""
    first = iter([clip])

    def tell(kind: str, line: str) -> None:
        for name in first:
            note_demo(name)
        show(kind, line)

    return tell


def _plan(device: str, workers: int | None, threads: int | None, readers: int, batch: int, ray: str | None) -> Plan:
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
