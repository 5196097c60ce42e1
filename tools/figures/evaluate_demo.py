"""Measure the demo weights on phantoms that training never used, against the floors they must reach.

    python -m tools.figures.evaluate_demo                                   # prints the tables
    python -m tools.figures.evaluate_demo --card --also run_0 --also run_1  # and writes them into the model card

Everything goes through the package as a user would: the network of the preset, one text a target, the same for all
of its pictures. Which targets are kept is decided on phantoms of other seeds than those the figures come from.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor

from medclipsam_monai.metrics.localisation import presence_auc
from medclipsam_monai.phantoms import TARGETS, TASKS, Phantom, make_phantom
from medclipsam_monai.phantoms.seeds import DEMO_EVALUATION, DEMO_SELECTION
from medclipsam_monai.presets.preset import load_preset
from medclipsam_monai.zero_shot.build import build_network
from medclipsam_monai.zero_shot.network import ZeroShotSegmenter

TEXTS = {
    "benign tumour": "benign tumor",
    "malignant tumour": "malignant tumor",
    "cyst": "cyst",
    "brain tumour": "brain tumor",
    "ventricles": "ventricles",
    "haematoma": "subdural hematoma",
    "lungs": "lungs",
    "heart": "heart",
    "pleural effusion": "pleural effusion",
    "lung mass": "lung mass",
    "pacemaker": "pacemaker",
    "liver": "liver",
    "kidneys": "kidneys",
}
RESOURCES = Path(__file__).resolve().parents[2] / "medclipsam_monai" / "resources" / "demo"
CARD = RESOURCES / "MODEL_CARD.md"
WANTED = {
    "targets": "8",
    "modalities": "4",
    "DSC by text, mean": "0.70",
    "DSC by text, lowest": "0.50",
    "presence AUC, mean": "0.92",
    "two targets: peak in the named one": "0.60",
    "two targets: peak in another, at most": "0.15",
    "SAM, boxes with 10 % jitter, DSC": "0.92",
}
_BEGIN, _END = "<!-- figures: begin -->", "<!-- figures: end -->"


@dataclass
class Scores:
    """What is gathered about one target of one task."""

    dice: list[float] = field(default_factory=list)
    coarse: list[float] = field(default_factory=list)
    box_dice: list[float] = field(default_factory=list)
    hit: list[float] = field(default_factory=list)
    other: list[float] = field(default_factory=list)
    presence: list[float] = field(default_factory=list)
    present: list[bool] = field(default_factory=list)

    @property
    def auc(self) -> float:
        return float(presence_auc(self.presence, self.present)) if 0 < sum(self.present) < len(self.present) else np.nan


Table = dict[tuple[str, str], Scores]
"""Scores by task and target."""


def dice(first: Tensor, second: Tensor) -> float:
    """Dice coefficient of two masks, 1 where both are empty."""
    total = int(first.sum() + second.sum())
    return 2 * int((first & second).sum()) / total if total else 1.0


def picture(phantom: Phantom) -> Tensor:
    """(1, 3, 256, 256) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(phantom.image)).float().expand(1, 3, -1, -1)


def jittered_box(mask: np.ndarray, rng: np.random.Generator) -> Tensor:
    """The box around a mask with each side moved by up to 10 % of the box's size, (1, 4)."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = np.array([columns[0], rows[0], columns[-1], rows[-1]], np.float32)
    box += rng.uniform(-0.1, 0.1, 4) * np.tile(box[2:] - box[:2], 2)
    return torch.from_numpy(np.clip(box, 0, 255).astype(np.float32))[None]


def score_phantom(network: ZeroShotSegmenter, phantom: Phantom, scores: dict[str, Scores]) -> None:
    """Add one phantom to its task's scores: all present targets in one call, presence of all."""
    image, rng = picture(phantom), np.random.default_rng(phantom.seed)
    names = TARGETS[phantom.task]
    embedding = network.encoder.encode_image(image)[0]
    for name in names:
        text = network.encoder.encode_text([TEXTS[name], f"no {TEXTS[name]}"])
        scores[name].presence.append(float(embedding @ (text[0] - text[1])))
        scores[name].present.append(name in phantom.masks)
    here = [name for name in names if name in phantom.masks]
    if not here:
        return
    images = network.encode_images(image)
    result = network.segment_encoded(images, network.encode_texts(_targets({name: TEXTS[name] for name in here})))[0]
    for k, name in enumerate(here):
        mask = torch.from_numpy(phantom.masks[name])
        scores[name].dice.append(dice(result.mask[k], mask))
        scores[name].coarse.append(dice(result.coarse[k], mask))
        boxed, _ = network.segmenter.decode(images.embeddings()[0], boxes=jittered_box(phantom.masks[name], rng))
        scores[name].box_dice.append(dice(boxed[0, 0].cpu() > 0.5, mask))
        if len(here) > 1:
            peak = np.unravel_index(int(result.saliency[k].argmax()), mask.shape)
            scores[name].hit.append(float(phantom.masks[name][peak]))
            scores[name].other.append(float(any(phantom.masks[o][peak] for o in here if o != name)))


def _targets(texts: dict[str, str]) -> Any:
    from medclipsam_monai.prompts import parse_targets

    return parse_targets(texts)


def evaluate(network: ZeroShotSegmenter, seeds: range) -> Table:
    """Scores of every target of every task over phantoms of some seeds of each."""
    table: Table = {}
    for task in TASKS:
        scores = {name: Scores() for name in TARGETS[task]}
        for seed in seeds:
            score_phantom(network, make_phantom(task, seed, captions=0), scores)
        table.update({(task, name): score for name, score in scores.items()})
    return table


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def table_lines(table: Table, kept: list[tuple[str, str]]) -> Iterator[str]:
    """Markdown: a row a target."""
    yield "| task | target | text | n | DSC | coarse DSC | box DSC | presence AUC | peak in it | peak in another |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for (task, name), s in table.items():
        star = "" if (task, name) in kept else " (not kept)"
        yield (
            f"| {task} | {name}{star} | {TEXTS[name]} | {len(s.dice)} | {_mean(s.dice):.2f} | {_mean(s.coarse):.2f} "
            f"| {_mean(s.box_dice):.2f} | {s.auc:.2f} | {_mean(s.hit):.2f} | {_mean(s.other):.2f} |"
        )


def floors(table: Table, kept: list[tuple[str, str]]) -> dict[str, float]:
    """The figures that have a floor, over the targets kept."""
    chosen = [table[pair] for pair in kept]
    means = [_mean(s.dice) for s in chosen]
    return {
        "targets": len(kept),
        "modalities": len({task for task, _ in kept}),
        "DSC by text, mean": float(np.mean(means)),
        "DSC by text, lowest": float(np.min(means)),
        "presence AUC, mean": float(np.mean([s.auc for s in chosen])),
        "two targets: peak in the named one": _mean([h for s in chosen for h in s.hit]),
        "two targets: peak in another, at most": _mean([h for s in chosen for h in s.other]),
        "SAM, boxes with 10 % jitter, DSC": _mean([d for s in chosen for d in s.box_dice]),
    }


def floor_lines(shipped: dict[str, float], rebuilt: list[dict[str, float]]) -> Iterator[str]:
    """Markdown: a row a floor, and a column for all runs of the training, that of what is shipped among them."""
    extra = [f"{len(rebuilt) + 1} training seeds, mean ± sd |", "---|"] if rebuilt else ["", ""]
    yield f"| floor, over the targets kept | wanted | shipped | {extra[0]}".rstrip()
    yield f"|---|---|---|{extra[1]}"
    for name, wanted in WANTED.items():
        digits = 0 if name in ("targets", "modalities") else 3
        row = f"| {name} | {wanted} | {shipped[name]:.{digits}f} |"
        if rebuilt:
            values = [run[name] for run in (shipped, *rebuilt)]
            spread = f" ± {np.std(values, ddof=1):.3f}" if digits else ""
            row += f" {np.mean(values):.{digits}f}{spread} |"
        yield row
    size = sum(p.stat().st_size for p in RESOURCES.rglob("*.safetensors")) / 1e6
    yield f"| weights in MB, at most | 30 | {size:.1f} |" + (" |" if rebuilt else "")


def write_card(lines: list[str], card: Path) -> None:
    """Put the figures between the card's two marks."""
    before, rest = card.read_text(encoding="utf-8").split(_BEGIN)
    after = rest.split(_END)[1]
    card.write_text(f"{before}{_BEGIN}\n" + "\n".join(lines) + f"\n{_END}{after}", encoding="utf-8")


def is_kept(scores: Scores) -> bool:
    """Whether a target reaches the floors on the phantoms that select: DSC beyond chance (two standard errors), and
    presence."""
    margin = 2 * float(np.std(scores.dice, ddof=1)) / len(scores.dice) ** 0.5 if len(scores.dice) > 1 else np.inf
    return _mean(scores.dice) - margin >= float(WANTED["DSC by text, lowest"]) and scores.auc >= float(
        WANTED["presence AUC, mean"]
    )


def targets_kept(network: ZeroShotSegmenter, count: int) -> list[tuple[str, str]]:
    """The targets that the phantoms which select keep."""
    kept = [pair for pair, scores in evaluate(network, DEMO_SELECTION.seeds(count)).items() if is_kept(scores)]
    if not kept:
        raise SystemExit("no target reaches the floors on the phantoms that select")
    return kept


def main(
    count: Annotated[int, typer.Option(help="Phantoms of each task to report on.")] = 100,
    selection: Annotated[int, typer.Option(help="Other phantoms of each task, which decide what is kept.")] = 200,
    preset: Annotated[str, typer.Option(help="Preset to measure.")] = "demo",
    clip: Annotated[str | None, typer.Option(help="CLIP folder in place of the preset's.")] = None,
    sam: Annotated[str | None, typer.Option(help="SAM folder in place of the preset's.")] = None,
    also: Annotated[list[Path] | None, typer.Option(help="Folders of demo_models, other seeds of it.")] = None,
    settings: Annotated[str, typer.Option(help="Parameters changed, as JSON.")] = "{}",
    card: Annotated[bool, typer.Option(help="Write the figures into the model card.")] = False,
) -> None:
    """Measure the demo weights on held-out phantoms."""
    changed = json.loads(settings)
    network = build_network(preset, "cpu", clip, sam, settings=changed)
    kept = targets_kept(network, selection)
    seeds = DEMO_EVALUATION.seeds(count)
    table = evaluate(network, seeds)
    rebuilt = []
    for run in also or []:
        own_sam = str(run / "sam") if (run / "sam").is_dir() else sam
        other = build_network(preset, "cpu", str(run / "clip"), own_sam, settings=changed)
        rebuilt.append(floors(evaluate(other, seeds), kept))
    chosen = load_preset(preset).with_settings(changed).parameters
    lines = [
        f"Seeds {seeds[0]} to {seeds[-1]} of each task. Kept is a target that on {selection} other "
        f"phantoms of its task, seeds from {DEMO_SELECTION.first} on, has a mean DSC less two standard errors of "
        f"{WANTED['DSC by text, lowest']} or more, and a presence AUC of {WANTED['presence AUC, mean']} or more.",
        "",
    ]
    lines += [f"Parameters: `{json.dumps({key: chosen[key] for key in ('saliency', 'coarse', 'prompts')})}`", ""]
    lines += [*table_lines(table, kept), "", *floor_lines(floors(table, kept), rebuilt)]
    print("\n".join(lines))
    if card:
        write_card(lines, CARD)


if __name__ == "__main__":
    typer.run(main)
