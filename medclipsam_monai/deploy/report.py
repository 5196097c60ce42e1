"""What is written about each series, and about the run: JSON that says what was done, or why not.

Neither holds anything of a header but modality and the numbers of the image, nor a name of a file or folder.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.json_files import write_json
from medclipsam_monai.deploy.engines import EngineResult
from medclipsam_monai.deploy.series_selection import Rule
from medclipsam_monai.deploy.study import LeftOutSeries, Series, modality_of
from medclipsam_monai.io import hash_outputs
from medclipsam_monai.version import __version__

REPORT = "report.json"
SUMMARY = "summary.json"
_PER_ML = 1000.0  # mm3
_log = logging.getLogger("medclipsam.deploy")


class Status(str, Enum):
    """What became of a series."""

    OPEN = "open"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True)
class SeriesWork:
    """One series on its way through the application.

    Attributes:
        series: its files.
        rule: the one that chose it.
        status: OPEN as long as there is something to do.
        reason: why it failed.
        warnings: what a person should know about the result.
        found: what was found.
        outputs: names of the files written so far, in the series' folder.
    """

    series: Series
    rule: Rule
    status: Status = Status.OPEN
    reason: str | None = None
    warnings: tuple[str, ...] = ()
    found: EngineResult | None = None
    outputs: tuple[str, ...] = ()


@dataclass
class RunSummary:
    """What became of a run.

    Attributes:
        finished: the series that are done, skipped or failed.
        not_selected: names of the series that no rule chose.
        left_out: what is DICOM and no image to segment.
    """

    finished: list[SeriesWork] = field(default_factory=list)
    not_selected: list[str] = field(default_factory=list)
    left_out: list[LeftOutSeries] = field(default_factory=list)

    def count(self, status: Status) -> int:
        """How many series became that."""
        return sum(work.status is status for work in self.finished)

    @property
    def line(self) -> str:
        """For people, such as "2 done, 0 skipped, 1 failed"."""
        return ", ".join(
            f"{self.count(status)} {status.value}" for status in (Status.DONE, Status.SKIPPED, Status.FAILED)
        )

    def content(self, status: str, reason: str | None = None) -> dict[str, Any]:
        """The run's JSON report.

        Args:
            status: "running", "finished" or "nothing to do".
            reason: why there was nothing to do.
        """
        series = [
            {"series": work.series.name, "status": work.status.value, "reason": work.reason} for work in self.finished
        ]
        return {
            "version": __version__,
            "status": status,
            "reason": reason,
            "series": series,
            "not_selected": self.not_selected,
            "left_out": [{"series": one.name, "files": one.files, "reason": one.reason} for one in self.left_out],
        }


def series_report(work: SeriesWork, folder: Path) -> dict[str, Any]:
    """The JSON report of a finished or failed series.

    Args:
        work: the series, finished or failed.
        folder: where its outputs are.
    """
    header = work.series.header
    report: dict[str, Any] = {
        "series": work.series.name,
        "status": work.status.value,
        "reason": work.reason,
        "modality": modality_of(header),
        "files": len(work.series.source.paths),
        "rule": work.rule.name,
        "warnings": list(work.warnings),
        "version": __version__,
    }
    if work.found is None:
        return report
    classes = [_with_millilitres(entry) for entry in work.found.record["classes"]]
    outputs = hash_outputs(folder / name for name in work.outputs)
    found = {"empty": not any(entry["pixels"] for entry in classes)}
    warnings = [*report["warnings"], *work.found.record["warnings"]]
    return {**report, **found, **work.found.record, "classes": classes, "warnings": warnings, "outputs": outputs}


def _with_millilitres(entry: dict[str, Any]) -> dict[str, Any]:
    known = entry["unit"] == "mm3" and entry["size"] is not None
    return {**entry, "volume_ml": round(entry["size"] / _PER_ML, 6) if known else None}


def write_report(work: SeriesWork, folder: Path) -> None:
    """Write a series' report, and say in the log what became of it.

    Raises:
        InputError: it cannot be written.
    """
    report = series_report(work, folder / work.series.name)
    write_json(report, folder / work.series.name / REPORT)
    if work.status is Status.FAILED:
        _log.error("%s: failed: %s", work.series.name, work.reason)
        return
    for warning in report["warnings"]:
        _log.warning("%s: %s", work.series.name, warning)
    sizes = ", ".join(_size_line(entry) for entry in report["classes"])
    _log.info("%s: done in %.1f s: %s", work.series.name, report["seconds"], sizes)


def _size_line(entry: dict[str, Any]) -> str:
    if entry["size"] is None:
        return f"{entry['name']} {entry['size_reason'] if entry['pixels'] else 'absent'}"
    if not entry["pixels"]:
        return f"{entry['name']} not found"
    if entry["volume_ml"] is not None:
        return f"{entry['name']} {entry['volume_ml']:.1f} ml"
    return f"{entry['name']} {entry['size']:.0f} {entry['unit']}"


def remove_outputs(folder: Path) -> None:
    """Remove what an earlier run left in a series' folder, the report first: a folder never disagrees with its report.

    Raises:
        InputError: a file cannot be removed.
    """
    if not folder.is_dir():
        return
    old = [folder / REPORT, *sorted(folder.glob("*.dcm"))]
    try:
        for path in old:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
    except OSError as error:
        raise InputError(f"cannot remove {path.name} in {folder}: {error.strerror}") from error
