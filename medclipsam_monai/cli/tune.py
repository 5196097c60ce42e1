"""`medclipsam tune`: M2IB's gamma and layer for a kind of image, by a few labels or by none."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.cli import checks, options
from medclipsam_monai.presets import DEFAULT_PRESET, load_preset
from medclipsam_monai.presets.parameters import M2IBParameters


def tune(
    images: Annotated[list[str], typer.Argument(help="Pictures: files, folders or globs.")],
    text: Annotated[str, typer.Option("--text", "-t", help="What to look for in them.")],
    task: Annotated[str, typer.Option(help="Name for this kind of image, for --task later.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Preset file to write, or to add the task to.")],
    labels: Annotated[
        Path | None, typer.Option(help="Folder of masks of the same names; without it the choice needs no labels.")
    ] = None,
    preset: options.Preset = DEFAULT_PRESET,
    gamma: Annotated[str, typer.Option(help="Values to try, with commas.")] = "0.1,1,2",
    layer: Annotated[
        str | None,
        typer.Option(help="Blocks to try, from 0, with commas. (default: the preset's and the two before it)"),
    ] = None,
    limit: Annotated[int, typer.Option(help="Images at most, the first ones; 0 for all.")] = 20,
    clip: options.Clip = None,
    device: options.Device = "auto",
) -> None:
    """Choose M2IB's gamma and layer for a kind of image; the result is a preset with that task."""
    from medclipsam_monai.base.files import check_writable
    from medclipsam_monai.io.inputs.discovery import find_inputs
    from medclipsam_monai.prompts import parse_targets

    gammas, layers = _numbers("--gamma", gamma), None if layer is None else _numbers("--layer", layer)
    parse_targets(text)
    checks.device(device)
    start = load_preset(preset)
    own = start.settings.saliency.get("layer", M2IBParameters.layer)
    pairs = [(g, int(n)) for g in gammas for n in layers or range(max(own - 2, 0), own + 1)]
    for g, n in pairs:
        start.with_settings({"saliency.gamma": g, "saliency.layer": n})
    checks.weights(start.clip if clip is None else clip)
    checks.folder("--labels", labels)
    check_writable(output.parent)
    find_inputs(images)

    from medclipsam_monai.study.tuning import Candidate, tune_folder

    candidates = [Candidate(*pair) for pair in pairs]
    chosen = tune_folder(
        images,
        text,
        task,
        output,
        labels=labels,
        preset=start,
        base=preset,
        candidates=candidates,
        limit=limit,
        clip=clip,
        device=device,
        notify=lambda c, score: typer.echo(f"gamma {c.gamma:g}, layer {c.layer}: {score:.4f}"),
    )
    typer.echo(f"chosen: gamma {chosen.gamma:g}, layer {chosen.layer}; use --preset {output} --task {task}")


def _numbers(option: str, value: str) -> list[float]:
    try:
        numbers = [float(part) for part in value.split(",")]
    except ValueError:
        raise InputError(f"{option} must be numbers with commas between them, got {value!r}") from None
    if option == "--layer" and any(number != int(number) for number in numbers):
        raise InputError(f"--layer must be whole numbers, got {value!r}")
    return numbers
