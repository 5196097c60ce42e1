"""Which zero-shot masks are good enough to learn from, told from what their JSON records say.

Four figures of each class, none of which needs a label: presence (the text fits the image better than its opposites),
SAM's own estimate of its mask's quality, the agreement (DSC) of the mask before SAM with the final one, and the part of
the image that is covered.

The defaults were chosen on masks of phantoms; `tools.figures.measure_gate` measures what they keep.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import write_text
from medclipsam_monai.io import write_picture
from medclipsam_monai.weak.folders import WorkFolders
from medclipsam_monai.weak.pseudo.labels import PseudoLabel
from medclipsam_monai.weak.pseudo.picture_sheet import Tile, picture_sheet

_MOST_SHOWN, _MOST_LINES = 24, 6
_FIGURES = ("presence", "quality", "agreement", "area")
_COLUMNS = ("case", "class", *_FIGURES, "kept", "reason")
_REMEDY = "change the text or lower the gate's limits"
_WITHOUT_FIGURES = {"empty": "nothing found", "where": "the expression does not hold"}


@dataclass(frozen=True)
class Reason:
    """Why a mask is dropped.

    Attributes:
        figure: "presence", "quality", "agreement", "area"; "empty", or "where".
        name: the class; empty where no class was found, or an expression is about the image.
        value: what the record says.
        limit: what would have passed.
    """

    figure: str
    name: str = ""
    value: float = 0.0
    limit: float = 0.0

    def __str__(self) -> str:
        return _WITHOUT_FIGURES.get(self.figure) or f"{self.name}: {self.words}"

    @property
    def words(self) -> str:
        """The reason without the class's name."""
        side = "below" if self.value < self.limit else "above"
        return f"{self.figure} {_short(self.value)} {side} {_short(self.limit)}"


@dataclass(frozen=True)
class Verdict:
    """Whether a mask is kept, and if not, why."""

    kept: bool
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True)
class Gate:
    """Limits that every class found in an image must keep; a class that was not found has nothing to keep.

    Args:
        min_presence: of a class that has opposites, in [0, 1].
        min_quality: of SAM's estimate of its mask's IoU, in [0, 1].
        min_agreement: of the DSC of the masks before and after SAM, in [0, 1].
        min_area: of the part of the image that is covered, in [0, 1].
        max_area: the same, from above.

    Raises:
        InputError: a limit outside [0, 1], or areas the wrong way round.
    """

    min_presence: float = 0.5
    min_quality: float = 0.7
    min_agreement: float = 0.4
    min_area: float = 0.0001
    max_area: float = 0.9

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise InputError(f"the gate's {name} must lie in [0, 1], got {value!r}")
        if self.min_area > self.max_area:
            raise InputError(f"the gate's min_area {self.min_area} is above its max_area {self.max_area}")

    def judge(self, record: Mapping[str, Any]) -> Verdict:
        """Judge a mask by its record.

        Args:
            record: as `Segmentation.record` gives it.

        Raises:
            InputError: a record without the figures, as another version wrote it.
        """
        entries = figures(record)
        found = [entry for entry in entries if entry["area"] > 0]
        if not found:
            absent = [e for e in entries if e["presence"] is not None and e["presence"] < self.min_presence]
            unlikely = [Reason("presence", e["class"], e["presence"], self.min_presence) for e in absent]
            return Verdict(False, tuple(unlikely) or (Reason("empty"),))
        reasons = [reason for entry in found for reason in self._reasons(entry)]
        return Verdict(not reasons, tuple(reasons))

    def _reasons(self, entry: Mapping[str, Any]) -> list[Reason]:
        least = {
            "presence": self.min_presence,
            "quality": self.min_quality,
            "agreement": self.min_agreement,
            "area": self.min_area,
        }
        reasons = [
            Reason(figure, entry["class"], entry[figure], limit)
            for figure, limit in least.items()
            if entry[figure] is not None and entry[figure] < limit
        ]
        if entry["area"] > self.max_area:
            reasons.append(Reason("area", entry["class"], entry["area"], self.max_area))
        return reasons


def figures(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a record says of each class: class, presence, quality, agreement and area, None where there is no figure.

    Raises:
        InputError: a record without them, as another version wrote it.
    """
    try:
        return [
            {
                "class": entry["name"],
                "presence": entry["presence"],
                "quality": entry["quality"],
                "agreement": entry["agreement"],
                "area": entry["fraction"],
            }
            for entry in record["classes"]
        ]
    except (KeyError, TypeError) as error:
        raise InputError(
            f"the record of {record.get('input', 'an image')} lacks {error}; write it again with overwrite"
        ) from error


def apply_gate(
    labels: Sequence[PseudoLabel], gate: Gate, folders: WorkFolders, given: Collection[str] = ()
) -> list[PseudoLabel]:
    """Keep the masks that pass, and say it of all: ``gate.csv``, ``kept.png`` and ``dropped.png``.

    Args:
        labels: what `write_pseudo_labels` gave.
        gate: the limits.
        folders: of the run; the table and the pictures go to ``gate``.
        given: stems of images whose masks the user gives; they stay whatever the gate says.

    Returns:
        The labels that stay, in their order.

    Raises:
        InputError: if none stays, with the commonest reasons; table and pictures are written all the same.
    """
    return _keep(labels, [gate.judge(label.record) for label in labels], folders, given, "the quality gate", _REMEDY)


def apply_where(
    labels: Sequence[PseudoLabel], holds: Sequence[bool], where: str, folders: WorkFolders, given: Collection[str] = ()
) -> list[PseudoLabel]:
    """As `apply_gate`, with an expression in place of the limits.

    Args:
        labels: what `read_archive` gave.
        holds: for each whether the expression holds; an image in which nothing was found is dropped all the same.
        where: the expression, for the error.
        folders: see `apply_gate`.
        given: see `apply_gate`.
    """
    verdicts = []
    for label, holding in zip(labels, holds, strict=True):
        found = any(entry["area"] > 0 for entry in figures(label.record))
        reason = None if found and holding else Reason("where" if found else "empty")
        verdicts.append(Verdict(True) if reason is None else Verdict(False, (reason,)))
    return _keep(labels, verdicts, folders, given, f"where={where!r}", "change the expression")


def _keep(
    labels: Sequence[PseudoLabel],
    verdicts: Sequence[Verdict],
    folders: WorkFolders,
    given: Collection[str],
    judge: str,
    remedy: str,
) -> list[PseudoLabel]:
    """What `apply_gate` says, by verdicts; judge and remedy are words for the error."""
    judged = [
        (label, Verdict(True) if label.stem in given else verdict)
        for label, verdict in zip(labels, verdicts, strict=True)
    ]
    kept = [label for label, verdict in judged if verdict.kept]
    _write_table(judged, folders.gate_table, given)
    title = f"kept {len(kept)} of {len(judged)} masks"
    _write_sheet(title, [entry for entry in judged if entry[1].kept], folders.kept_picture)
    dropped = [entry for entry in judged if not entry[1].kept]
    title = f"dropped {len(dropped)} of {len(judged)} masks: {_commonest(dropped)}"
    _write_sheet(title, dropped, folders.dropped_picture)
    if not kept:
        raise InputError(
            f"none of the {len(judged)} masks passes {judge}: {_commonest(dropped)}; see {folders.gate}, then {remedy}"
        )
    return kept


_Judged = Sequence[tuple[PseudoLabel, Verdict]]


def _commonest(dropped: _Judged) -> str:
    """The reasons with how many masks each concerns and the values it was for, the commonest first."""
    values: dict[tuple[str, str], list[float]] = {}
    for _, verdict in dropped:
        for reason in verdict.reasons:
            side = "below" if reason.value < reason.limit else "above"
            words = _WITHOUT_FIGURES.get(reason.figure) or f"{reason.figure} {side} {_short(reason.limit)}"
            values.setdefault((reason.figure, words), []).append(reason.value)
    order = sorted(values.items(), key=lambda entry: -len(entry[1]))
    return ", ".join(_summed(figure, words, found) for (figure, words), found in order)


def _summed(figure: str, words: str, found: Sequence[float]) -> str:
    if figure in _WITHOUT_FIGURES:
        return f"{words} {len(found)}x"
    ends = dict.fromkeys((_short(min(found)), _short(max(found))))
    return f"{words} {len(found)}x ({' to '.join(ends)})"


def _short(value: float) -> str:
    return f"{value:.2f}" if value >= 0.01 or value == 0 else f"{value:.1g}"


def _write_table(judged: _Judged, path: Path, given: Collection[str]) -> None:
    """One row a class of an image."""
    text = io.StringIO()
    table = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    table.writeheader()
    for label, verdict in judged:
        reason = "given mask" if label.stem in given else "; ".join(map(str, verdict.reasons))
        for entry in figures(label.record):
            rounded = {name: _rounded(entry[name]) for name in _FIGURES}
            kept = "yes" if verdict.kept else "no"
            table.writerow({"case": label.stem, "class": entry["class"], **rounded, "kept": kept, "reason": reason})

    write_text(path, text.getvalue())


def _rounded(value: float | None) -> float | str:
    return "" if value is None else round(value, 5)


def _write_sheet(title: str, judged: _Judged, path: Path) -> None:
    """The overlays of up to `_MOST_SHOWN` masks, spread evenly; none and no file of an earlier run if there is none."""
    path.unlink(missing_ok=True)
    if not judged:
        return
    count = min(_MOST_SHOWN, len(judged))
    shown = [judged[int((n + 0.5) * len(judged) / count)] for n in range(count)]
    if count < len(judged):
        title += f" ({count} shown)"
    write_picture(picture_sheet(title, [_tile(label, verdict) for label, verdict in shown]), path)


def _tile(label: PseudoLabel, verdict: Verdict) -> Tile:
    """The overlay, with the reasons or else the figures under it; a class alone needs no name there."""
    alone = len(label.record["classes"]) == 1
    if verdict.kept:
        found = [entry for entry in figures(label.record) if entry["area"] > 0]
        lines = [line for entry in found for line in _figure_lines(entry, alone)]
    else:
        lines = [reason.words if alone and reason.name else str(reason) for reason in verdict.reasons]
    return Tile(label.mask.parent / f"{label.stem}_overlay.png", (label.stem, *lines[:_MOST_LINES]))


def _figure_lines(entry: Mapping[str, Any], alone: bool) -> list[str]:
    """Two figures a line, as many as fit under a picture."""
    known = [f"{name} {_short(entry[name])}" for name in _FIGURES[:3] if entry[name] is not None]
    return [*([] if alone else [f"{entry['class']}:"]), *(", ".join(known[n : n + 2]) for n in range(0, len(known), 2))]
