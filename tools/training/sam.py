"""Training of the small SAM: any structure of a phantom from a box, points or both, good prompts and poor ones.

segment_anything's own network at 256 pixels. Its masks are 64 x 64; the loss compares them with masks averaged to that
grid, so that a border may lie between its pixels. Binary cross entropy plus Dice: SAM's own 20 parts of focal loss
never lift off from random weights.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save_file
from scipy import ndimage
from segment_anything.modeling import Sam
from torch import Tensor

from medclipsam_monai.base.devices import autocast
from medclipsam_monai.finetune.schedules import warmup_cosine
from medclipsam_monai.networks.sam.sizes import SamSize, build_sam
from medclipsam_monai.weights.state_dicts import load_exactly, read_state_dict
from tools.training.corpus import Corpus

DEMO_SAM = SamSize(
    encoder_embed_dim=192,
    encoder_depth=6,
    encoder_num_heads=3,
    encoder_global_attn_indexes=(2, 5),
    image_size=256,
    window_size=8,
    prompt_embed_dim=128,
    decoder_mlp_dim=512,
    decoder_num_heads=8,
    iou_head_hidden_dim=128,
)
POINTS = 3
_GRID = 14
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prompts:
    """One batch: images (B, 3, 256, 256) in 0..255, masks (B, P, 256, 256) and their prompts.

    Boxes are (B, P, 4); one of NaN is no box. Points are (B, P, 3, 2) with labels (B, P, 3), -1 for no point.
    """

    image: Tensor
    mask: Tensor
    box: Tensor
    point: Tensor
    label: Tensor


def jitter_box(box: NDArray[np.float32], amount: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Move each side of a box x0, y0, x1, y1 by up to `amount` of the box's width or height."""
    size = np.tile(box[2:] - box[:2], 2)
    return np.clip(box + rng.uniform(-amount, amount, 4) * size, 0, 255).astype(np.float32)


def box_of(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The box around a mask, x0, y0, x1, y1, first and last pixel."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return np.array([columns[0], rows[0], columns[-1], rows[-1]], np.float32)


def _coarse_box(box: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """What a thresholded saliency map of 14 x 14 cells gives: sides on the cells' borders, a cell off at times."""
    cell = 256 / _GRID
    low = np.floor(box[:2] / cell + rng.uniform(-0.6, 0.6, 2))
    high = np.ceil(box[2:] / cell + rng.uniform(-0.6, 0.6, 2))
    return np.clip(np.concatenate([low, np.maximum(high, low + 1)]) * cell, 0, 255).astype(np.float32)


def points_in(
    mask: NDArray[np.bool_], rng: np.random.Generator, negative: bool, most: int = POINTS
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """One to `most` points, the first inside; the last one outside if `negative`."""
    point, label = np.zeros((most, 2), np.float32), np.full(most, -1, np.int64)
    count = int(rng.integers(1, most + 1))
    for k in range(count):
        inside = not (negative and k == count - 1 and k > 0)
        rows, columns = np.nonzero(mask if inside else ~mask)
        if len(rows):
            chosen = rng.integers(len(rows))
            point[k], label[k] = (columns[chosen], rows[chosen]), int(inside)
    return point, label


def _choose_mask(corpus: Corpus, index: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """One of a phantom's masks, at times one connected piece of it; half of the time one of its named targets.

    A target is rarer than the structures around it: picked evenly, thin ones (a haematoma's crescent) are learnt badly.
    """
    names = corpus.names[index]
    bits = list(rng.permutation(len(names)))
    if rng.random() < 0.5:
        bits.sort(key=lambda bit: names[bit].startswith("part: "))
    for bit in bits:
        mask = (corpus.masks[index] >> np.uint16(bit) & 1).astype(bool)
        if rng.random() < 0.25:
            labels, count = ndimage.label(mask)
            mask = labels == rng.integers(1, count + 1) if count > 1 else mask
        if mask.sum() >= 60:
            return mask
    return np.zeros((256, 256), bool)


def sample_prompts(corpus: Corpus, indices: NDArray[np.int64], per_image: int, rng: np.random.Generator) -> Prompts:
    """Random masks of the given phantoms with prompts from exact to as poor as a saliency map makes them."""
    shape = (len(indices), per_image)
    image = np.empty((len(indices), 256, 256), np.float32)
    mask = np.zeros((*shape, 256, 256), bool)
    box = np.full((*shape, 4), np.nan, np.float32)
    point = np.zeros((*shape, POINTS, 2), np.float32)
    label = np.full((*shape, POINTS), -1, np.int64)
    for b, index in enumerate(indices):
        gamma = np.exp(rng.normal(0, 0.25))
        image[b] = 255 * (corpus.images[index] / np.float32(255)) ** np.float32(gamma)
        flips = tuple(axis for axis, chance in enumerate((0.15, 0.5)) if rng.random() < chance)
        image[b] = np.flip(image[b], flips)
        for p in range(per_image):
            chosen = np.flip(_choose_mask(corpus, int(index), rng), flips)
            mask[b, p] = chosen
            kind = rng.random()
            if not chosen.any() or kind < 0.25:
                point[b, p], label[b, p] = points_in(chosen, rng, rng.random() < 0.4)
                if kind >= 0.12 and chosen.any():
                    box[b, p] = _coarse_box(box_of(chosen), rng)
            elif kind < 0.6:
                box[b, p] = jitter_box(box_of(chosen), 0.1, rng)
            elif kind < 0.75:
                box[b, p] = jitter_box(box_of(chosen), 0.25, rng)
            else:
                box[b, p] = _coarse_box(box_of(chosen), rng)
    rgb = torch.from_numpy(image)[:, None].expand(-1, 3, -1, -1)
    return Prompts(rgb, torch.from_numpy(mask), *(torch.from_numpy(x) for x in (box, point, label)))


def embed_prompts(sam: Sam, box: Tensor, point: Tensor, label: Tensor) -> Tensor:
    """Prompts of Q masks to tokens (Q, T, C) as PromptEncoder makes them, where some have no box and some no point.

    Rows of a batch must be equally long: a missing box becomes two tokens for "no point", which is what the network
    is shown for padding anyway.
    """
    encoder = sam.prompt_encoder
    points = encoder._embed_points(point + 0.0, label, pad=False)
    missing = box.isnan().any(dim=-1)
    corners = encoder._embed_boxes(box.nan_to_num(0.0))
    padding = encoder.not_a_point_embed.weight.unsqueeze(0).expand_as(corners)
    return torch.cat([points, torch.where(missing[:, None, None], padding, corners)], dim=1)


def predict(sam: Sam, image: Tensor, sparse: Tensor) -> tuple[Tensor, Tensor]:
    """All four masks of B pictures with P prompts each: logits (B * P, 4, 64, 64) and qualities (B * P, 4)."""
    embedding = sam.image_encoder(sam.preprocess(image))
    repeats = len(sparse) // len(image)
    decoder, encoder = sam.mask_decoder, sam.prompt_encoder
    tokens = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight]).unsqueeze(0)
    tokens = torch.cat([tokens.expand(len(sparse), -1, -1), sparse], dim=1)
    source = embedding.repeat_interleave(repeats, dim=0) + encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
    position = encoder.get_dense_pe().expand(len(source), -1, -1, -1)
    out, mixed = decoder.transformer(source, position, tokens)
    up = decoder.output_upscaling(mixed.transpose(1, 2).reshape(source.shape))
    hyper = torch.stack([mlp(out[:, 1 + i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)], dim=1)
    return (hyper @ up.flatten(2)).unflatten(-1, up.shape[-2:]), decoder.iou_prediction_head(out[:, 0])


def mask_loss(logits: Tensor, quality: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Loss of all four masks against soft truth (Q, 64, 64), and the mean Dice coefficient of the first.

    The first mask is for clear prompts and always learns; of the other three only the best does, as in SAM.
    """
    logits, quality = logits.float(), quality.float()
    truth = mask.unsqueeze(1)
    probability = logits.sigmoid()
    overlap, total = (probability * truth).sum((2, 3)), (probability + truth).sum((2, 3))
    dice = (2 * overlap + 1) / (total + 1)
    entropy = F.binary_cross_entropy_with_logits(logits, truth.expand_as(logits), reduction="none").mean((2, 3))
    each = 1 - dice + entropy
    with torch.no_grad():
        hard = logits > 0
        both = (hard & (truth > 0.5)).sum((2, 3))
        iou = both / (hard | (truth > 0.5)).sum((2, 3)).clamp_min(1)
        first = 2 * both[:, 0] / (hard[:, 0].sum((1, 2)) + (mask > 0.5).sum((1, 2))).clamp_min(1)
    loss = each[:, 0].mean() + 0.5 * each[:, 1:].amin(1).mean() + F.mse_loss(quality, iou)
    return loss, first.mean()


def learning_rate(elapsed: float, peak: float, warmup: float = 0.03) -> float:
    """Linear warm-up, then a cosine to 1 % of the peak; `elapsed` is the share of the training that is over."""
    if elapsed < warmup:
        return peak * (elapsed + 1e-3) / warmup
    return peak * (0.01 + 0.99 * warmup_cosine(elapsed, 0, 1))


def train_sam(
    corpus: Corpus,
    output: Path,
    device: torch.device,
    steps: int = 8_000,
    seed: int = 0,
    batch: int = 8,
    per_image: int = 6,
    peak: float = 1e-3,
    start: Path | None = None,
) -> Sam:
    """Train and save.

    Args:
        corpus: pictures to train on.
        output: folder for config.json and sam.safetensors.
        device: where to train.
        steps: optimiser steps.
        seed: of weights, order and prompts.
        batch: pictures a step.
        per_image: masks a picture.
        peak: highest learning rate.
        start: weights to go on from, as `save_sam` writes them; None starts from random ones.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    sam = build_sam(DEMO_SAM)
    if start is not None:
        load_exactly(sam, read_state_dict(start / "sam.safetensors"), str(start))
    sam = sam.float().train().to(device)
    optimiser = torch.optim.AdamW(sam.parameters(), lr=peak, weight_decay=0.05, betas=(0.9, 0.98))
    started, running = time.perf_counter(), 0.0
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step / steps, peak)
        batch_of = sample_prompts(corpus, rng.integers(0, len(corpus), batch), per_image, rng)
        prompts = (x.flatten(0, 1).to(device) for x in (batch_of.box, batch_of.point, batch_of.label))
        with autocast(device):
            logits, quality = predict(sam, batch_of.image.to(device), embed_prompts(sam, *prompts))
        truth = F.avg_pool2d(batch_of.mask.flatten(0, 1).to(device).float().unsqueeze(1), 4).squeeze(1)
        loss, dice = mask_loss(logits, quality, truth)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(sam.parameters(), 1.0)
        optimiser.step()
        running += 0.02 * (float(dice) - running)
        if step % 100 == 99:
            _log.info("sam step %d: dice %.3f, %.0f s", step + 1, running, time.perf_counter() - started)
        if step % 500 == 499:
            save_sam(sam, output)
    save_sam(sam, output)
    return sam.eval()


def save_sam(sam: Sam, folder: Path) -> None:
    """Write config.json and sam.safetensors (float16) for `load_sam`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(asdict(DEMO_SAM), indent=4) + "\n")
    state = {name: value.detach().to(torch.float16).contiguous() for name, value in sam.state_dict().items()}
    save_file(state, folder / "sam.safetensors")
