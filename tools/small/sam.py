"""Training of the small SAM on real images and phantoms, from the demo's weights on.

As `tools.training.sam` trains the demo's; here every picture is varied anew, and where a target is many small things
(cell nuclei) a prompt may mean one of them, those of a region, or all.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from segment_anything.modeling import Sam
from torch import Tensor

from medclipsam_monai.base.devices import autocast
from medclipsam_monai.networks.sam.sizes import PIXEL_MEAN, build_sam
from medclipsam_monai.weights.state_dicts import load_exactly, read_state_dict
from tools.small.clip import Draw
from tools.small.pictures import Picture
from tools.small.texts.words import CONCEPTS
from tools.small.together import average
from tools.small.variation import place, shades
from tools.training.sam import (
    DEMO_SAM,
    Prompts,
    box_of,
    embed_prompts,
    jitter_box,
    learning_rate,
    mask_loss,
    points_in,
    predict,
    save_sam,
)

_log = logging.getLogger(__name__)
_SIDE = DEMO_SAM.image_size
_GRIDS = (14, 28, 28)  # of saliency maps whose boxes are imitated
_FEWEST = 30  # pixels of a mask
MOST_POINTS = 5
_PADDING = torch.tensor(PIXEL_MEAN).view(3, 1, 1)


def sample_prompts(pictures: list[Picture], per_image: int, rng: np.random.Generator) -> Prompts:
    """Varied pictures, random masks of theirs, and prompts from exact to as poor as a saliency map makes them.

    All prompts of a batch are boxes, points, or both, with as many points each, as they are where SAM is used: a token
    that says "no point" is felt, and a network trained with it beside each box draws less where it is missing.
    """
    most = int(rng.integers(0, MOST_POINTS + 1))
    boxed = most == 0 or rng.random() < 0.7
    shape = (len(pictures), per_image)
    image = torch.zeros(len(pictures), 3, _SIDE, _SIDE)
    mask = np.zeros((*shape, _SIDE, _SIDE), bool)
    box = np.full((*shape, 4), np.nan, np.float32)
    point = np.zeros((*shape, most, 2), np.float32)
    label = np.full((*shape, most), -1, np.int64)
    for b, picture in enumerate(pictures):
        placed = place(picture, _SIDE, letterbox=True, rng=rng)
        image[b] = torch.where(placed.padding, _PADDING, 255 * placed.pixels(shades(picture, rng)))
        names = list(picture.masks)
        masks = np.zeros((0, _SIDE, _SIDE), bool)
        if names:
            masks = placed.masks(np.stack([picture.masks[name] for name in names])).numpy() > 0.5
        for p in range(per_image):
            chosen = _choose_mask(names, masks, rng)
            mask[b, p] = chosen
            if most:
                point[b, p], label[b, p] = points_in(chosen, rng, rng.random() < 0.2, most)
            if boxed and chosen.any():
                box[b, p] = _some_box(box_of(chosen), rng)
    return Prompts(image, torch.from_numpy(mask), *(torch.from_numpy(x) for x in (box, point, label)))


def _some_box(box: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    kind = rng.random()
    if kind < 0.35:
        return jitter_box(box, 0.1, rng)
    return jitter_box(box, 0.25, rng) if kind < 0.5 else _coarse_box(box, rng)


def prompt_tokens(sam: Sam, box: Tensor, point: Tensor, label: Tensor) -> Tensor:
    """Tokens (Q, T, C) of Q prompts as segment_anything makes them for boxes (Q, 4), points (Q, P, 2), or both.

    Where no prompt has a box one "no point" ends the points; where some have none, see `embed_prompts`.
    """
    if box.isnan().all():
        return sam.prompt_encoder._embed_points(point, label, pad=True)
    return embed_prompts(sam, box, point, label)


def _coarse_box(box: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """What a thresholded saliency map gives: sides on its cells' borders, a cell off at times."""
    cell = _SIDE / int(rng.choice(_GRIDS))
    low = np.floor(box[:2] / cell + rng.uniform(-0.6, 0.6, 2))
    high = np.ceil(box[2:] / cell + rng.uniform(-0.6, 0.6, 2))
    return np.clip(np.concatenate([low, np.maximum(high, low + 1)]) * cell, 0, _SIDE - 1).astype(np.float32)


def _choose_mask(names: list[str], masks: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """One of a picture's masks or of the pieces of one; most of the time one of its named targets."""
    order = list(rng.permutation(len(names)))
    if rng.random() < 0.6:
        order.sort(key=lambda k: names[k] not in CONCEPTS)
    for k in order:
        mask = masks[k]
        roll = rng.random()
        if names[k] == "cell nuclei" and roll < 0.8:
            mask = _one_piece(mask, rng) if roll < 0.4 else _region(mask, rng)
        elif roll < 0.2:
            mask = _one_piece(mask, rng)
        if mask.sum() >= _FEWEST:
            return mask
    return np.zeros((_SIDE, _SIDE), bool)


def _one_piece(mask: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    labels, count = ndimage.label(mask)
    return np.asarray(labels == rng.integers(1, count + 1)) if count > 1 else mask


def _region(mask: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """What a window of some size shows of a mask."""
    side = int(rng.integers(24, 160))
    top, left = (int(rng.integers(0, _SIDE - side + 1)) for _ in range(2))
    shown = np.zeros_like(mask)
    shown[top : top + side, left : left + side] = mask[top : top + side, left : left + side]
    return shown


def train_sam(
    draw: Draw,
    output: Path,
    device: torch.device,
    start: Path,
    steps: int,
    seed: int = 0,
    batch: int = 8,
    per_image: int = 6,
    peak: float = 6e-4,
    worker: int = 0,
    workers: int = 1,
) -> Sam:
    """Go on with a SAM of the demo's size, and save it; a run that was cut off goes on where it was saved last.

    Args:
        draw: gives pictures.
        output: folder for config.json and sam.safetensors.
        device: where to train.
        start: folder of the weights to go on from.
        steps: optimiser steps.
        seed: of order, variation and prompts.
        batch: pictures a step.
        per_image: masks a picture.
        peak: highest learning rate.
        worker: number of this process.
        workers: how many train together, each with its share of the pictures.
    """
    sam = build_sam(DEMO_SAM)
    load_exactly(sam, read_state_dict(start / "sam.safetensors"), str(start))
    sam = sam.float().train().to(device)
    optimiser = torch.optim.AdamW(sam.parameters(), lr=peak, weight_decay=0.05, betas=(0.9, 0.98))
    checkpoint, done = output.parent / "sam.checkpoint", 0
    if checkpoint.is_file():
        state = torch.load(checkpoint, weights_only=True)
        sam.load_state_dict(state["sam"])
        optimiser.load_state_dict(state["optimiser"])
        done = state["done"]
    started, running, before = time.perf_counter(), 0.0, done
    while done < steps:
        rng = np.random.default_rng((seed, done, worker))
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(done / steps, peak)
        batch_of = sample_prompts(draw(batch // workers, rng), per_image, rng)
        prompts = (x.flatten(0, 1).to(device) for x in (batch_of.box, batch_of.point, batch_of.label))
        with autocast(device):
            logits, quality = predict(sam, batch_of.image.to(device), prompt_tokens(sam, *prompts))
        truth = F.avg_pool2d(batch_of.mask.flatten(0, 1).to(device).float().unsqueeze(1), 4).squeeze(1)
        loss, dice = mask_loss(logits, quality, truth)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        average(sam.parameters(), workers)
        torch.nn.utils.clip_grad_norm_(sam.parameters(), 1.0)
        optimiser.step()
        done += 1
        running += 0.02 * (float(dice.detach()) - running)
        if done % 100 == 0:
            pace = (time.perf_counter() - started) / (done - before)
            _log.info("sam step %d: dice %.3f, %.2f s a step", done, running, pace)
        if not worker and (done % 500 == 0 or done == steps):
            part = checkpoint.with_suffix(".part")
            torch.save({"sam": sam.state_dict(), "optimiser": optimiser.state_dict(), "done": done}, part)
            part.replace(checkpoint)
            save_sam(sam, output)
    return sam.eval()
