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
from medclipsam_monai.deploy.engines import Found
from medclipsam_monai.deploy.series_selection import Selection
from medclipsam_monai.deploy.study import Series
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
class Case:
    """One series on its way through the application.

    Attributes:
        series: its files.
        selection: the rule that chose it.
        status: OPEN as long as there is something to do.
        reason: why it failed.
        warnings: what a person should know about the result.
        found: what was found.
        outputs: names of the files written so far, in the series' folder.
    """

    series: Series
    selection: Selection
    status: Status = Status.OPEN
    reason: str | None = None
    warnings: tuple[str, ...] = ()
    found: Found | None = None
    outputs: tuple[str, ...] = ()


@dataclass
class Summary:
    """What became of a run.

    Attributes:
        cases: the finished ones.
        left_out: names of the series that no rule chose.
    """

    cases: list[Case] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def count(self, status: Status) -> int:
        """How many series became that."""
        return sum(case.status is status for case in self.cases)

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
            {"series": case.series.name, "status": case.status.value, "reason": case.reason} for case in self.cases
        ]
        return {
            "version": __version__,
            "status": status,
            "reason": reason,
            "series": series,
            "not_selected": self.left_out,
        }


def case_report(case: Case, folder: Path) -> dict[str, Any]:
    """The JSON report of a finished or failed series.

    Args:
        case: the series.
        folder: where its outputs are.
    """
    header = case.series.header
    report: dict[str, Any] = {
        "series": case.series.name,
        "status": case.status.value,
        "reason": case.reason,
        "modality": str(header.get("Modality") or "") or None,
        "files": len(case.series.source.paths),
        "rule": case.selection.name,
        "warnings": list(case.warnings),
        "version": __version__,
    }
    if case.found is None:
        return report
    classes = [_with_millilitres(entry) for entry in case.found.record["classes"]]
    outputs = hash_outputs(folder / name for name in case.outputs)
    found = {"empty": not any(entry["pixels"] for entry in classes)}
    return {**report, **found, **case.found.record, "classes": classes, "outputs": outputs}


def _with_millilitres(entry: dict[str, Any]) -> dict[str, Any]:
    return {**entry, "volume_ml": round(entry["size"] / _PER_ML, 6) if entry["unit"] == "mm3" else None}


def write_report(case: Case, folder: Path) -> None:
    """Write a series' report, and say in the log what became of it.

    Raises:
        InputError: it cannot be written.
    """
    report = case_report(case, folder / case.series.name)
    write_json(report, folder / case.series.name / REPORT)
    if case.status is Status.FAILED:
        _log.error("%s: failed: %s", case.series.name, case.reason)
        return
    for warning in case.warnings:
        _log.warning("%s: %s", case.series.name, warning)
    sizes = ", ".join(_size_line(entry) for entry in report["classes"])
    _log.info("%s: done in %.1f s: %s", case.series.name, report["seconds"], sizes)


def _size_line(entry: dict[str, Any]) -> str:
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
