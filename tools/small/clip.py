"""Training of the small CLIP on real images and phantoms: DHN-NCE, presence, and grounding by masks.

As `tools.training.clip` trains the demo's, with what real images ask for: what nobody has told of a picture is no
negative, every picture is varied anew, and the pictures of a batch come from all kinds.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from medclipsam_monai.base.devices import autocast
from medclipsam_monai.losses import contrastive_loss
from medclipsam_monai.weights.clip_folder import build_clip
from medclipsam_monai.weights.pyramid_vit import IMAGE_SIZE, STRIDE
from tools.small.pictures import Picture, group_mask
from tools.small.texts.vocabulary import start_from
from tools.small.texts.words import ABSENT, CONCEPTS, NAMES, PRESENT, may_hold, say, say_stranger, true_caption
from tools.small.together import average
from tools.small.variation import place, shades
from tools.training.clip import encode_sentences, vision_tokens
from tools.training.clip_files import PIXEL_MEAN, PIXEL_STD, save_clip
from tools.training.clip_losses import grounding_loss, noise_embedding
from tools.training.sam import learning_rate

_log = logging.getLogger(__name__)
Draw = Callable[[int, np.random.Generator], list[Picture]]
"""A number of pictures for a batch."""
_GRID = IMAGE_SIZE // STRIDE


@dataclass(frozen=True)
class ClipSchedule:
    """How to train.

    Attributes:
        steps: optimiser steps.
        batch: pictures a step, of all workers together.
        peak: highest learning rate.
        temperature: of DHN-NCE.
        contrast: weight of DHN-NCE, which pulls the picture's vector, and so every token of it, to its text without an
            end: at 1 the tokens of an organ were told from the others no more.
        presence: weight of the presence term.
        grounding: weight of the term that uses masks.
        strangers: sentences a step on what no image teaches.
        strange_cosine: how like what is taught they may be.
        seed: of weights, order, captions and variation.
    """

    steps: int = 3_000
    batch: int = 24
    peak: float = 1e-3
    temperature: float = 0.1
    contrast: float = 0.1
    presence: float = 1.0
    grounding: float = 2.0
    strangers: int = 10
    strange_cosine: float = 0.3
    seed: int = 0


@dataclass(frozen=True)
class Batch:
    """What a step sees: images (B, 3, S, S), states (B, C), kinds, and shares (B, C, grid * grid), NaN: no mask."""

    image: Tensor
    state: NDArray[np.int8]
    kinds: list[str]
    share: Tensor


def make_batch(pictures: list[Picture], rng: np.random.Generator, strength: float = 1.0) -> Batch:
    """Vary pictures and put them into the network's square."""
    image = torch.zeros(len(pictures), 3, IMAGE_SIZE, IMAGE_SIZE)
    share = torch.full((len(pictures), len(NAMES), _GRID**2), torch.nan)
    for row, picture in enumerate(pictures):
        placed = place(picture, IMAGE_SIZE, letterbox=False, rng=rng, strength=strength)
        image[row] = placed.pixels(shades(picture, rng) if strength else picture.pixels.transpose(2, 0, 1) / 255)
        columns = list(np.flatnonzero(picture.state == PRESENT))
        masks = [(k, group_mask(picture, NAMES[k])) for k in columns]
        known = [(k, mask) for k, mask in masks if mask is not None]
        if known:
            moved = placed.masks(np.stack([mask for _, mask in known]))
            share[row, [k for k, _ in known]] = F.adaptive_avg_pool2d(moved, _GRID).flatten(1)
    return Batch(
        (image - PIXEL_MEAN) / PIXEL_STD, np.stack([p.state for p in pictures]), [p.kind for p in pictures], share
    )


class ClipTrainer:
    """Holds what one training needs.

    Args:
        draw: gives pictures.
        folder: where the weights go; configuration and tokenizer must be there already.
        schedule: how to train.
        device: where to train.
        start: folder of a CLIP to go on from, see `start_from`; None starts from random weights.
        worker: number of this process.
        workers: how many train together.
    """

    def __init__(
        self,
        draw: Draw,
        folder: Path,
        schedule: ClipSchedule,
        device: torch.device,
        start: Path | None = None,
        worker: int = 0,
        workers: int = 1,
    ) -> None:
        import open_clip

        torch.manual_seed(schedule.seed)
        self.draw, self.folder, self.schedule, self.device = draw, folder, schedule, device
        self.worker, self.workers = worker, workers
        clip: Any = build_clip(folder).float()
        if start is not None:
            start_from(clip, folder, start)
        self.clip = clip.to(device)
        self.tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}").tokenizer
        self.trained = [p for n, p in self.clip.named_parameters() if n != "logit_scale"]
        self.optimiser = torch.optim.AdamW(
            self.trained, lr=schedule.peak, weight_decay=0.05, betas=(0.9, 0.98), fused=True
        )
        self.done = 0
        self._load()

    @property
    def _checkpoint(self) -> Path:
        return self.folder.parent / "clip.checkpoint"

    def _load(self) -> None:
        if self._checkpoint.is_file():
            state = torch.load(self._checkpoint, weights_only=True)
            self.clip.load_state_dict(state["clip"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.done = state["done"]

    def _save(self) -> None:
        part = self._checkpoint.with_suffix(".part")
        state = {"clip": self.clip.state_dict(), "optimiser": self.optimiser.state_dict(), "done": self.done}
        torch.save(state, part)
        part.replace(self._checkpoint)
        save_clip(self.clip, self.folder)

    def step(self, batch: Batch, rng: np.random.Generator) -> dict[str, Tensor]:
        """The terms of the loss of a batch."""
        plan = self.schedule
        captions = [true_caption(k, s, rng) for k, s in zip(batch.kinds, batch.state, strict=True)]
        kinds = [_one(CONCEPTS[name].kinds, rng) for name in NAMES]
        probes = [say(name, kind, rng) for name, kind in zip(NAMES, kinds, strict=True)]
        probes += [say(name, kind, rng, present=False) for name, kind in zip(NAMES, kinds, strict=True)]
        strangers = [say_stranger(rng) for _ in range(plan.strangers)]
        sentences = [caption.text for caption in captions + probes] + [text for text, _ in strangers]
        with autocast(self.device):
            patches, hidden, index = vision_tokens(self.clip.visual, batch.image.to(self.device), 1.0)
            texts = encode_sentences(self.clip, self.tokenizer, sentences, self.device)
            noise = noise_embedding(self.clip.visual, hidden)
        image = F.normalize(patches.float().mean(1), dim=-1)
        text, present, absent, strange = texts.split([len(captions), len(NAMES), len(NAMES), len(strangers)])
        also = torch.from_numpy(may_hold(batch.state, batch.kinds, captions)).to(self.device)
        terms = {"contrast": plan.contrast * contrastive_loss(image, text, plan.temperature, false_negatives=also)}
        state = torch.from_numpy(batch.state).to(self.device)
        difference, known = image @ (present - absent).T / plan.temperature, state >= ABSENT
        own = torch.tensor([[kind in CONCEPTS[name].kinds for name in NAMES] for kind in batch.kinds])
        weight = known * torch.where(own.to(self.device) | (state == PRESENT), 1.0, 0.2)
        entropy = F.binary_cross_entropy_with_logits(difference, (state == PRESENT).float(), reduction="none")
        terms["presence"] = plan.presence * (entropy * weight).sum() / weight.sum()
        # What no image teaches fits none, but for those that may show it, and is like nothing that is taught.
        free = torch.tensor([[kind not in open_to for _, open_to in strangers] for kind in batch.kinds]).to(self.device)
        fit = F.softplus(image @ strange.T / plan.temperature)
        near = (F.relu(strange @ present.T - plan.strange_cosine) ** 2).sum(1).mean()
        terms["strangers"] = 0.2 * (fit * free).sum() / free.sum().clamp_min(1) + near
        grounding = grounding_loss(patches, noise, index, present, batch.share.to(self.device), strict=True)
        terms["grounding"] = plan.grounding * grounding
        return terms

    def run(self, until: int | None = None) -> Any:
        """Train for the steps that are left, or until so many are done; log and save; returns the open_clip model."""
        plan, started, running, before = self.schedule, time.perf_counter(), dict[str, float](), self.done
        self.clip.train()
        last = plan.steps if until is None else until
        while self.done < last:
            rng = np.random.default_rng((plan.seed, self.done, self.worker))
            torch.manual_seed(1_000_003 * plan.seed + self.done)
            for group in self.optimiser.param_groups:
                group["lr"] = learning_rate(self.done / plan.steps, plan.peak)
            terms = self.step(make_batch(self.draw(plan.batch // self.workers, rng), rng), rng)
            total: Tensor = sum(terms.values(), torch.zeros((), device=self.device))
            self.optimiser.zero_grad(set_to_none=True)
            total.backward()
            average(self.trained, self.workers)
            torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
            self.optimiser.step()
            self.done += 1
            for name, value in terms.items():
                running[name] = running.get(name, float(value)) + 0.02 * (
                    float(value) - running.get(name, float(value))
                )
            if self.done % 50 == 0:
                shown = ", ".join(f"{name} {value:.3f}" for name, value in running.items())
                pace = (time.perf_counter() - started) / (self.done - before)
                _log.info("clip step %d: %s, %.2f s a step", self.done, shown, pace)
            if not self.worker and (self.done % 100 == 0 or self.done == last):
                self._save()
        return self.clip.eval()


def _one(options: tuple[str, ...], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]
