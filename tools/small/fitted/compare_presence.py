"""Ways to decide whether a picture shows what a text names, side by side, on real images that no training saw.

    python -m tools.small.fitted.compare_presence DATA --limit 12

DATA holds open/segmentation.csv and segmentation.csv. Each task's text is asked of each task's images, where it is
known whether they show it.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from torch import Tensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.metrics.localisation import presence_auc
from medclipsam_monai.prompts import parse_targets
from medclipsam_monai.zero_shot.build import build_network
from medclipsam_monai.zero_shot.encoded import denials
from medclipsam_monai.zero_shot.network import ZeroShotSegmenter
from medclipsam_monai.zero_shot.presence import CalibratedPresence
from tools.small.measure import TASKS, read_task
from tools.small.pictures import Picture
from tools.small.texts.words import NAMES, PRESENT, UNKNOWN


def _candidates(network: ZeroShotSegmenter, presence: CalibratedPresence, picture: Picture) -> dict[str, Tensor]:
    """Every way to decide, as a score (K,) of each task's text in a picture."""
    texts = [task.text for task in TASKS]
    square = torch.from_numpy(picture.pixels.transpose(2, 0, 1).astype(np.float32) / 255)[None]
    encoder = network.encoder
    vectors, denied = encoder.encode_text(texts), encoder.encode_text(denials(texts))
    images = network.encode_images(square)
    image = images.vectors()
    fit, known = (image @ vectors.T)[0], (image @ presence.known.T)[0]
    scale = float(encoder.logit_scale)
    said = [((text,), (f"no {text}",)) for text in texts]
    nats = images.grids(
        network.saliency, [one for pair in said for one in pair], torch.stack([vectors, denied], 1).flatten(0, 1)
    )
    capacity = nats[0].mean(dim=(1, 2)).unflatten(0, (-1, 2))
    (found,) = network.segment_encoded(
        images, network.encode_texts(parse_targets({task.name: task.text for task in TASKS}))
    )
    masks = found.mask.float()[:, None]
    kept = encoder.encode_image(square * masks + (1 - masks) * square.mean())
    hidden = encoder.encode_image(square * (1 - masks) + masks * square.mean())
    own = (kept * vectors).sum(1) - (hidden * vectors).sum(1)
    others = (kept @ vectors.T - hidden @ vectors.T).masked_fill(_same_concept(), -torch.inf).amax(1)
    quality = torch.tensor([0.0 if value is None else value for value in found.quality])
    return {
        "logistic of fit, denial and known (chosen)": presence(image, vectors, denied)[0],
        "fit minus denial": fit - (image @ denied.T)[0],
        "fit minus best of what is known": fit - known.max(),
        "softmax among what is known": scale * fit - torch.logsumexp(scale * known, 0),
        "rank among what is known": (fit[:, None] >= known).float().mean(1),
        "capacity minus that of the denial, nats": capacity[:, 0] - capacity[:, 1],
        "capacity minus the mean of all texts, nats": capacity[:, 0] - capacity[:, 0].mean(),
        "mask shown minus mask hidden": own,
        "the same minus that of the best other text": own - others,
        "SAM's own quality": quality,
    }


def _same_concept() -> Tensor:
    concepts = [task.concept for task in TASKS]
    return torch.tensor([[one == other for other in concepts] for one in concepts])


def compare(network: ZeroShotSegmenter, presence: CalibratedPresence, data: Path, limit: int) -> str:
    """A table of the ways to decide, on the images of the test side: each task's text on each task's images."""
    present: dict[str, list[float]] = {}
    absent: dict[str, list[float]] = {}
    with torch.inference_mode():
        for task in TASKS:
            for _, picture in read_task(data, task, "test", limit):
                for name, scores in _candidates(network, presence, picture).items():
                    for asked, score in zip(TASKS, scores.tolist(), strict=True):
                        state = picture.state[NAMES.index(asked.concept)]
                        if state != UNKNOWN and asked.name != "breast_ultrasound_busi":
                            (present if state == PRESENT else absent).setdefault(name, []).append(score)
    lines = ["| way | AUC | absent ones painted where 5 % are lost |", "|---" * 3 + "|"]
    for name in present:
        there, gone = np.array(present[name]), np.array(absent[name])
        auc = presence_auc(np.r_[there, gone], [True] * len(there) + [False] * len(gone))
        lines.append(f"| {name} | {auc:.3f} | {painted_at(there, gone):.1%} |")
    lines.append(f"\n{len(there)} pairs that are there, {len(gone)} that are not.")
    return "\n".join(lines)


def painted_at(present: NDArray[np.float64], absent: NDArray[np.float64], lost: float = 0.05) -> float:
    """Share of absent ones painted where a share of those that are there is lost."""
    return float((absent >= np.quantile(present, lost)).mean())


def main(
    data: Annotated[Path, typer.Argument(help="Folder of open/segmentation.csv and segmentation.csv.")],
    preset: Annotated[str, typer.Option(help="A name or a JSON file with a presence.")] = "small",
    limit: Annotated[int, typer.Option(help="Images of each task; 0 for all.")] = 12,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Print a table, a row a way."""
    warnings.simplefilter("ignore")
    try:
        network = build_network(preset, device, settings={"presence_threshold": 0.0})
        if network.calibrated_presence is None:
            raise InputError(f"preset {preset} has no presence; fit it first (tools.small.fitted.presence)")
        typer.echo(compare(network, network.calibrated_presence, data, limit))
    except InputError as error:
        typer.echo(f"compare_presence: {error}", err=True)
        raise typer.Exit(2) from error


if __name__ == "__main__":
    typer.run(main)
