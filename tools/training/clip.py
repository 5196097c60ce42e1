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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from medclipsam_monai.base.devices import autocast
from medclipsam_monai.losses import contrastive_loss
from medclipsam_monai.phantoms.captions import GROUPS, Caption, all_facts, sample_captions, say_absent, say_present
from medclipsam_monai.phantoms.phantom import TARGETS, TASKS
from medclipsam_monai.weights.clip_folder import build_clip, find_weights
from tools.training.clip_files import (
    ACTIVE_BLOCKS,
    CONTEXT,
    PIXEL_MEAN,
    PIXEL_STD,
    save_clip,
    write_clip_config,
)
from tools.training.corpus import Corpus
from tools.training.sam import learning_rate

IMAGE_SIZE = 224
GRID = 14
_GAIN = 5.0
PAIRS = tuple((task, name) for task in TASKS for name in TARGETS[task])
GROUP_PAIRS = tuple(
    (task, group) for task in TASKS for group, (members, _) in GROUPS.items() if set(members) & set(TARGETS[task])
)
_COLUMN = {fact: k for k, fact in enumerate(all_facts())}
Pairs = tuple[tuple[str, str], ...]
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


def normalise(images: NDArray[np.uint8], rng: np.random.Generator | None) -> Tensor:
    """Pictures (B, 256, 256) uint8 to the tower's input (B, 3, 224, 224), contrast varied if `rng` is given."""
    x = torch.from_numpy(np.ascontiguousarray(images)).float().unsqueeze(1) / 255
    x = F.interpolate(x, (IMAGE_SIZE, IMAGE_SIZE), mode="bilinear", antialias=True, align_corners=False)
    if rng is not None:
        gamma = torch.from_numpy(np.exp(rng.normal(0, 0.2, (len(x), 1, 1, 1)))).float()
        x = x.clamp(0, 1).pow(gamma)
    return ((x - PIXEL_MEAN) / PIXEL_STD).expand(-1, 3, -1, -1)


def claims_matrix(captions: list[Caption]) -> NDArray[np.bool_]:
    """Which fact each caption claims, (N, F)."""
    matrix = np.zeros((len(captions), len(_COLUMN)), bool)
    for row, caption in enumerate(captions):
        matrix[row, [_COLUMN[claim] for claim in caption.claims]] = True
    return matrix


def holds_matrix(possible: NDArray[np.bool_], captions: list[Caption]) -> Tensor:
    """(B, N): whether caption n holds, or may hold, for picture b; (B, F) facts that do, or may."""
    missing = (~possible).astype(np.float32) @ claims_matrix(captions).astype(np.float32).T
    return torch.from_numpy(missing == 0)


def _task_of(facts: NDArray[np.bool_]) -> str:
    return TASKS[int(facts[[_COLUMN[task] for task in TASKS]].argmax())]


def _caption_slots(facts: NDArray[np.bool_], slots: int, rng: np.random.Generator) -> list[list[Caption]]:
    """For each slot one caption a picture; the first slot speaks of what tells the two pictures of a pair apart."""
    names = all_facts()
    words = [frozenset(names[k] for k in np.flatnonzero(row)) for row in facts]
    captions = [sample_captions(word, rng, slots) for word in words]
    first = []
    for row, word in enumerate(words):
        task, other = _task_of(facts[row]), words[row ^ 1]
        differing = [n for n in TARGETS[task] if {n, f"no {n}"} <= word ^ other]
        if differing and task in other:
            name = differing[int(rng.integers(len(differing)))]
            first.append(say_present(name, task, rng) if name in word else say_absent(name, task, rng))
        else:
            first.append(sample_captions(word, rng, 1)[0])
    return [first, *([row[s] for row in captions] for s in range(slots))]


def _probes(pairs: Pairs, rng: np.random.Generator) -> list[Caption]:
    """For every target of every modality a sentence that it is there, then one each that it is not."""
    present = [say_present(name, task, rng) for task, name in pairs]
    return present + [say_absent(name, task, rng) for task, name in pairs]


def probe_truth(pairs: Pairs, facts: NDArray[np.bool_], unknown: NDArray[np.bool_]) -> tuple[Tensor, Tensor]:
    """For pictures (B, F): whether each of P targets is there, and whether that is known at all; both (B, P)."""
    targets = [_COLUMN[name] for _, name in pairs]
    present = facts[:, targets]
    own = facts[:, [_COLUMN[task] for task, _ in pairs]] & ~unknown[:, targets]
    return torch.from_numpy(present).float(), torch.from_numpy(own)


def noise_embedding(visual: Any, hidden: Tensor, count: int = 32) -> Tensor:
    """What M2IB puts in a token's place, in the joint space: tokens (B, n, C) to the mean embedding (B, E) of noise."""
    mean, deviation = hidden.mean(1, keepdim=True), hidden.std(1, keepdim=True)
    noise = torch.randn(len(hidden), count, hidden.shape[-1], device=hidden.device) * deviation + mean
    return visual.head(visual.trunk.norm(noise)).mean(1)


def grounding_loss(patches: Tensor, noise: Tensor, index: Tensor, text: Tensor, share: Tensor) -> Tensor:
    """Agreement of M2IB's map with the masks of the targets that are present; uses masks.

    With mean pooling, v the mean of the tokens p_i and q the noise that M2IB would put in a token's place, keeping
    token i changes cos(v, t) to first order by g_i = (p_i - q) (t - cos(v, t) v / |v|) / |v|: this is what moves
    M2IB's alpha at first. In the end the target's tokens should be all that is left. So, for text and mask of a target:

    - g_i is positive inside the mask, negative outside, and its softmax over tokens follows the mask;
    - the softmax of cos(p_i, t) follows the mask, too;
    - with noise outside the mask the picture fits the text better than whole, with noise inside it fits worse.

    Args:
        patches: token embeddings (B, n, E).
        noise: embedding (B, E) of a token that is noise.
        index: the patches' numbers (B, n).
        text: text embeddings of the targets, unit vectors (P, E).
        share: how much of each patch each target covers, (B, P, 196); NaN where the target is absent.
    """
    patches, noise, text = patches.float(), noise.float(), text.float()
    truth = share.gather(2, index.unsqueeze(1).expand(-1, share.shape[1], -1))
    row, column = (truth.nan_to_num(0.0).sum(2) > 0.5).nonzero(as_tuple=True)
    truth, target, noise = truth[row, column], text[column], noise[row].unsqueeze(1)
    tokens, mean = patches[row], patches.mean(1)[row]
    unit, length = F.normalize(mean, dim=-1), mean.norm(dim=-1, keepdim=True)
    pull = (target - (target * unit).sum(1, keepdim=True) * unit) / length
    gain = _GAIN * ((tokens - noise) @ pull.unsqueeze(-1)).squeeze(-1)
    fit = (F.normalize(tokens, dim=-1) @ target.unsqueeze(-1)).squeeze(-1) / 0.1
    where = (truth / truth.sum(1, keepdim=True)).clamp_min(1e-6)
    divergence = sum(
        (F.kl_div(x.log_softmax(1), where, reduction="none").sum(1) for x in (gain, fit)), gain.new_zeros(())
    )
    entropy = F.binary_cross_entropy_with_logits(gain, truth, reduction="none")
    # Inside and outside weigh the same, however small the target.
    inside = (entropy * truth).sum(1) / truth.sum(1)
    outside = (entropy * (1 - truth)).sum(1) / (1 - truth).sum(1).clamp_min(1)
    moved = (truth.unsqueeze(-1) * (tokens - noise)).mean(1)
    whole, only, without = (
        F.cosine_similarity(x, target, dim=-1) / 0.1 for x in (mean, noise.squeeze(1) + moved, mean - moved)
    )
    ends = F.softplus(whole - only) + F.softplus(without - whole)
    return (divergence + 0.5 * (inside + outside) + ends).mean()


def mask_share(pairs: Pairs, corpus: Corpus, indices: NDArray[np.int64]) -> Tensor:
    """How much of each of 14 x 14 patches each of P targets covers: (B, P, 196), NaN where the target is absent.

    A group covers what its members cover.
    """
    share = np.full((len(indices), len(pairs), GRID * GRID), np.nan, np.float32)
    for row, index in enumerate(indices):
        for k, (task, name) in enumerate(pairs):
            members = GROUPS[name][0] if name in GROUPS else (name,)
            masks = [corpus.mask(int(index), member) for member in members if member in corpus.names[index]]
            if masks and corpus.facts[index, _COLUMN[task]]:
                mask = torch.from_numpy(np.logical_or.reduce(masks)).float()[None, None]
                share[row, k] = F.adaptive_avg_pool2d(mask, GRID).flatten().numpy()
    return torch.from_numpy(share)


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
            clip.load_state_dict(load_file(find_weights(start)))
        self.clip = clip.to(device)
        for block in self.clip.visual.trunk.blocks:
            block.attn.fused_attn = False  # at 100 tokens the plain form is faster on a CPU
        self.tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}").tokenizer
        trained = [p for n, p in self.clip.named_parameters() if not _is_idle(n) and n != "logit_scale"]
        self.optimiser = torch.optim.AdamW(trained, lr=schedule.peak, weight_decay=0.05, betas=(0.9, 0.98), fused=True)
        self.trained = trained

    def text(self, captions: list[Caption]) -> Tensor:
        """Unit vectors (N, E). Captions go through in order of length: padding would cost more than the pictures."""
        ids = self.tokenizer([caption.text for caption in captions], truncation=True, max_length=CONTEXT)["input_ids"]
        order = sorted(range(len(ids)), key=lambda n: len(ids[n]))
        parts = []
        for chunk in np.array_split(order, 4):
            rows = [torch.tensor(ids[n]) for n in chunk]
            padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(self.device)
            parts.append(self.clip.encode_text(padded).float())
        return F.normalize(torch.cat(parts)[torch.tensor(order).argsort().to(self.device)], dim=-1)

    def step(self, progress: float) -> dict[str, float]:
        """One optimiser step; returns the terms of the loss."""
        plan = self.schedule
        pairs = self.rng.integers(0, len(self.corpus) // 2, plan.batch // 2)
        indices = np.stack([2 * pairs, 2 * pairs + 1], 1).ravel()
        facts, unknown = self.corpus.facts[indices], self.corpus.unknown[indices]
        slots, probes = _caption_slots(facts, plan.captions, self.rng), _probes(self.pairs, self.rng)
        with autocast(self.device):
            image = normalise(self.corpus.images[indices], self.rng).to(self.device)
            patches, hidden, index = vision_tokens(self.clip.visual, image, plan.keep if progress < 0.8 else 1.0)
            texts = self.text([caption for slot in slots for caption in slot] + probes)
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
