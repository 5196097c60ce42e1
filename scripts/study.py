"""Compare ways to segment by text on a table of images and masks: every combination, scored, as tables and pictures.

    python scripts/study.py phantoms --output study --limit 20
    python scripts/study.py data/segmentation.csv --output study --text P0 --text wordings --text ensembles

The table has the columns task, image, mask (paths beside it) and target, perhaps finding; each task is also the name
of the prompt set that speaks of it, unless --prompts TASK=SET says otherwise. Run the same command again after a
stop: what is done is kept. The folder gets rows.csv (one line an image and combination), report.md, and for each task
a strip with the best, median and worst case of its best combination, truth above and result below.
"""

from __future__ import annotations

import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track

from medclipsam_monai import TextSegmenter
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import write_text
from medclipsam_monai.io import write_picture
from medclipsam_monai.study.cases import Case, borrow_absent, draw_phantom_table, read_cases
from medclipsam_monai.study.conditions import COARSE, SALIENCIES, TEXTS, VISUAL_PROMPTS, Plan
from medclipsam_monai.study.report import report, strip, telling_rows
from medclipsam_monai.study.runner import Row, StudyRunner
from medclipsam_monai.study.table import StudyTable, as_csv, read_rows


def _pairs(option: str, items: list[str] | None) -> dict[str, str]:
    """TASK=VALUE items of an option as a mapping."""
    wrong = next((item for item in items or [] if "=" not in item), None)
    if wrong is not None:
        raise InputError(f"{option.split()[0]} must be {option.split()[1]}, got {wrong!r}")
    return dict(item.split("=", 1) for item in items or [])


def _pictures(runner: StudyRunner, rows: list[Row], cases: list[Case], output: Path) -> None:
    """Write each task's strip."""
    by_name = {(case.task, case.name): case for case in cases}
    for task, chosen in telling_rows(rows).items():
        picture = strip(
            chosen, lambda r: runner.masks(by_name[r.task, r.image], r.saliency, r.coarse, r.prompt, r.text)
        )
        write_picture(picture, output / f"{task}.png")


def _cases(table: str, output: Path, limit: int, tasks: list[str], absent: dict[str, str]) -> list[Case]:
    source = draw_phantom_table(output / "phantoms", limit or 20, tasks) if table == "phantoms" else Path(table)
    cases = read_cases(source, limit, tasks)
    return [*cases, *borrow_absent(cases, absent)]


def run(
    table: str,
    cases: list[Case],
    output: Path,
    plan: Plan,
    prompts: dict[str, str],
    segmenter: TextSegmenter,
    choose_by: Path | None,
) -> None:
    """Score what is not scored yet, then write tables and pictures."""
    if choose_by and not list(choose_by.glob("parts/*/*.csv")):
        raise InputError(f"{choose_by} holds no study to choose by; run one there first, on other images")
    runner = StudyRunner(segmenter.network, segmenter.preset, plan, prompts)
    for task in dict.fromkeys(case.task for case in cases):
        runner.prompts_of(task)
    settings = {
        "table": table,
        "plan": asdict(plan),
        "prompts": prompts,
        "weights": segmenter.weights,
        "parameters": segmenter.preset.parameters,
        "tasks": segmenter.preset.tasks,
    }
    done = StudyTable(output, settings)
    for case in track([case for case in cases if case not in done], "scoring"):
        done.add(case, runner.rows(case))
    rows = done.rows(cases)
    write_text(output / "rows.csv", as_csv(asdict(row) for row in rows))
    text = report(rows, read_rows(choose_by) if choose_by else [])
    write_text(output / "report.md", text)
    _pictures(runner, rows, cases, output)
    print(text)


def main(
    table: Annotated[str, typer.Argument(help="CSV with task, image, mask, target, perhaps finding; or phantoms.")],
    output: Annotated[Path, typer.Option(help="Folder for rows.csv, report.md and pictures.")],
    limit: Annotated[int, typer.Option(help="Images of each task, spread over the table; 0 for all.")] = 0,
    task: Annotated[list[str] | None, typer.Option(help="Only this task. Repeatable, as all below.")] = None,
    saliency: Annotated[list[str] | None, typer.Option(help=", ".join(SALIENCIES))] = None,
    coarse: Annotated[list[str] | None, typer.Option(help=", ".join(COARSE))] = None,
    visual_prompt: Annotated[list[str] | None, typer.Option(help=", ".join(VISUAL_PROMPTS))] = None,
    text: Annotated[list[str] | None, typer.Option(help=", ".join(TEXTS))] = None,
    prompts: Annotated[list[str] | None, typer.Option(help="TASK=a prompt set's name or file.")] = None,
    absent: Annotated[
        list[str] | None, typer.Option(help="TASK=TASK: images of the second do not show the first one's target.")
    ] = None,
    choose_by: Annotated[
        Path | None, typer.Option(help="Folder of a study of other images: the best way there, a task, is reported.")
    ] = None,
    preset: Annotated[str, typer.Option(help="Weights and parameters.")] = "demo",
    clip: Annotated[str | None, typer.Option(help="CLIP weights in place of the preset's.")] = None,
    sam: Annotated[str | None, typer.Option(help="SAM weights in place of the preset's.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps.")] = "auto",
) -> None:
    """Run a study."""
    warnings.simplefilter("ignore", FutureWarning)
    asked = {"saliencies": saliency, "coarse": coarse, "prompts": visual_prompt, "texts": text}
    try:
        plan = Plan(**{name: tuple(values) for name, values in asked.items() if values})
        segmenter = TextSegmenter.from_preset(preset, device, clip, sam)
        cases = _cases(table, output, limit, task or [], _pairs("--absent TASK=TASK", absent))
        run(table, cases, output, plan, _pairs("--prompts TASK=SET", prompts), segmenter, choose_by)
    except InputError as error:
        typer.echo(f"study: {error}", err=True)
        raise typer.Exit(2) from error


if __name__ == "__main__":
    typer.run(main)
