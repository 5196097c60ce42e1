"""`medclipsam study`: the command line of `run_study`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.cli import checks, options
from medclipsam_monai.presets import DEFAULT_PRESET, load_preset
from medclipsam_monai.study.conditions import COARSE, RIVALS, SALIENCIES, TEXTS, VISUAL_PROMPTS


def study(
    table: Annotated[str, typer.Argument(help="CSV with task, image, mask, target, perhaps finding; or phantoms.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for rows.csv, report.md and pictures.")],
    limit: Annotated[
        int, typer.Option(min=0, help="Images of each task, spread over the table; 0 for all (20 phantoms).")
    ] = 0,
    task: Annotated[list[str] | None, typer.Option(help="Only this task. Repeatable, as all down to --absent.")] = None,
    saliency: Annotated[list[str] | None, typer.Option(help=", ".join(SALIENCIES))] = None,
    coarse: Annotated[list[str] | None, typer.Option(help=", ".join(COARSE))] = None,
    visual_prompt: Annotated[list[str] | None, typer.Option(help=", ".join(VISUAL_PROMPTS))] = None,
    text: Annotated[list[str] | None, typer.Option(help=", ".join(TEXTS))] = None,
    rival: Annotated[list[str] | None, typer.Option(help="Other methods beside: " + ", ".join(RIVALS))] = None,
    prompts: Annotated[
        list[str] | None,
        typer.Option(help="TASK=a prompt set's name or file; without it the set named like the task."),
    ] = None,
    absent: Annotated[
        list[str] | None, typer.Option(help="TASK=TASK: images of the second do not show the first one's target.")
    ] = None,
    choose_by: Annotated[
        Path | None, typer.Option(help="Folder of a study of other images: the best way there, a task, is reported.")
    ] = None,
    preset: options.Preset = DEFAULT_PRESET,
    clip: options.Clip = None,
    sam: options.Sam = None,
    device: options.Device = "auto",
) -> None:
    """Compare ways to segment by text on images with masks: every combination, scored; run it again to go on."""
    from medclipsam_monai.study.conditions import Plan
    from medclipsam_monai.study.request import StudyRequest

    asked = {"saliencies": saliency, "coarse": coarse, "prompts": visual_prompt, "texts": text, "rivals": rival}
    request = StudyRequest(
        table,
        output,
        Plan(**{name: tuple(values) for name, values in asked.items() if values}),
        limit,
        tuple(task or ()),
        _pairs("--absent", "TASK=TASK", absent),
        _pairs("--prompts", "TASK=SET", prompts),
        choose_by,
    )
    checks.device(device)
    chosen = load_preset(preset)
    checks.weights(chosen.clip if clip is None else clip, chosen.sam if sam is None else sam)
    request.check()

    from medclipsam_monai.study.run import run_study
    from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter

    segmenter = TextSegmenter.from_preset(chosen, device, clip, sam)
    typer.echo(run_study(request, segmenter, progress=sys.stderr.isatty()))


def _pairs(option: str, form: str, items: list[str] | None) -> dict[str, str]:
    """TASK=VALUE items of an option as a mapping."""
    wrong = next((item for item in items or [] if "=" not in item), None)
    if wrong is not None:
        raise InputError(f"{option} must be {form}, got {wrong!r}")
    return dict(item.split("=", 1) for item in items or [])
