"""Teach a CLIP's text half that a description means what a name means; its picture half is not touched.

    python -m tools.small.texts.meaning CLIP --output FOLDER

The text half before is the teacher: a sentence that describes ("the large organ under the right lung is visible") shall
become the vector of the same sentence with a name ("liver is visible"), all that is said of what no picture shows
one vector, denied or not, and all other sentences stay where they are. No pictures are needed, so it takes minutes.
A fifth of the phrases is kept: how like their names they have become is printed before and after.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
import typer
from torch import Tensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.weights.clip_folder import build_clip, find_weights
from medclipsam_monai.weights.pyramid_vit import medclipsam_pyramid_vit_224
from medclipsam_monai.weights.state_dicts import load_exactly, read_state_dict
from tools.small.texts.descriptions import DESCRIPTIONS, all_descriptions, describe, is_kept
from tools.small.texts.vocabulary import copy_tokenizer, is_small
from tools.small.texts.words import CONCEPTS, frame, put, say_stranger, strange_words
from tools.training.clip import encode_sentences
from tools.training.clip_files import save_clip, write_clip_config
from tools.training.sam import learning_rate
from tools.training.side_by_side import set_up

_log = logging.getLogger("meaning")


@dataclass(frozen=True)
class Lesson:
    """Sentences, and what each shall mean.

    Attributes:
        said: sentences.
        meant: for the first of them the sentences whose vectors they shall have; the others are on what no picture
            shows.
    """

    said: list[str]
    meant: list[str]


def lesson(rng: np.random.Generator) -> Lesson:
    """Every description and a name of the same thing, in a sentence that is true or a denial; others; strange ones."""
    said, meant = list[str](), list[str]()
    for name in DESCRIPTIONS:
        for present in (True, False):
            sentence, _ = frame(name, _pick(rng, CONCEPTS[name].kinds), rng, present)
            named = put(_pick(rng, CONCEPTS[name].names), sentence)
            said += [put(str(describe(name, rng)), sentence), named]
            meant += [named, named]
    others = [text for text, kinds in (say_stranger(rng) for _ in range(12)) if kinds]
    return Lesson(said + others + _strange(rng, 32), meant + others)


def _strange(rng: np.random.Generator, count: int) -> list[str]:
    """Sentences on what no picture shows, every second a denial."""
    return [put(strange_words(rng), frame("heart", "chest_xray", rng, bool(k % 2))[0]) for k in range(count)]


def likeness(student: Any, tokenizer: Any, teacher: Any, device: torch.device) -> str:
    """Mean cosine of kept phrases with their names, and of names with what they were before, in words."""
    phrases = [(phrase, name) for name in DESCRIPTIONS for phrase in all_descriptions(name) if is_kept(phrase)]
    texts = {"there": "{}", "absent": "no {}"}
    found = []
    with torch.no_grad():
        for told, template in texts.items():
            described = encode_sentences(student, tokenizer, [template.format(p) for p, _ in phrases], device)
            every = [template.format(word) for name in DESCRIPTIONS for word in CONCEPTS[name].names]
            own = np.array([name for name in DESCRIPTIONS for _ in CONCEPTS[name].names])
            before, now = (encode_sentences(clip, tokenizer, every, device) for clip in (teacher, student))
            cosine = (described @ before.T).cpu().numpy()
            best = np.array([row[own == name].max() for row, (_, name) in zip(cosine, phrases, strict=True)])
            nearest = np.mean([own[row.argmax()] == name for row, (_, name) in zip(cosine, phrases, strict=True)])
            kept = float((before * now).sum(1).mean())
            found.append(f"{told}: {best.mean():.3f}, nearest {nearest:.1%}, names kept {kept:.3f}")
    return f"{len(phrases)} kept phrases; " + "; ".join(found)


def teach(clip: Any, teacher: Any, tokenizer: Any, device: torch.device, steps: int, peak: float, seed: int) -> None:
    """Train a CLIP's text half, in place.

    Args:
        clip: the open_clip model; its picture half stays.
        teacher: the same before.
        tokenizer: of both.
        device: where they are.
        steps: optimiser steps.
        peak: highest learning rate.
        seed: of what is said.
    """
    torch.manual_seed(seed)
    trained = list(clip.text.parameters())
    optimiser = torch.optim.AdamW(trained, lr=peak, weight_decay=0.01, betas=(0.9, 0.98))
    with torch.no_grad():
        strange = encode_sentences(teacher, tokenizer, _strange(np.random.default_rng(seed), 800), device).mean(0)
    running = 0.0
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step / steps, peak)
        of = lesson(np.random.default_rng((seed, step)))
        with torch.no_grad():
            named = encode_sentences(teacher, tokenizer, of.meant, device)
            goal = torch.cat([named, strange.expand(len(of.said) - len(of.meant), -1)])
        loss: Tensor = (1 - F.cosine_similarity(encode_sentences(clip, tokenizer, of.said, device), goal)).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        running = float(loss.detach()) if step == 0 else 0.98 * running + 0.02 * float(loss.detach())
        if (step + 1) % 200 == 0:
            _log.info("step %d: %.4f", step + 1, running)


def main(
    clip: Annotated[Path, typer.Argument(help="Folder of the CLIP.")],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
    steps: Annotated[int, typer.Option(help="Optimiser steps.")] = 2_000,
    peak: Annotated[float, typer.Option(help="Highest learning rate.")] = 5e-4,
    seed: Annotated[int, typer.Option(help="Of what is said.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Teach, and write the CLIP anew."""
    import open_clip

    from medclipsam_monai.base.devices import resolve_device

    set_up()
    try:
        placed = resolve_device(device)
        if not is_small(clip):
            raise InputError(f"{clip} is no CLIP of the small networks' kind; give the folder of one, such as small's")
        state = read_state_dict(find_weights(clip))
        copy_tokenizer(clip, output)
        write_clip_config(output, medclipsam_pyramid_vit_224.__name__)
        both = [build_clip(clip).float().to(placed) for _ in range(2)]
        for one in both:
            load_exactly(one, state, str(clip))
    except InputError as error:
        typer.echo(f"meaning: {error}", err=True)
        raise typer.Exit(2) from error
    student, teacher = both[0].train(), both[1].eval()
    tokenizer = open_clip.get_tokenizer(f"local-dir:{clip.resolve()}").tokenizer
    _log.info("before: %s", likeness(student, tokenizer, teacher, placed))
    teach(student, teacher, tokenizer, placed, steps, peak, seed)
    _log.info("after: %s", likeness(student.eval(), tokenizer, teacher, placed))
    save_clip(student, output)


def _pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]


if __name__ == "__main__":
    typer.run(main)
