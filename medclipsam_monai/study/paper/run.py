"""The papers' main table from a table of images: what can be run is run, what is done is kept, the rest is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.progress import track

from medclipsam_monai.base.devices import resolve_device
from medclipsam_monai.base.errors import InputError, plain_reason
from medclipsam_monai.base.files import write_text
from medclipsam_monai.presets.preset import Preset
from medclipsam_monai.study.cases import Case
from medclipsam_monai.study.conditions import FEW_SHOT, UNIVERSEG
from medclipsam_monai.study.paper.lines import Line, paper_lines, presets_of, what_lacks
from medclipsam_monai.study.paper.report import paper_report
from medclipsam_monai.study.paper.request import PaperRequest
from medclipsam_monai.study.paper.scores import PaperRunner
from medclipsam_monai.study.rivals.few_shot import FewShot, shown_settings
from medclipsam_monai.study.rivals.shots import EXAMPLE_PHANTOMS
from medclipsam_monai.study.runner import Row
from medclipsam_monai.study.table import StudyTable, as_csv
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter


def run_paper(request: PaperRequest, own: Preset, device: str = "auto", progress: bool = False) -> str:
    """Score every case by every line whose weights are on this machine, then write rows.csv and report.md.

    Args:
        request: images, text, and where to.
        own: a preset that is run beside the papers' lines.
        device: as everywhere.
        progress: whether to draw a progress bar on stderr.

    Returns:
        The text of report.md.

    Raises:
        InputError: a mistake in the request or the preset, a file of a case that cannot be used, or an output folder
            with scores of another table, text or weights.
    """
    request.check()
    lines = paper_lines(own)
    cases = request.images().cases()
    few_shot = FewShot.of(request.shots, cases, request.output / EXAMPLE_PHANTOMS, resolve_device(device))
    rows: dict[Line, list[Row]] = {}
    reasons = {line: lacking for line in lines if (lacking := what_lacks(line, few_shot is not None))}
    there = [line for line in lines if line not in reasons]
    for preset in presets_of(there):
        of_preset = [line for line in there if line.preset.name == preset.name]
        loaded = _loaded(request, preset, device, few_shot)
        if isinstance(loaded, str):
            reasons |= dict.fromkeys(of_preset, loaded)
        else:
            rows |= _scored(request, of_preset, loaded, cases, progress)
    write_text(request.output / "rows.csv", as_csv(_told(line, row) for line in rows for row in rows[line]))
    text = paper_report(request.table, request.text, lines, rows, reasons, request.shots)
    write_text(request.output / "report.md", text)
    return text


@dataclass(frozen=True)
class _Loaded:
    """A preset's networks, and what decides their scores."""

    runner: PaperRunner
    settings: Mapping[str, object]


def _loaded(request: PaperRequest, preset: Preset, device: str, few_shot: FewShot | None) -> _Loaded | str:
    """A preset's networks, or why they cannot be used."""
    try:
        segmenter = TextSegmenter.from_preset(preset, device)
        runner = PaperRunner(segmenter, dict(request.prompts), request.text, few_shot)
    except InputError as error:
        return plain_reason(error)
    settings = {
        "table": request.table,
        "text": request.text,
        "prompts": dict(request.prompts),
        "weights": segmenter.weights,
        "parameters": preset.parameters,
        "tasks": preset.tasks,
    }
    return _Loaded(runner, settings)


def _scored(
    request: PaperRequest, lines: Sequence[Line], loaded: _Loaded, cases: Sequence[Case], progress: bool
) -> dict[Line, list[Row]]:
    """The rows of all cases by the lines of one preset; those that are on disk are not made again."""
    tables = {line.way: StudyTable(request.output / line.folder, _settings(line.way, loaded)) for line in lines}
    todo = [(case, [way for way, table in tables.items() if case not in table]) for case in cases]
    todo = [(case, ways) for case, ways in todo if ways]
    said = f"scoring with {lines[0].preset.name}"
    for case, ways in track(todo, said, console=Console(stderr=True)) if progress else todo:
        for way, found in loaded.runner.rows(case, ways).items():
            tables[way].add(case, found)
    return {line: tables[line.way].rows(cases) for line in lines}


def _settings(way: str, loaded: _Loaded) -> dict[str, object]:
    """What decides the scores of a way; of UniverSeg the preset does not."""
    shown = shown_settings([way] if way in FEW_SHOT else [], loaded.runner.few_shot)
    if way == UNIVERSEG:
        return {"table": loaded.settings["table"], **shown}
    return {**loaded.settings, **shown}


def _told(line: Line, row: Row) -> dict[str, object]:
    """A row of rows.csv."""
    scores = {"dsc": row.dsc, "nsd": row.nsd, "iou": row.iou}
    case = {"task": row.task, "image": row.image, "text": row.text, "present": row.present}
    return {"method": line.method, "networks": line.networks, **case, **scores}
