"""Zero-shot masks that `medclipsam archive` made, to be learnt from: the rows of its table, and the files they mean.

A row says what is in an image and how good its mask is; the record beside the mask holds its hash. Masks are chosen by
the rows alone; of those that are kept the image and the mask must be as they were.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import ImageSource, hash_files
from medclipsam_monai.io.inputs.discovery import search_inputs
from medclipsam_monai.io.inputs.folders import with_home
from medclipsam_monai.io.records import is_base_name, is_unchanged, read_record
from medclipsam_monai.io.tables.parquet import check_columns, read_parquet, rows_of
from medclipsam_monai.io.tables.where import rows_where
from medclipsam_monai.weak.folders import WorkFolders
from medclipsam_monai.weak.pseudo.labels import Notify, PseudoLabel
from medclipsam_monai.weak.pseudo.quality_gate import Gate, apply_gate, apply_where

PATIENT = "patient"
_NEEDED = ("path", "name", "state", "texts", "classes", "input_sha256", "request", "mask")


@dataclass(frozen=True)
class Archived:
    """The masks of an archive.

    Attributes:
        labels: of each image that was segmented, in the order of their stems; nothing was looked at yet.
        where: the expression that chooses, None for none.
        holds: for each label whether it holds.
    """

    labels: list[PseudoLabel]
    where: str | None = None
    holds: tuple[bool, ...] = ()

    def kept(
        self,
        gate: Gate,
        folders: WorkFolders,
        given: Collection[str] = (),
        notify: Notify = lambda kind, message: None,
    ) -> list[PseudoLabel]:
        """The masks to learn from: those that the expression holds for, or else those that pass the gate.

        Args:
            gate: see `apply_gate`; left out where there is an expression.
            folders: of the run.
            given: stems of images whose masks the user gives.
            notify: see `as_they_were`.

        Raises:
            InputError: see `apply_gate` and `as_they_were`.
        """
        if self.where is None:
            chosen = apply_gate(self.labels, gate, folders, given)
        else:
            chosen = apply_where(self.labels, self.holds, self.where, folders, given)
        return as_they_were(chosen, given, notify)


def read_archive(
    archive_dir: str | Path,
    names: Sequence[str],
    where: str | None = None,
    image_root: str | Path | None = None,
    notify: Notify = lambda kind, message: None,
) -> Archived:
    """The masks that the table of an archive names.

    Args:
        archive_dir: output folder of `medclipsam archive`.
        names: the classes, in the order of the texts; rows of other classes are left out.
        where: an expression over the table, see `rows_where`.
        image_root: where relative paths begin; None for the folder that the output folder lies in.
        notify: see `write_pseudo_labels`.

    Raises:
        InputError: no table, one that lacks a column, an expression that cannot be used, or no row of these classes.
    """
    folder = with_home(archive_dir)
    table = read_parquet(folder)
    check_columns(folder, table.column_names, _NEEDED)
    holds = None if where is None else rows_where(table, where, folder)
    wanted = [*_NEEDED, *(name for name in (PATIENT,) if name in table.column_names)]
    rows = rows_of(table, wanted, folder)
    done = [number for number, row in enumerate(rows) if row["state"] == "done"]
    chosen = [number for number in done if rows[number]["texts"] == list(names)]
    _tell_others([rows[number] for number in done], len(chosen), names, folder, notify)
    chosen.sort(key=lambda number: str(rows[number]["name"]))
    _refuse_names(folder, [rows[number] for number in chosen])
    root = folder.absolute().parent if image_root is None else with_home(image_root)
    labels = [_label(rows[number], folder, root) for number in chosen]
    return Archived(labels, where, () if holds is None else tuple(holds[chosen].tolist()))


def _tell_others(
    done: Sequence[dict[str, Any]], chosen: int, names: Sequence[str], folder: Path, notify: Notify
) -> None:
    """Say how many rows are of other classes.

    Raises:
        InputError: all of them.
    """
    kinds = Counter("; ".join(row["texts"] or ()) for row in done if row["texts"] != list(names))
    others = ", ".join(f"{texts!r} {count}x" for texts, count in kinds.most_common(5))
    if not chosen:
        there = f"there are {others}" if done else "nothing in it was segmented"
        raise InputError(f"{folder}: holds no mask of {'; '.join(names)!r}; {there}")
    if others:
        notify("skipped", f"{len(done) - chosen} images of other classes: {others}")


def _refuse_names(folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Refuse rows that cannot be of this package's making: their names become paths."""
    for row in rows:
        if not all(isinstance(row[name], str) and is_base_name(row[name]) for name in ("name", "mask")):
            raise InputError(f"{folder}: the table's row of {row['path']!r} must name files beside it, by plain names")
    twice = next((name for name, count in Counter(row["name"] for row in rows).items() if count > 1), None)
    if twice is not None:
        raise InputError(f"{folder}: two rows of the table have the name {twice!r}")


def _label(row: dict[str, Any], folder: Path, root: Path) -> PseudoLabel:
    classes = [{**one, "fraction": one["fraction"] or 0.0} for one in row["classes"] or ()]
    record = {"input": row["path"], "classes": classes, "request": row["request"], "input_sha256": row["input_sha256"]}
    patient = row.get(PATIENT)
    whose = None if patient in (None, "") else str(patient)
    return PseudoLabel(row["name"], root / row["path"], folder / row["mask"], record, patient=whose)


def as_they_were(
    labels: Sequence[PseudoLabel], given: Collection[str] = (), notify: Notify = lambda kind, message: None
) -> list[PseudoLabel]:
    """Leave out masks and images that are gone or were changed since the archive was made, each with its reason.

    Args:
        labels: those of `read_archive` that are kept.
        given: stems of images whose masks the user gives.
        notify: called with "failed" and a line for each that is left out.

    Returns:
        The others, each with the files of its image.

    Raises:
        InputError: none is left; with the first reason.
    """
    found: dict[Path, list[tuple[ImageSource, str]]] = {}
    kept, reasons = [], []
    for label in labels:
        try:
            if label.stem not in given:
                _check_mask(label)
            kept.append(_with_files(label, found))
        except InputError as error:
            reasons.append(str(error))
            notify("failed", str(error))
    if not kept:
        raise InputError(f"none of the {len(labels)} images can be used; the first: {reasons[0]}")
    return kept


def _check_mask(label: PseudoLabel) -> None:
    record = read_record(label.mask.parent / f"{label.stem}.json")
    if not label.mask.is_file() or record is None:
        raise InputError(f"{label.mask}: it or its record is gone; run archive again")
    if record["request"] != label.record["request"] or label.mask.name not in record["outputs"]:
        raise InputError(f"{label.mask}: the table tells of another mask; run archive again")
    if not is_unchanged(label.mask, record["outputs"][label.mask.name]):
        raise InputError(f"{label.mask}: was changed since archive wrote it; a mask of your own belongs into given_dir")


def _with_files(label: PseudoLabel, found: dict[Path, list[tuple[ImageSource, str]]]) -> PseudoLabel:
    """The label with its image's files; of several images in a folder the one whose bytes were segmented."""
    if label.source not in found:
        found[label.source] = _images(label.source, relative=not Path(label.record["input"]).is_absolute())
    sha256 = label.record["input_sha256"]
    source = next((source for source, digest in found[label.source] if digest == sha256), None)
    if source is None:
        raise InputError(f"{label.source}: was changed since archive segmented it; run archive again")
    series = len(source.paths) > 1
    first = source.paths[0]
    return replace(label, source=first.parent if series else first, files=source.paths if series else ())


def _images(path: Path, relative: bool) -> list[tuple[ImageSource, str]]:
    """The images at a path, which a table may give as a relative one, with their hashes."""
    if not path.exists():
        hint = "; image_root says where relative paths begin" if relative else ""
        raise InputError(f"{path}: no such file or folder{hint}")
    found = search_inputs([path])
    if found.failed:
        raise InputError(found.failed[0][1])
    try:
        return [(source, hash_files(source.files)) for source in found.sources]
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
