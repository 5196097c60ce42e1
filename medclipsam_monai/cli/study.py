"""`medclipsam study`: the command line of `run_study`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.cli import checks, options
from medclipsam_monai.presets import DEFAULT_PRESET, Preset, load_preset
from medclipsam_monai.study.conditions import COARSE, FEW_SHOT, RIVALS, SALIENCIES, TEXTS, VISUAL_PROMPTS

if TYPE_CHECKING:
    from medclipsam_monai.study.rivals.shots import Shots


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
    rival: Annotated[
        list[str] | None, typer.Option(help="Other methods beside: " + ", ".join((*RIVALS, *FEW_SHOT)))
    ] = None,
    prompts: Annotated[
        list[str] | None,
        typer.Option(help="TASK=a prompt set's name or file; without it the set named like the task."),
    ] = None,
    absent: Annotated[
        list[str] | None, typer.Option(help="TASK=TASK: images of the second do not show the first one's target.")
    ] = None,
    examples: Annotated[
        str | None,
        typer.Option(help=f"For {', '.join(FEW_SHOT)}: a folder of examples for each task, a CSV, or phantoms."),
    ] = None,
    shots: Annotated[int, typer.Option(min=1, max=16, help="How many examples of each task are shown.")] = 4,
    choose_by: Annotated[
        Path | None, typer.Option(help="Folder of a study of other images: the best way there, a task, is reported.")
    ] = None,
    paper: Annotated[
        bool, typer.Option(help="The papers' main table instead, with the weights that are here; one --text.")
    ] = False,
    preset: options.Preset = DEFAULT_PRESET,
    clip: options.Clip = None,
    sam: options.Sam = None,
    device: options.Device = "auto",
) -> None:
    """Compare ways to segment by text on images with masks: every combination, scored; run it again to go on."""
    from medclipsam_monai.study.conditions import Plan
    from medclipsam_monai.study.request import StudyRequest
    from medclipsam_monai.study.rivals.shots import Shots

    sets = _pairs("--prompts", "TASK=SET", prompts)
    shown = None if examples is None else Shots(examples, shots)
    if paper:
        varied = {"--saliency": saliency, "--coarse": coarse, "--visual-prompt": visual_prompt, "--rival": rival}
        _refuse_beside_paper({**varied, "--absent": absent, "--choose-by": choose_by})
        _paper(table, output, limit, task, sets, text, _own(preset, clip, sam), device, shown)
        return
    asked = {"saliencies": saliency, "coarse": coarse, "prompts": visual_prompt, "texts": text, "rivals": rival}
    request = StudyRequest(
        table,
        output,
        Plan(**{name: tuple(values) for name, values in asked.items() if values}),
        limit,
        tuple(task or ()),
        _pairs("--absent", "TASK=TASK", absent),
        sets,
        choose_by,
        shown,
    )
    checks.device(device)
    chosen = load_preset(preset)
    checks.weights(chosen.clip if clip is None else clip, chosen.sam if sam is None else sam)
    request.check()

    from medclipsam_monai.study.run import run_study
    from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter

    segmenter = TextSegmenter.from_preset(chosen, device, clip, sam)
    typer.echo(run_study(request, segmenter, progress=sys.stderr.isatty()))


def _refuse_beside_paper(given: Mapping[str, object]) -> None:
    """Refuse options that vary what the papers' table leaves as it is."""
    name = next((name for name, value in given.items() if value), None)
    if name is not None:
        raise InputError(f"--paper runs the papers' own methods; leave {name} out")


def _own(preset: str, clip: str | None, sam: str | None) -> Preset:
    """The preset as asked for, with other weights where they are named."""
    networks = {name: weights for name, weights in (("clip", clip), ("sam", sam)) if weights is not None}
    return load_preset(preset).with_settings(networks)


def _paper(
    table: str,
    output: Path,
    limit: int,
    tasks: list[str] | None,
    sets: Mapping[str, str],
    texts: list[str] | None,
    own: Preset,
    device: str,
    shown: Shots | None,
) -> None:
    """The papers' main table."""
    from medclipsam_monai.study.paper.request import PaperRequest

    if texts and len(texts) > 1:
        raise InputError(f"--paper takes one --text, got {', '.join(texts)}")
    request = PaperRequest(table, output, limit, tuple(tasks or ()), sets, texts[0] if texts else "P0", shown)
    checks.device(device)
    checks.weights(own.clip, own.sam)
    request.check()

    from medclipsam_monai.study.paper.run import run_paper

    typer.echo(run_paper(request, own, device, progress=sys.stderr.isatty()))


def _pairs(option: str, form: str, items: list[str] | None) -> dict[str, str]:
    """TASK=VALUE items of an option as a mapping."""
    wrong = next((item for item in items or [] if "=" not in item), None)
    if wrong is not None:
        raise InputError(f"{option} must be {form}, got {wrong!r}")
    return dict(item.split("=", 1) for item in items or [])
