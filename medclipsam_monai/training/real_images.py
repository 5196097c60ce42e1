"""What small networks learn real images from: captions made of a table's own labels, and masks for the small SAM.

A table of images, masks and findings (`medclipsam_monai.study.cases`) is split by the images' names; the half that may
be learnt from gets captions for CLIP (modality, organ, finding, in the words of the task's prompt set) and masks for
SAM. CLIP never sees a mask.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from medclipsam_monai.data.image_text import read_pairs
from medclipsam_monai.data.image_text_phantoms import phantom_pairs, phantom_picture
from medclipsam_monai.data.phantoms.captions import all_facts
from medclipsam_monai.data.phantoms.shapes import SIZE
from medclipsam_monai.errors import InputError
from medclipsam_monai.prompts import LEVELS, PromptSet, load_prompt_set
from medclipsam_monai.study.cases import Case, write_picture_once
from medclipsam_monai.training.corpus import Corpus


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


def masks_corpus(cases: Sequence[Case]) -> Corpus:
    """The images that show their target, as SAM sees them, with its mask; nothing is claimed of them in words.

    Raises:
        InputError: a file that cannot be used, or no image shows its target.
    """
    loaded = [(case, *case.load()) for case in cases]
    shown = [(case, picture, mask) for case, picture, mask in loaded if mask.any()]
    if not shown:
        raise InputError(f"none of the {len(cases)} images to train SAM on shows its target")
    images = [_into_square(picture.mean(dim=0), "bilinear") for _, picture, _ in shown]
    masks = [_into_square(mask.float(), "area") > 0.5 for _, _, mask in shown]
    return Corpus(
        np.stack([(image * 255).round().clamp(0, 255).to(torch.uint8).numpy() for image in images]),
        np.stack([mask.numpy().astype(np.uint16) for mask in masks]),
        np.zeros((len(shown), len(all_facts())), bool),
        [[case.target] for case, _, _ in shown],
    )


def _into_square(x: Tensor, mode: str) -> Tensor:
    """(H, W) to (SIZE, SIZE) as SAM does it: the longer side fits, the rest of the square is empty."""
    scale = SIZE / max(x.shape)
    size = [max(1, round(side * scale)) for side in x.shape]
    options = {} if mode == "area" else {"align_corners": False, "antialias": True}
    fitted = F.interpolate(x[None, None], size, mode=mode, **options)[0, 0]
    return F.pad(fitted, (0, SIZE - size[1], 0, SIZE - size[0]))


def joined(first: Corpus, second: Corpus, repeat: int = 1) -> Corpus:
    """Two corpora as one; the second one ``repeat`` times, so that few images are seen as often as many."""
    parts = [first, *[second] * repeat]
    return Corpus(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.masks for part in parts]),
        np.concatenate([part.facts for part in parts]),
        [names for part in parts for names in part.names],
    )
