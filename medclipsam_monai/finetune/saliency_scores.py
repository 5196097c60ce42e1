"""How well a CLIP's saliency points at what a text names, on images with masks: what fine-tuning is for in the end."""

from __future__ import annotations

import copy
import csv
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from ignite.engine import Engine, Events
from torch import Tensor, nn

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.finetune.data.dataset import PHANTOMS
from medclipsam_monai.finetune.network import unwrapped
from medclipsam_monai.io import read_image
from medclipsam_monai.metrics import pointing_game, score_masks
from medclipsam_monai.networks.clip.encoder import CLIPEncoder
from medclipsam_monai.phantoms import TASKS, make_phantom
from medclipsam_monai.phantoms.seeds import SALIENCY_SCORES
from medclipsam_monai.presets.preset import load_preset
from medclipsam_monai.saliency.method import make_saliency
from medclipsam_monai.transforms import DisplayRange
from medclipsam_monai.transforms.coarse import make_coarse

_log = logging.getLogger(__name__)
_COLUMNS = ("image", "mask", "target")


@dataclass(frozen=True)
class MaskedImage:
    """An image, what to look for in it and where that is.

    Attributes:
        image: (3, H, W) in [0, 1].
        text: what the mask shows.
        mask: (H, W) bool.
    """

    image: Tensor
    text: str
    mask: Tensor


def read_masked_images(source: str | Path, count: int) -> Iterator[MaskedImage]:
    """Images with masks.

    Args:
        source: "phantoms", or a CSV with the columns image, mask and target, paths from its own folder. Images whose
            mask is empty are passed over, as nothing can be pointed at.
        count: how many at most.

    Raises:
        InputError: if the table is missing or lacks a column, or a file cannot be used.
    """
    return _phantoms(count) if source == PHANTOMS else _from_table(Path(source), count)


def _phantoms(count: int) -> Iterator[MaskedImage]:
    made = 0
    for seed in SALIENCY_SCORES.seeds(SALIENCY_SCORES.count):
        for task in TASKS:
            phantom = make_phantom(task, seed, captions=0)
            image = torch.from_numpy(np.ascontiguousarray(phantom.image)).expand(3, -1, -1)
            for name, mask in phantom.masks.items():
                if made == count:
                    return
                yield MaskedImage(image, name, torch.from_numpy(mask))
                made += 1


def _from_table(path: Path, count: int) -> Iterator[MaskedImage]:
    if not path.is_file():
        raise InputError(f"table of masks not found: {path}")
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = [column for column in _COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise InputError(f"{path} has no column {missing[0]!r}; expected {', '.join(_COLUMNS)}")
        made = 0
        for row in reader:
            mask = read_image(path.parent / row["mask"]).as_tensor()[0] > 0
            image = DisplayRange().view(read_image(path.parent / row["image"]))
            if tuple(mask.shape) != tuple(image.shape[1:]):
                raise InputError(f"{row['mask']} is {tuple(mask.shape)}, its image {tuple(image.shape[1:])}")
            if mask.any():
                yield MaskedImage(image, row["target"], mask)
                made += 1
            if made == count:
                return


class SaliencyScores:
    """An evaluator's handler: "saliency_pointing_game" and "saliency_dsc" (of the coarse mask), means over images.

    Args:
        network: a `ContrastiveCLIP`; a copy is used, so training goes on undisturbed.
        masks: see `read_masked_images`.
        preset: whose saliency and coarse mask are used.
        count: images at most.
    """

    def __init__(self, network: nn.Module, masks: str | Path, preset: str = "demo", count: int = 50) -> None:
        self.network = unwrapped(network)
        self.masks = masks
        self.preset = load_preset(preset)
        self.count = count

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        network = self.network
        encoder = CLIPEncoder(copy.deepcopy(network.clip), network.tokenizer, network.preprocess)
        engine.state.metrics.update(self.measure(encoder))

    def measure(self, encoder: CLIPEncoder) -> dict[str, float]:
        """The two figures of an encoder."""
        saliency, coarse = make_saliency(self.preset.settings.saliency), make_coarse(self.preset.settings.coarse)
        hits, dsc = [], []
        for item in read_masked_images(self.masks, self.count):
            maps = saliency(encoder, item.image.unsqueeze(0), encoder.encode_text([item.text]))[0].cpu()
            truth = item.mask.unsqueeze(0)
            hits.append(float(pointing_game(maps, truth)[0]))
            dsc.append(score_masks(coarse(maps, item.image), truth).dsc[0])
        if not hits:
            raise InputError(f"{self.masks} holds no image with a mask that is not empty")
        _log.info("saliency of %d images: pointing game %.3f, DSC %.3f", len(hits), _mean(hits), _mean(dsc))
        return {"saliency_pointing_game": _mean(hits), "saliency_dsc": _mean(dsc)}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
