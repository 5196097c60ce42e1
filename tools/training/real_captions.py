"""Captions that a small CLIP learns real images from, made of a table's own labels.

Modality, organ and finding (`medclipsam_monai.study.cases`), in the words of the task's prompt set. Masks only tell
whether an image shows its target.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medclipsam_monai.finetune.data.pairs import read_pairs
from medclipsam_monai.finetune.data.phantoms import phantom_pairs, phantom_picture
from medclipsam_monai.prompts import LEVELS, PromptSet, load_prompt_set
from medclipsam_monai.study.cases import Case, write_picture_once


@dataclass(frozen=True)
class CaptionedImage:
    """A row of a table of pairs."""

    image: str
    caption: str
    case: str


def true_sentences(prompts: PromptSet, finding: str, present: bool) -> tuple[str, ...]:
    """All sentences of a prompt set that hold for an image: those of every level, or its opposites.

    Args:
        prompts: of the image's task.
        finding: which kind of the target it shows; may be empty.
        present: whether it shows the target.
    """
    if not present:
        return prompts.opposites
    levels = [prompts.target_at(level, finding or None).sentences for level in LEVELS if prompts.has(level, finding)]
    return tuple(dict.fromkeys(sentence for level in levels for sentence in level))


def caption_cases(cases: Sequence[Case], count: int, seed: int = 0) -> Iterator[CaptionedImage]:
    """``count`` different captions for each image, drawn from what holds for it.

    Args:
        cases: images whose masks say whether the target is there.
        count: captions an image, fewer where fewer hold.
        seed: of the draw.

    Raises:
        InputError: a task without a prompt set, or a file that cannot be used.
    """
    rng = np.random.default_rng(seed)
    for case in cases:
        _, mask = case.load()
        sentences = true_sentences(load_prompt_set(case.task), case.finding, bool(mask.any()))
        for caption in rng.permutation(np.array(sentences))[:count]:
            yield CaptionedImage(str(case.image.resolve()), str(caption), case.image.stem)


def caption_table(table: Path) -> Iterator[CaptionedImage]:
    """The pairs of a table of images and captions, such as MedPix's."""
    for pair in read_pairs(table):
        yield CaptionedImage(str(Path(pair.image).resolve()), pair.caption, pair.case)


def caption_phantoms(count: int, folder: Path) -> Iterator[CaptionedImage]:
    """Phantoms, drawn as files, so that a network does not forget what it knew."""
    for pair in phantom_pairs(count):
        path = folder / f"{pair.case.replace('/', '_')}.png"
        write_picture_once(path, phantom_picture(pair.image)[0].numpy())
        yield CaptionedImage(str(path.resolve()), pair.caption, pair.case)
