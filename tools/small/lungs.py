"""Lungs learnt from chest X-rays without a mask: text to masks by the networks of a round, the gate, the next training.

    python -m tools.small.lungs DATA --preset demo --output lungs --round 0     # masks of the training side's images
    python -m tools.small.lungs DATA --output lungs --round 0 --score           # beside the masks that are kept out

The images of task lung_xray in DATA/segmentation.csv are in the public domain; the terms of their masks forbid to learn
from them. So the first command opens images alone. What passes is in the output folder as masks/ and segmentation.csv,
which `lung_rows` reads; round_N/ keeps all that was asked in a round, with the quality gate's table and pictures, and
rounds.json says how many passed. The second command opens the kept-out masks and writes scores into rounds.json, for
people to read. **The scores steer nothing**: no limit here was chosen by them, and nothing reads them.
"""

from __future__ import annotations

import csv
import io
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import replace_folder, write_text
from medclipsam_monai.base.json_files import read_object, write_json
from medclipsam_monai.label.active.disagreement import prompt_disagreement
from medclipsam_monai.metrics import score_masks
from medclipsam_monai.presets.preset import load_preset
from medclipsam_monai.prompts import TextTarget, load_prompt_set
from medclipsam_monai.transforms.components import label_components
from medclipsam_monai.weak.folders import WorkFolders
from medclipsam_monai.weak.pseudo.labels import PseudoLabel, write_pseudo_labels
from medclipsam_monai.weak.pseudo.quality_gate import Gate, apply_gate
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter
from tools.small.pictures import Row, half_of, read_rows

TASK, TARGET = "lung_xray", "lungs"
GATE = Gate(min_quality=0.7, min_agreement=0.3, min_area=0.1, max_area=0.6)
"""Limits by what lungs are on a frontal X-ray of the whole chest and by a look at pictures of round 0; no kept-out mask
was compared."""
LEAST_AGREEMENT = 0.4
"""Of the masks of some wordings, mean soft Dice of all pairs: 0.4 where two thirds of them find one thing."""
LEAST_BALANCE = 0.4
"""Size of the second largest part of a mask by that of the largest: two lungs, not one and a bit."""
_COMPARED = slice(None, None, 3)  # of the ten wordings; each costs a saliency map
_SETTINGS = {"prompt_ensemble": "maps", "coarse.components": "largest", "coarse.k": 2}
_COLUMNS = ("task", "image", "mask", "target", "finding", "source", "patient")


def lung_rows(folder: Path) -> list[Row]:
    """The images whose masks passed in the newest round, as pictures of kind "chest_xray" that show lungs.

    Of the kind's other concepts nothing is known but what `words.OPEN` leaves open: heart, pleural effusion, lung mass
    and pacemaker are UNKNOWN in such a picture, and a mask of lungs makes "lungs" PRESENT.

    Args:
        folder: what was given as ``--output``.

    Raises:
        InputError: no round has been run there.
    """
    return read_rows(folder / "segmentation.csv", {TASK: "chest_xray"})


def asked_rows(data: Path) -> list[Row]:
    """The X-rays of the training side of the split. Their masks are paths that nothing here follows.

    Raises:
        InputError: no such table, or none of its images is on that side.
    """
    table = data / "segmentation.csv"
    rows = [row for row in read_rows(table, {TASK: "chest_xray"}) if half_of(row.group) == "train"]
    if not rows:
        raise InputError(f"{table}: no image of task {TASK} is on the training side of the split")
    return rows


def has_xrays(data: Path) -> bool:
    """Whether a folder's table has chest X-rays."""
    with (data / "segmentation.csv").open(newline="", encoding="utf-8") as file:
        return any(row.get("task") == TASK for row in csv.DictReader(file))


def is_done(output: Path, number: int) -> bool:
    """Whether a round was run into a folder."""
    return any(record["round"] == number for record in _records(output))


def run_round(data: Path, preset: str, output: Path, number: int, device: str = "auto") -> dict[str, Any]:
    """Make a mask of each image; keep those that pass the gate, that have two parts and that the wordings agree on.

    Args:
        data: folder of segmentation.csv.
        preset: a name or a JSON file; its task lung_xray counts, where it has one.
        output: folder of the rounds.
        number: of the round; an earlier one of that number is replaced.
        device: auto, cpu, cuda or mps.

    Returns:
        The round's record: round, preset, asked, accepted.

    Raises:
        InputError: no images, no such preset, or no mask that passes.
    """
    rows = {row.image.resolve(): row for row in asked_rows(data)}
    target = _target()
    segmenter = _segmenter(preset, device)
    work = WorkFolders(output / f"round_{number}")
    labels = write_pseudo_labels(segmenter, list(rows), target, work)
    gated = apply_gate(labels, GATE, work)
    judged, accepted = {}, []
    for label in labels:
        entry = _judge(segmenter, label, target) if label in gated else {"accepted": False}
        judged[str(label.source.resolve())] = {"stem": label.stem, **entry}
        accepted += [label] if entry["accepted"] else []
    limits = {"gate": asdict(GATE), "agreement": LEAST_AGREEMENT, "balance": LEAST_BALANCE}
    write_json({"least": limits, "images": judged}, _judged_json(output, number))
    if not accepted:
        raise InputError(f"of {len(gated)} masks that passed the gate none has two parts that the wordings agree on")
    _publish(accepted, rows, output)
    record = {"round": number, "preset": preset, "asked": len(rows), "accepted": len(accepted)}
    _write_record(output, record)
    return record


def _target() -> TextTarget:
    """All wordings of the prompt set in one class. No opposites: that the images are chest X-rays is known."""
    return TextTarget(TARGET, load_prompt_set(TASK).wordings)


def _segmenter(preset: str, device: str) -> TextSegmenter:
    """Networks that take the consensus over sentences, and of a coarse mask the two largest parts."""
    tasks = load_preset(preset).tasks
    return TextSegmenter.from_preset(preset, device, settings=_SETTINGS, task=TASK if TASK in tasks else None)


def _judge(segmenter: TextSegmenter, label: PseudoLabel, target: TextTarget) -> dict[str, Any]:
    """What the gate does not look at: whether the mask has two parts, and how far the single wordings agree."""
    balance = _balance(_mask(label.mask))
    opened = segmenter.open(label.image)
    compared = replace(target, sentences=target.sentences[_COMPARED])
    agreement = 1 - prompt_disagreement(segmenter, opened, (compared,))
    opened.close()
    passed = agreement >= LEAST_AGREEMENT and balance >= LEAST_BALANCE
    return {"agreement": round(agreement, 4), "balance": round(balance, 4), "accepted": passed}


def _balance(mask: NDArray[np.bool_]) -> float:
    """Pixels of the second largest part of a mask (H, W) by those of the largest; 0 for a single part."""
    numbers, count = label_components(mask)
    sizes = sorted(np.bincount(numbers.ravel())[1:]) if count > 1 else [0, 1]
    return float(sizes[-2] / sizes[-1])


def _mask(path: Path) -> NDArray[np.bool_]:
    with Image.open(path) as file:
        return np.asarray(file) > 0


def _publish(accepted: Sequence[PseudoLabel], rows: dict[Path, Row], output: Path) -> None:
    """The folder masks/ and the table that `read_rows` reads."""

    def fill(folder: Path) -> None:
        for label in accepted:
            Image.fromarray(np.uint8(255) * _mask(label.mask)).save(folder / f"{label.stem}.png")

    replace_folder(output / "masks", fill)
    text = io.StringIO()
    table = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    table.writeheader()
    for label in accepted:
        image = label.source.resolve()
        source, _, patient = rows[image].group.partition("/")
        mask = f"masks/{label.stem}.png"
        values = (TASK, str(image), mask, TARGET, "", source, patient)
        table.writerow(dict(zip(_COLUMNS, values, strict=True)))
    write_text(output / "segmentation.csv", text.getvalue())


def score_round(data: Path, output: Path, number: int) -> dict[str, Any]:
    """Compare the masks of a round with those that are kept out, and add the DSC to the round's record.

    For people to read; it steers nothing. It opens the kept-out masks, which no other function here does.

    Args:
        data: folder of segmentation.csv.
        output: folder of the rounds.
        number: of the round.

    Returns:
        The record with "dsc_accepted" and "dsc_asked", each {"mean", "n"}; an image without a mask scores 0.

    Raises:
        InputError: there is no such round.
    """
    judged = read_object(_judged_json(output, number), remedy="run the round first")["images"]
    record = next((one for one in _records(output) if one["round"] == number), None)
    if record is None:
        raise InputError(f"{output / 'rounds.json'} has no round {number}; run it first")
    masks = WorkFolders(output / f"round_{number}").pseudo_labels
    asked, accepted = [], []
    for row in asked_rows(data):
        entry = judged.get(str(row.image.resolve()))
        found = None if entry is None else _mask(masks / f"{entry['stem']}_mask.png")
        asked.append(0.0 if found is None else _dsc(found, row.mask))
        if entry is not None and entry["accepted"]:
            accepted.append(asked[-1])
    record["dsc_accepted"] = {"mean": round(float(np.mean(accepted)), 4), "n": len(accepted)}
    record["dsc_asked"] = {"mean": round(float(np.mean(asked)), 4), "n": len(asked)}
    _write_record(output, record)
    return record


def _dsc(found: NDArray[np.bool_], kept_out: Path) -> float:
    with Image.open(kept_out) as file:
        truth = np.asarray(file.convert("L").resize(found.shape[::-1], Image.Resampling.NEAREST)) > 127
    return float(score_masks(found[None], truth[None]).dsc[0])


def _judged_json(output: Path, number: int) -> Path:
    return output / f"round_{number}" / "judged.json"


def _records(output: Path) -> list[dict[str, Any]]:
    path = output / "rounds.json"
    return list(read_object(path)["rounds"]) if path.is_file() else []


def _write_record(output: Path, record: dict[str, Any]) -> None:
    others = [one for one in _records(output) if one["round"] != record["round"]]
    write_json({"rounds": sorted([*others, record], key=lambda one: int(one["round"]))}, output / "rounds.json")


def main(
    data: Annotated[Path, typer.Argument(help="Folder of segmentation.csv.")],
    output: Annotated[Path, typer.Option(help="Folder for masks/, segmentation.csv and rounds.json.")],
    preset: Annotated[str, typer.Option(help="A name or a JSON file: the networks that make the masks.")] = "demo",
    round_: Annotated[int, typer.Option("--round", min=0, help="Number of the round.")] = 0,
    score: Annotated[bool, typer.Option("--score", help="Measure a round that was run; steers nothing.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Run a round, or score one."""
    warnings.simplefilter("ignore")
    started, output = time.perf_counter(), output.resolve()
    try:
        record = score_round(data, output, round_) if score else run_round(data, preset, output, round_, device)
    except InputError as error:
        typer.echo(f"lungs: {error}", err=True)
        raise typer.Exit(2) from error
    typer.echo(f"{record} ({time.perf_counter() - started:.0f} s)")


if __name__ == "__main__":
    typer.run(main)
