"""Measure networks on real images that training never saw, by text alone, beside baselines that know the answer's box.

    python -m tools.small.measure DATA --limit 40                  # preset small, the images held out; README's table
    python -m tools.small.measure DATA --preset demo --limit 20
    python -m tools.small.measure DATA --half choose --wordings    # to choose parameters by
    python -m tools.small.measure DATA --limit 12 --pictures look  # a sheet of overlays a task, the worst first

A target that is said to be absent scores 0, but with --always. Presence is scored against images of all other tasks.
The true box is SAM's half of the work; whole box and ellipse cost nothing.
"""

from __future__ import annotations

import json
import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from torch import Tensor

from medclipsam_monai.metrics import score_masks
from medclipsam_monai.metrics.localisation import presence_auc
from medclipsam_monai.presets.preset import load_preset
from medclipsam_monai.prompts import load_prompt_set, parse_targets
from medclipsam_monai.weak.pseudo.picture_sheet import Tile, picture_sheet
from medclipsam_monai.zero_shot.build import build_network
from medclipsam_monai.zero_shot.encoded import denials
from medclipsam_monai.zero_shot.network import ZeroShotSegmenter
from tools.data.baselines import box_and_ellipse
from tools.small.pictures import Picture, Row, group_mask, half_of, read_pictures, read_rows


@dataclass(frozen=True)
class Task:
    """What is asked of which images.

    Attributes:
        name: of the task.
        picture: what is looked for in which pictures, for people.
        source: the sets.
        text: what is asked.
        concept: whose mask is the answer.
        prompts: prompt set with the wordings; the preset's task is called so, where it has one.
        table: "open" or "old", the tables of DATA.
        task: in that table.
        target: in that table; empty for any.
        trained: whether images of the same table are learnt from, with masks or without, so that only those held
            out count.
    """

    name: str
    picture: str
    source: str
    text: str
    concept: str
    prompts: str
    table: str
    task: str
    target: str = ""
    trained: bool = True


TASKS = (
    Task("fetal_head_ultrasound", "fetal head, ultrasound", "HC18",
         "fetal head", "fetal head", "fetal_head_ultrasound", "open", "fetal_ultrasound"),
    Task("left_ventricle_mri", "left ventricle, cine MR", "Sunnybrook",
         "left ventricle", "left ventricle", "heart_mri", "open", "cardiac_mri"),
    Task("liver_ct", "liver, CT", "MSD Task03", "liver", "liver", "liver_ct", "open", "liver_ct"),
    Task("cell_nuclei_microscopy", "cell nuclei, microscopy", "DSB 2018",
         "cell nuclei", "cell nuclei", "cell_nuclei_microscopy", "open", "cell_microscopy"),
    Task("blood_vessel_ultrasound", "blood vessel, ultrasound", "usgra-seg",
         "blood vessel", "blood vessel", "blood_vessel_ultrasound", "open", "nerve_ultrasound", "blood vessel"),
    Task("nerve_ultrasound", "nerve, ultrasound", "usgra-seg",
         "nerve", "nerve", "nerve_ultrasound", "open", "nerve_ultrasound", "nerve"),
    Task("hippocampus_mri", "hippocampus, MR crops", "MSD Task04",
         "hippocampus", "hippocampus", "hippocampus_mri", "open", "hippocampus_mri"),
    Task("breast_ultrasound", "breast tumor, ultrasound", "BUS-BRA, BUS-UC, BrEaST",
         "breast tumor", "breast tumour", "breast_ultrasound", "open", "breast_ultrasound"),
    Task("breast_ultrasound_busi", "the same, a set never seen", "BUSI",
         "breast tumor", "breast tumour", "breast_ultrasound", "old", "breast_ultrasound", trained=False),
    Task("brain_mri", "brain tumor, contrast T1 MR", "figshare, BRISC",
         "brain tumor", "brain tumour", "brain_mri", "both", "brain_mri"),
    Task("lung_xray", "lungs, chest X-ray, no drawn mask used", "Shenzhen",
         "lungs", "lungs", "lung_xray", "old", "lung_xray"),
    Task("lung_ct", "lungs, CT, learnt from drawings", "Finding lungs in CT",
         "lungs", "lungs", "lung_ct", "old", "lung_ct", trained=False),
)  # fmt: skip
_COLUMNS = ["text and picture", "set", "n", "patients", "DSC", "--always", "NSD (2 px)", "presence AUC",
            "whole true box", "ellipse in it", "coarse mask", "SAM in the true box"]  # fmt: skip
_KINDS = {"lung_xray": "chest_xray", "lung_ct": "chest_ct"}


class Half(str, Enum):
    """Which images count of those that training may see a part of."""

    choose = "choose"
    test = "test"


@dataclass
class Scores:
    """What is gathered about one task."""

    dice: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    present: list[float] = field(default_factory=list)
    groups: set[str] = field(default_factory=set)
    masks: list[NDArray[np.bool_]] = field(default_factory=list)

    def mean(self, name: str) -> float:
        return float(np.mean(self.dice[name])) if self.dice[name] else float("nan")


def read_task(data: Path, task: Task, half: str, limit: int) -> list[tuple[Row, Picture]]:
    """The images of a task that count, spread evenly over the table."""
    choosing = half == Half.choose.value
    # Of tables that nothing is learnt from, all counts that no parameter is chosen by.
    rows = read_halves(data, task, (half,) if task.trained or choosing else ("train", "test"))
    if limit and len(rows) > limit:
        rows = [rows[round(k)] for k in np.linspace(0, len(rows) - 1, limit)]
    return [(row, read_pictures([row])[0]) for row in rows]


def read_halves(data: Path, task: Task, halves: Sequence[str]) -> list[Row]:
    """The rows of a task whose groups belong to some of `HALVES`."""
    tables = {"open": [data / "open"], "old": [data], "both": [data, data / "open"]}[task.table]
    kinds = {task.task: _KINDS.get(task.task, task.task)}
    rows = [row for table in tables for row in read_rows(table / "segmentation.csv", kinds)]
    return [row for row in rows if task.target in ("", row.target) and half_of(row.group) in halves]


def _square(picture: Picture) -> Tensor:
    return torch.from_numpy(picture.pixels.transpose(2, 0, 1).astype(np.float32) / 255)[None]


def _dice(found: np.ndarray, truth: np.ndarray) -> float:
    return float(2 * (found & truth).sum() / max(1, found.sum() + truth.sum()))


def _box(mask: np.ndarray) -> Tensor:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return torch.tensor([[columns[0], rows[0], columns[-1], rows[-1]]], dtype=torch.float32)


def score(network: ZeroShotSegmenter, picture: Picture, texts: Sequence[str], concept: str, scores: Scores) -> None:
    """Add one image that shows the target; several texts are scored one by one."""
    truth = group_mask(picture, concept)
    if truth is None:
        return
    images = network.encode_images(_square(picture))
    box, ellipse = box_and_ellipse(truth)
    scores.dice["box"].append(_dice(box, truth))
    scores.dice["ellipse"].append(_dice(ellipse, truth))
    boxed, _ = network.segmenter.decode(images.embeddings()[0], boxes=_box(truth))
    scores.dice["true box"].append(_dice(boxed[0, 0].cpu().numpy() > 0.5, truth))
    for k, text in enumerate(texts):
        (result,) = network.segment_encoded(images, network.encode_texts(parse_targets(text)))
        found = result.mask[0].cpu().numpy()
        if not k:
            scores.dice["text"].append(_dice(found, truth))
            if network.is_absent(result.presence[0]):
                always = network.with_settings({"presence_threshold": 0.0})
                (result,) = always.segment_encoded(images, always.encode_texts(parse_targets(text)))
            scores.dice["always"].append(_dice(result.mask[0].cpu().numpy(), truth))
            scores.dice["coarse"].append(_dice(result.coarse[0].cpu().numpy(), truth))
            scores.masks.append(found)
            scores.dice["nsd"].append(float(score_masks(found[None], truth[None]).nsd[0]))
        scores.dice[f"wording {k}"].append(_dice(found, truth))


def _presence(network: ZeroShotSegmenter, pictures: Sequence[Picture], said: Tensor, denied: Tensor) -> Tensor:
    """How surely pictures show texts (B, K), where the preset has no presence by what they fit better than denials."""
    vectors = torch.cat([network.encoder.encode_image(_square(picture)) for picture in pictures])
    calibrated = network.calibrated_presence
    return vectors @ (said - denied).T if calibrated is None else calibrated(vectors, said, denied)


def draw_sheet(pictures: Sequence[Picture], concept: str, scores: Scores, path: Path) -> None:
    """Twelve pictures, worst first, with the true outline in green and the one that was found in red; as PNG files."""
    shown = [picture for picture in pictures if group_mask(picture, concept) is not None]
    folder = path.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    tiles = []
    for place, k in enumerate(np.argsort(scores.dice["text"])[:12]):
        pixels = shown[k].pixels.copy()
        for mask, colour in ((group_mask(shown[k], concept), (0, 255, 0)), (scores.masks[k], (255, 0, 0))):
            edge = np.asarray(mask) & ~ndimage.binary_erosion(mask, iterations=2)
            pixels[edge] = colour
        Image.fromarray(pixels).save(folder / f"{place}.png")
        tiles.append(Tile(folder / f"{place}.png", (f"DSC {scores.dice['text'][k]:.2f}",)))
    Image.fromarray(picture_sheet(path.stem, tiles)).save(path)


def main(
    data: Annotated[Path, typer.Argument(help="Folder of open/segmentation.csv and segmentation.csv.")],
    preset: Annotated[str, typer.Option(help="A name or a JSON file.")] = "small",
    half: Annotated[Half, typer.Option(help="Which images count where others are learnt from.")] = Half.test,
    limit: Annotated[int, typer.Option(help="Images of each task; 0 for all.")] = 0,
    wordings: Annotated[bool, typer.Option("--wordings", help="Ten texts a task, one by one.")] = False,
    only: Annotated[list[str] | None, typer.Option(help="One task; repeatable.")] = None,
    pictures: Annotated[Path | None, typer.Option(help="Folder for sheets of overlays.")] = None,
    setting: Annotated[list[str] | None, typer.Option(help="NAME=JSON of a setting; repeatable.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Print a table, a row a task."""
    warnings.simplefilter("ignore")
    chosen = load_preset(preset).with_settings({k: json.loads(v) for k, v in (s.split("=", 1) for s in setting or [])})
    tasks = [task for task in TASKS if not only or task.name in only]
    images = {task.name: read_task(data, task, half.value, limit) for task in tasks}
    table = {task.name: Scores() for task in tasks}
    base = build_network(chosen, device)
    texts = [task.text for task in tasks]
    with torch.inference_mode():
        said, denied = base.encoder.encode_text([*texts, *denials(texts)]).chunk(2)
        scores = {name: _presence(base, [p for _, p in of], said, denied) for name, of in images.items() if of}
    columns = [*_COLUMNS, "wordings, sd"] if wordings else _COLUMNS
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for k, task in enumerate(tasks):
        own = chosen.for_task(task.prompts if task.prompts in chosen.tasks else None)
        network, found = base.using(own.settings), table[task.name]
        asked = [task.text]
        if wordings:
            asked += [s for t in load_prompt_set(task.prompts).wording_targets() for s in t.sentences]
        fits = scores[task.name][:, k].tolist() if task.name in scores else []
        for (row, picture), fit in zip(images[task.name], fits, strict=True):
            if group_mask(picture, task.concept) is not None:
                score(network, picture, asked, task.concept, found)
                found.groups.add(row.group)
                found.present.append(fit)
        if pictures and found.masks:
            draw_sheet([p for _, p in images[task.name]], task.concept, found, pictures / f"{task.name}.png")
        others = [other for other in tasks if other.concept != task.concept and other.task != task.task]
        absent = [value for other in others if other.name in scores for value in scores[other.name][:, k].tolist()]
        print(_row(task, found, absent, len(asked) - 1), flush=True)


def _row(task: Task, found: Scores, absent: list[float], wordings: int) -> str:
    """A task's line of the table; ``absent`` are its scores on images that do not show it."""
    labels = [True] * len(found.present) + [False] * len(absent)
    auc = presence_auc(found.present + absent, labels) if found.present and absent else float("nan")
    figures = [
        found.mean("always"),
        found.mean("nsd"),
        auc,
        *(found.mean(name) for name in ("box", "ellipse", "coarse", "true box")),
    ]
    cells = [task.picture, task.source, str(len(found.dice["text"])), str(len(found.groups))]
    cells += [f"**{found.mean('text'):.3f}**", *(f"{value:.3f}" for value in figures)]
    if wordings:
        of = [found.mean(f"wording {n}") for n in range(1, wordings + 1)]
        cells.append(f"{np.std(of):.3f} ({min(of):.2f} to {max(of):.2f})")
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    typer.run(main)
