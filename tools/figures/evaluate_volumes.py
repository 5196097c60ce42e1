"""Measure volumes by text: all slices looked at as one, beside each slice taken for a picture of its own.

    python -m tools.figures.evaluate_volumes DATA                     # preset small; the table of docs/results/index.md
    python -m tools.figures.evaluate_volumes DATA --pictures look     # and nine slices of each class, before and after

DATA holds nifti/example_ct_sm.nii.gz with example_seg.nii.gz, and volumes/ct_dicom with ct_dicom_seg.nii.gz, whose
labels are TotalSegmentator's. The phantoms are of seeds that nothing learnt from. CTs that name no window are shown in
that of soft tissue, for lungs in the automatic one. A false slice is one that is painted
though it does not show the class.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import read_image
from medclipsam_monai.phantoms.seeds import VOLUMES
from medclipsam_monai.phantoms.volumes import VOLUME_TARGETS, make_phantom_volume, save_phantom_volume
from medclipsam_monai.transforms import Overlay
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter

_LABELS = {"liver": (5,), "lungs": (10, 11, 12, 13, 14), "kidneys": (2, 3), "spleen": (1,)}
"""TotalSegmentator's numbers."""
_PHANTOMS = {
    "chest_abdomen_ct": {name: name for name in VOLUME_TARGETS["chest_abdomen_ct"]},
    "head_mr": {"ventricles": "ventricles", "brain tumor": "brain tumour", "subdural hematoma": "haematoma"},
}
_SHAPE = (192, 192, 40)
Masks = Mapping[str, NDArray[np.bool_]]
"""By text, (H, W, D)."""
_FIRST = 50_000
"""Of the seeds of volumes; demos and tests draw the first ones."""


@dataclass(frozen=True)
class Case:
    """A volume, where its classes lie, the masks upright (H, W, D) bool by text, and the window to show it in."""

    name: str
    image: Path
    truth: Masks
    window: str | None = None

    def window_for(self, text: str) -> str | None:
        """Lungs are black in the window of soft tissue; they are shown as the automatic one does."""
        return None if text == "lungs" else self.window


@dataclass(frozen=True)
class Score:
    """Of one class in one volume: DSC, NaN where it is absent, and how many slices are painted without showing it."""

    dsc: float
    false: int


def read_case(
    name: str, image: Path, labels: Path, numbers: Mapping[str, tuple[int, ...]], window: str | None = None
) -> Case:
    """A volume with a label map on its grid."""
    upright = np.asarray(read_image(labels))[0].round().astype(int)
    return Case(name, image, {text: np.isin(upright, of) for text, of in numbers.items()}, window)


def cases(data: Path, phantoms: int, folder: Path) -> Iterator[Case]:
    """The real volumes of DATA and some phantoms of each kind, which are written into a folder."""
    nifti, volumes = data / "nifti", data / "volumes"
    yield read_case(
        "example_ct_sm", nifti / "example_ct_sm.nii.gz", nifti / "example_seg.nii.gz", _LABELS, "soft_tissue"
    )
    yield read_case("ct_dicom", volumes / "ct_dicom", volumes / "ct_dicom_seg.nii.gz", _LABELS)
    for task, texts in _PHANTOMS.items():
        numbers = {name: (number,) for number, name in enumerate(VOLUME_TARGETS[task], start=1)}
        for seed in VOLUMES.seeds(phantoms, _FIRST):
            image, labels, _ = save_phantom_volume(make_phantom_volume(task, seed, _SHAPE), folder / f"{task} {seed}")
            asked = {text: numbers[name] for text, name in texts.items()}
            yield read_case(f"phantom {task}", image, labels, asked, "soft_tissue" if task.endswith("ct") else None)


def score(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> Score:
    """Compare two masks (H, W, D)."""
    total = int(found.sum() + truth.sum())
    dsc = 2 * int((found & truth).sum()) / total if truth.any() else float("nan")
    return Score(dsc, int((found.any(axis=(0, 1)) & ~truth.any(axis=(0, 1))).sum()))


def _masks(segmenter: TextSegmenter, case: Case) -> dict[str, NDArray[np.bool_]]:
    """Every class asked for alone, as no other may take its voxels."""
    opened = {window: segmenter.open(case.image, window) for window in (None, case.window)}
    return {text: opened[case.window_for(text)](text).found.mask[0].numpy() for text in case.truth}


def _draw(
    case: Case, ways: Mapping[str, Mapping[str, NDArray[np.bool_]]], folder: Path, segmenter: TextSegmenter
) -> None:
    """Nine slices of every class: truth, and what each way found, side by side."""
    folder.mkdir(parents=True, exist_ok=True)
    for text, truth in case.truth.items():
        opened = segmenter.open(case.image, case.window_for(text))
        shown = np.unique(np.linspace(0, opened.display.shape[-1] - 1, 9).round().astype(int))
        rows = []
        for name, mask in {"truth": truth, **{way: masks[text] for way, masks in ways.items()}}.items():
            draw = Overlay(names=(f"{text}, {name}",), min_size=128)
            rows.append(np.concatenate([draw(opened.display[..., d], mask[None, ..., d]) for d in shown], axis=1))
        Image.fromarray(np.concatenate(rows)).save(folder / f"{case.image.parent.name} {case.name} {text}.png")


def main(
    data: Annotated[Path, typer.Argument(help="Folder of nifti/ and volumes/.")],
    preset: Annotated[str, typer.Option(help="A name or a JSON file.")] = "small",
    phantoms: Annotated[int, typer.Option(min=0, help="Phantom volumes of each kind.")] = 3,
    pictures: Annotated[Path | None, typer.Option(help="Folder for nine slices of each class.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Print a table, a row a class; phantoms of a kind share a row."""
    warnings.simplefilter("ignore")
    whole = TextSegmenter.from_preset(preset, device)
    ways = {"slices": whole.with_settings({"volumes": "slices", "presence_threshold": 0.0}), "whole": whole}
    found: dict[tuple[str, str], dict[str, list[Score]]] = {}
    shown: dict[tuple[str, str], list[int]] = {}
    try:
        with tempfile.TemporaryDirectory() as folder:
            for case in cases(data, phantoms, Path(folder)):
                masks = {way: _masks(segmenter, case) for way, segmenter in ways.items()}
                for text, truth in case.truth.items():
                    here = np.asarray(truth.any(axis=(0, 1)))
                    counts = shown.setdefault((case.name, text), [0, 0])
                    counts[0], counts[1] = counts[0] + int(here.sum()), counts[1] + len(here)
                    scores = found.setdefault((case.name, text), {})
                    for way in ways:
                        scores.setdefault(way, []).append(score(masks[way][text], truth))
                if pictures:
                    _draw(case, masks, pictures, whole)
    except InputError as error:
        typer.echo(f"volumes: {error}", err=True)
        raise typer.Exit(2) from error
    typer.echo(_table(found, shown))


def _table(
    found: Mapping[tuple[str, str], Mapping[str, list[Score]]], shown: Mapping[tuple[str, str], list[int]]
) -> str:
    columns = [
        "volume",
        "text",
        "slices that show it",
        "DSC, slice by slice",
        "false slices",
        "DSC, as one",
        "false slices",
    ]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for (name, text), ways in found.items():
        here, every = shown[name, text]
        cells = [name, text, f"{here} of {every}"]
        for scores in ways.values():
            dsc = [one.dsc for one in scores if not np.isnan(one.dsc)]
            cells.append(f"{np.mean(dsc):.3f}" if dsc else "absent")
            cells.append(f"{sum(one.false for one in scores)} of {every - here}" if every > here else "none to paint")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
