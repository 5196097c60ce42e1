"""Training of the small CLIP: DHN-NCE on pictures that differ in one target, each with several captions.

What differs from plain fine-tuning, because the network starts from random weights and has minutes, not days:

- a batch is made of pairs of pictures that differ in one target only, and one caption slot speaks of that target;
- a caption that also holds for another picture of the batch is no negative there (it is known which captions hold);
- presence: on each picture, for every target of its modality, "there is X" must fit better than "there is no X";
- tokens are dropped at random, which is fast and makes every token speak for itself;
- optionally, grounding: tokens inside a target's mask must fit its text better than tokens outside. This uses masks.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from medclipsam_monai.base.devices import autocast
from medclipsam_monai.losses import contrastive_loss
from medclipsam_monai.weights.clip_folder import build_clip, find_weights
from medclipsam_monai.weights.state_dicts import load_exactly, read_state_dict
from tools.training.clip_batches import (
    GROUP_PAIRS,
    PAIRS,
    caption_slots,
    holds_matrix,
    mask_share,
    normalise,
    probe_truth,
    probes,
)
from tools.training.clip_files import ACTIVE_BLOCKS, CONTEXT, save_clip, write_clip_config
from tools.training.clip_losses import grounding_loss, noise_embedding
from tools.training.corpus import Corpus
from tools.training.sam import learning_rate

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClipSchedule:
    """How to train.

    Args:
        steps: optimiser steps.
        batch: pictures a step, even.
        captions: captions a picture, beside the one on the flipped target.
        keep: share of the tokens kept for the first 80 % of the steps; later all are.
        peak: highest learning rate.
        temperature: of DHN-NCE.
        presence: weight of the presence term.
        grounding: weight of the term that uses masks; 0 trains without masks.
        groups: whether wider words ("tumour", "abnormality") are asked for and grounded as targets are.
        seed: of weights, order and captions.
    """

    steps: int = 6_000
    batch: int = 32
    captions: int = 1
    keep: float = 0.5
    peak: float = 1e-3
    temperature: float = 0.1
    presence: float = 1.0
    grounding: float = 0.0
    groups: bool = False
    seed: int = 0


def vision_tokens(visual: Any, image: Tensor, keep: float) -> tuple[Tensor, Tensor, Tensor]:
    """Patch embeddings in the joint space, before pooling.

    Args:
        visual: open_clip's TimmModel with mean pooling; its embedding of a picture is the mean of what this returns.
        image: (B, 3, 224, 224), normalised.
        keep: share of the patches that go through the network.

    Returns:
        Embeddings (B, n, E), the tokens (B, n, C) they were made from, and their patches' numbers (B, n).
    """
    trunk = visual.trunk
    tokens = trunk._pos_embed(trunk.patch_embed(image))
    count = tokens.shape[1] - 1
    index = (
        torch.rand(len(tokens), count, device=image.device).argsort(1)[:, : max(1, round(keep * count))].sort(1).values
    )
    patches = tokens[:, 1:].gather(1, index.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))
    tokens = torch.cat([tokens[:, :1], patches], dim=1)
    for block in trunk.blocks[:ACTIVE_BLOCKS]:
        tokens = block(tokens)
    return visual.head(trunk.norm(tokens[:, 1:])), tokens[:, 1:], index


def encode_sentences(clip: Any, tokenizer: Any, sentences: Sequence[str], device: torch.device) -> Tensor:
    """Unit vectors (N, E). Sentences go through in order of length: padding would cost more than the pictures."""
    ids = tokenizer(list(sentences), truncation=True, max_length=CONTEXT)["input_ids"]
    order = sorted(range(len(ids)), key=lambda n: len(ids[n]))
    parts = []
    for chunk in np.array_split(order, 4):
        rows = [torch.tensor(ids[n]) for n in chunk]
        padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(device)
        parts.append(clip.encode_text(padded).float())
    return F.normalize(torch.cat(parts)[torch.tensor(order).argsort().to(device)], dim=-1)


class ClipTrainer:
    """Holds what one training of the CLIP needs.

    Args:
        corpus: phantoms to train on.
        folder: where the model's files go; its tokenizer must be there already.
        schedule: how to train.
        device: where to train.
        start: folder of weights to go on from, as `save_clip` writes them; None starts from random ones.
    """

    def __init__(
        self,
        corpus: Corpus,
        folder: Path,
        schedule: ClipSchedule,
        device: torch.device,
        start: Path | None = None,
    ) -> None:
        import open_clip

        torch.manual_seed(schedule.seed)
        self.corpus, self.folder, self.schedule, self.device = corpus, folder, schedule, device
        self.rng = np.random.default_rng(schedule.seed)
        self.pairs = PAIRS + GROUP_PAIRS if schedule.groups else PAIRS
        write_clip_config(folder)
        clip: Any = build_clip(folder)
        if start is not None:
            load_exactly(clip, read_state_dict(find_weights(start)), str(start))
        self.clip = clip.to(device)
        for block in self.clip.visual.trunk.blocks:
            block.attn.fused_attn = False  # at 100 tokens the plain form is faster on a CPU
        self.tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}").tokenizer
        trained = [p for n, p in self.clip.named_parameters() if not _is_idle(n) and n != "logit_scale"]
        self.optimiser = torch.optim.AdamW(trained, lr=schedule.peak, weight_decay=0.05, betas=(0.9, 0.98), fused=True)
        self.trained = trained

    def step(self, progress: float) -> dict[str, float]:
        """One optimiser step; returns the terms of the loss."""
        plan = self.schedule
        pairs = self.rng.integers(0, len(self.corpus) // 2, plan.batch // 2)
        indices = np.stack([2 * pairs, 2 * pairs + 1], 1).ravel()
        facts, unknown = self.corpus.facts[indices], self.corpus.unknown[indices]
        slots, asked = caption_slots(facts, plan.captions, self.rng), probes(self.pairs, self.rng)
        with autocast(self.device):
            image = normalise(self.corpus.images[indices], self.rng).to(self.device)
            patches, hidden, index = vision_tokens(self.clip.visual, image, plan.keep if progress < 0.8 else 1.0)
            sentences = [caption.text for slot in slots for caption in slot] + [caption.text for caption in asked]
            texts = encode_sentences(self.clip, self.tokenizer, sentences, self.device)
        embedding = F.normalize(patches.float().mean(1), dim=-1)
        terms = {"contrast": texts.new_zeros(())}
        for k, slot in enumerate(slots):
            text = texts[k * plan.batch : (k + 1) * plan.batch]
            also = holds_matrix(facts | unknown, slot).to(self.device)
            loss = contrastive_loss(embedding, text, plan.temperature, false_negatives=also)
            terms["contrast"] = terms["contrast"] + loss / len(slots)
        present, absent = texts[-2 * len(self.pairs) :].chunk(2)
        truth, own = (part.to(self.device) for part in probe_truth(self.pairs, facts, unknown))
        difference = embedding @ (present - absent).T / plan.temperature
        terms["presence"] = F.binary_cross_entropy_with_logits(difference[own], truth[own])
        total = terms["contrast"] + plan.presence * terms["presence"]
        if plan.grounding:
            share = mask_share(self.pairs, self.corpus, indices).to(self.device)
            noise = noise_embedding(self.clip.visual, hidden)
            terms["grounding"] = grounding_loss(patches, noise, index, present, share)
            total = total + plan.grounding * terms["grounding"]
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimiser.step()
        return {name: float(value.detach()) for name, value in terms.items()}

    def run(self) -> Any:
        """Train for all steps, log and save; returns the open_clip model."""
        plan, started, running = self.schedule, time.perf_counter(), dict[str, float]()
        self.clip.train()
        for step in range(plan.steps):
            progress = step / plan.steps
            for group in self.optimiser.param_groups:
                group["lr"] = learning_rate(progress, plan.peak)
            for name, value in self.step(progress).items():
                running[name] = running.get(name, value) + 0.02 * (value - running.get(name, value))
            if step % 100 == 99:
                terms = ", ".join(f"{name} {value:.3f}" for name, value in running.items())
                _log.info("clip step %d: %s, %.0f s", step + 1, terms, time.perf_counter() - started)
                save_clip(self.clip, self.folder)
        save_clip(self.clip, self.folder)
        return self.clip.eval()


def _is_idle(name: str) -> bool:
    """Whether a parameter belongs to one of the blocks that stay the identity."""
    parts = name.split(".")
    return "blocks" in parts and int(parts[parts.index("blocks") + 1]) >= ACTIVE_BLOCKS
