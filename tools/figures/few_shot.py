"""Measure segmentation by a few labelled examples, and SaLIP and SAMAug, beside segmentation by text on real images.

    python -m tools.figures.few_shot DATA --limit 12        # the table of docs/results/index.md
    python -m tools.figures.few_shot DATA --half choose     # to choose parameters by

Examples are drawn from the images that training saw, targets are those held out, patient by patient, as
`tools.small.measure` splits them; each number of examples is drawn anew so often as `--draws` says, of the pictures
that show the target, and the mean is told. No presence is asked: every image shows its target.
"""

from __future__ import annotations

import json
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor

from medclipsam_monai.base.devices import resolve_device
from medclipsam_monai.io.examples import MOST_EXAMPLES, Examples
from medclipsam_monai.metrics import score_masks
from medclipsam_monai.networks.universeg import UniverSeg, load_universeg
from medclipsam_monai.presets.preset import load_preset
from medclipsam_monai.prompts import TextLike, parse_targets
from medclipsam_monai.study.report import markdown
from medclipsam_monai.study.rivals.few_shot import by_prototypes, by_universeg
from medclipsam_monai.study.rivals.table import METHODS, Rival
from medclipsam_monai.zero_shot.build import build_network
from medclipsam_monai.zero_shot.encoded import EncodedImages, EncodedTexts
from medclipsam_monai.zero_shot.examples.network import ExampleSegmenter
from medclipsam_monai.zero_shot.network import ZeroShotSegmenter
from tools.small.measure import TASKS, Half, Task, read_halves
from tools.small.pictures import group_mask, read_pictures

Pair = tuple[Tensor, Tensor]


def labelled(data: Path, task: Task, halves: Sequence[str], limit: int, seed: int | None = None) -> list[Pair]:
    """Pictures (3, H, W) of a task that show its target, with their masks (H, W).

    Args:
        data: folder of the tables.
        task: what is looked for.
        halves: "train", "choose", "test".
        limit: how many at most.
        seed: of the order in which they are drawn; None for evenly over the table.
    """
    rows = read_halves(data, task, halves)
    if seed is None:
        order: Iterable[int] = np.linspace(0, len(rows) - 1, min(limit or len(rows), len(rows))).round().astype(int)
    else:
        order = np.random.default_rng(seed).permutation(len(rows))
    found: list[Pair] = []
    for k in order:
        picture = read_pictures([rows[k]])[0]
        mask = group_mask(picture, task.concept)
        if mask is not None:
            pixels = torch.from_numpy(picture.pixels.transpose(2, 0, 1).astype(np.float32) / 255)
            found.append((pixels, torch.from_numpy(mask)))
        if limit and len(found) == limit:
            break
    return found


def ways(
    network: ZeroShotSegmenter,
    text: str,
    pool: Sequence[Pair],
    numbers: Sequence[int],
    draws: int,
    universeg: UniverSeg | None = None,
) -> Iterator[tuple[str, Callable[..., Tensor]]]:
    """Each way to segment: its name, and one picture to a mask (H, W) bool; a way may come several times.

    Args:
        network: whose networks are used.
        text: what is looked for.
        pool: pictures to draw examples from.
        numbers: of examples.
        draws: of each number.
        universeg: another network that is shown the same examples.
    """
    texts = network.encode_texts(parse_targets(text))
    yield "text", partial(_chain, network, text)
    for name, rival in METHODS.items():
        yield name, partial(_rival, rival, network, texts)
    for count in numbers:
        for draw in range(draws):
            drawn = [pool[k % len(pool)] for k in range(draw * count, (draw + 1) * count)]
            pictures, masks = zip(*drawn, strict=True)
            examples = Examples(pictures, masks)
            shown = ExampleSegmenter(network, examples)
            yield f"{count} examples", partial(by_prototypes, shown)
            yield f"{count} and text", partial(_chain, shown, text)
            if universeg is not None:
                yield f"{count}, UniverSeg", partial(by_universeg, universeg, examples)


def _chain(network: ZeroShotSegmenter, asked: TextLike, images: EncodedImages) -> Tensor:
    (found,) = network.segment_encoded(images, network.encode_texts(parse_targets(asked)))
    return found.mask[0]


def _rival(rival: Rival, network: ZeroShotSegmenter, texts: EncodedTexts, images: EncodedImages) -> Tensor:
    return rival(network, images, texts)


def main(
    data: Annotated[Path, typer.Argument(help="Folder of open/segmentation.csv and segmentation.csv.")],
    preset: Annotated[str, typer.Option(help="A name or a JSON file.")] = "small",
    half: Annotated[Half, typer.Option(help="Which images count.")] = Half.test,
    limit: Annotated[int, typer.Option(help="Images of each task; 0 for all.")] = 0,
    examples: Annotated[list[int] | None, typer.Option(help="How many; repeatable.")] = None,
    draws: Annotated[int, typer.Option(min=1, help="Draws of each number of examples.")] = 2,
    universeg: Annotated[Path | None, typer.Option(help="File of UniverSeg's weights, to be measured beside.")] = None,
    rivals: Annotated[bool, typer.Option(help="SaLIP and SAMAug, too.")] = True,
    only: Annotated[list[str] | None, typer.Option(help="One task; repeatable.")] = None,
    setting: Annotated[list[str] | None, typer.Option(help="NAME=JSON of a setting; repeatable.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Print a table of DSC, a row a task, a column a way to ask."""
    warnings.simplefilter("ignore")
    changes = {key: json.loads(value) for key, value in (one.split("=", 1) for one in setting or [])}
    chosen = load_preset(preset).with_settings({"presence_threshold": 0.0, **changes})
    other = None if universeg is None else load_universeg(universeg, resolve_device(device))
    base, numbers = build_network(chosen, device), examples or [1, 4, MOST_EXAMPLES]
    lines: list[list[object]] = []
    header: list[str] = []
    for task in (task for task in TASKS if not only or task.name in only):
        own = chosen.for_task(task.prompts if task.prompts in chosen.tasks else None)
        network, scores = base.using(own.settings), defaultdict[str, list[float]](list)
        pool = labelled(data, task, ("train",), max(numbers) * draws, seed=0)
        targets = labelled(data, task, (half.value,), limit)
        encoded = [network.encode_images(picture[None]) for picture, _ in targets]
        for name, way in ways(network, task.text, pool, numbers, draws, other):
            if name in METHODS and not rivals:
                continue
            for images, (_, truth) in zip(encoded, targets, strict=True):  # encodings are kept from way to way
                scores[name].append(float(score_masks(way(images=images)[None], truth[None]).dsc[0]))
        header = ["text and picture", "set", "n", *scores]
        lines.append([task.picture, task.source, len(targets), *(float(np.mean(one)) for one in scores.values())])
        typer.echo(f"{task.name}: {len(targets)} images", err=True)
    means = [float(np.mean([line[k] for line in lines])) for k in range(3, len(header))]
    print(markdown(header, [*lines, ["mean of the rows", "", "", *means]]))


if __name__ == "__main__":
    typer.run(main)
