"""The command line. Thin: every command calls one public function; model code is imported when a command runs."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from medclipsam_monai.cli_prompts import prompts_app
from medclipsam_monai.cli_tune import tune
from medclipsam_monai.cli_weights import weights_app
from medclipsam_monai.errors import InputError
from medclipsam_monai.version import __version__

app = typer.Typer(
    name="medclipsam",
    help="Segment medical images by describing what to segment. For research, not for diagnosis.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(weights_app, name="weights")
app.add_typer(prompts_app, name="prompts")
app.command()(tune)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def segment(
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
    preset: Annotated[str, typer.Option(help="Weights and parameters: a name or a JSON file.")] = "demo",
    task: Annotated[str | None, typer.Option(help="Parameters for one of the preset's tasks.")] = None,
    clip: Annotated[str | None, typer.Option(help="CLIP weights instead of the preset's.")] = None,
    sam: Annotated[str | None, typer.Option(help="SAM weights instead of the preset's.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Change a parameter of the preset: saliency.gamma=2. Repeatable.")
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(help="Grey levels: a CT window's name, 'CENTRE,WIDTH', percentile[:LOW,HIGH], full."),
    ] = None,
    slice_axis: Annotated[str, typer.Option(help="How volumes are cut: axial, coronal or sagittal.")] = "axial",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    amp: Annotated[
        bool | None,
        typer.Option(help="Half precision in SAM, if the device has it. [default: only on cuda]"),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the noise and of the points.")] = None,
    save_saliency: Annotated[bool, typer.Option("--save-saliency", help="Write the saliency maps too.")] = False,
    save_probability: Annotated[bool, typer.Option("--save-probability", help="Write the probabilities too.")] = False,
    overlay: Annotated[bool, typer.Option(help="Write a picture of each mask.")] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Do again what is done.")] = False,
) -> None:
    """Segment images by text: masks in each input's own geometry, a picture and a JSON record beside each."""
    from medclipsam_monai.batch import segment_files
    from medclipsam_monai.presets import load_preset
    from medclipsam_monai.text_segmenter import TextSegmenter
    from medclipsam_monai.transforms import parse_window

    if window is not None:
        parse_window(window)
    if slice_axis not in ("axial", "coronal", "sagittal"):
        raise InputError(f"--slice-axis must be axial, coronal or sagittal, got {slice_axis!r}")
    wanted = _wanted(text, prompts)
    settings = _settings(set_ or [])
    with _status("loading weights"):
        chosen = load_preset(preset).for_task(task).with_settings(settings)
        seeds = {} if seed is None else chosen.seed_settings(seed)
        segmenter = TextSegmenter.from_preset(chosen, device, clip, sam, {**seeds, **settings}, amp)
    summary = segment_files(
        segmenter,
        images,
        wanted,
        output,
        opposites=opposite,
        window=window,
        slice_axis=slice_axis,
        overlay=overlay,
        save_saliency=save_saliency,
        save_probability=save_probability,
        overwrite=overwrite,
        progress=sys.stderr.isatty(),
        notify=_notify,
    )
    typer.echo(f"{len(summary.done)} done, {len(summary.skipped)} skipped, {len(summary.failed)} failed: {output}")
    if summary.failed:
        raise typer.Exit(2)


@app.command()
def presets() -> None:
    """List the presets that --preset takes, and the tasks that --task takes with each."""
    from medclipsam_monai.presets import load_preset, preset_names

    for name in preset_names():
        preset = load_preset(name)
        typer.echo(f"{name:24} {preset.description}")
        for task, settings in preset.tasks.items():
            typer.echo(f"  --task {task:22} {settings.get('description', '')}".rstrip())


@app.command("label-app")
def label_app(
    folder: Annotated[Path, typer.Argument(help="Where to write it; an app that is there keeps its models.")],
) -> None:
    """Write a MONAI Label app: annotate by text in 3D Slicer or OHIF, correct, and retrain."""
    from medclipsam_monai.label.app_folder import write_app_folder

    written = write_app_folder(folder)
    typer.echo(f"start it with: python -m monailabel.main start_server --app {written} --studies IMAGES -i 127.0.0.1")


def _wanted(text: list[str] | None, prompts: str | None) -> Any:
    from medclipsam_monai.prompts import read_prompts

    if (prompts is None) == (not text):
        raise InputError("give what to segment as --text or as --prompts, one of the two")
    return text if prompts is None else read_prompts(prompts)


def _settings(items: list[str]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for item in items:
        key, separator, value = item.partition("=")
        if not separator:
            raise InputError(f"--set {item!r} has no value; write it as saliency.gamma=2")
        try:
            settings[key] = json.loads(value)
        except (ValueError, RecursionError):
            settings[key] = value
    return settings


def _status(message: str) -> Any:
    """A spinner where someone watches, nothing in a log."""
    from rich.console import Console

    return Console(stderr=True, quiet=not sys.stderr.isatty()).status(message)


def _notify(kind: str, message: str) -> None:
    typer.echo(f"{kind:8}{message}", err=kind == "failed")


def main() -> None:
    """Entry point: one clear line and exit code 2 where the user's input is at fault."""
    warnings.simplefilter("ignore", FutureWarning)  # what libraries tell their developers
    try:
        app()
    except InputError as error:
        typer.echo(f"medclipsam: {' '.join(str(error).split())}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("medclipsam: interrupted; run it again to go on", err=True)
        sys.exit(130)
