"""The small CLIP's vocabulary; its other files are written as the demo's are."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medclipsam_monai.prompts import load_prompt_set, prompt_set_names
from tools.small.words import CONCEPTS, say, say_kind
from tools.training.clip_files import MORE_WORDS, learn_vocabulary


def train_tokenizer(folder: Path, vocabulary: int = 2500, seed: int = 0) -> None:
    """Learn a WordPiece vocabulary from captions and write the tokenizer's files."""
    rng = np.random.default_rng(seed)
    texts = [" ".join(MORE_WORDS)] * 40
    for name, concept in CONCEPTS.items():
        for kind in concept.kinds:
            texts += [say(name, kind, rng, present).text for _ in range(100) for present in (True, False)]
            texts += [say_kind(kind, rng).text for _ in range(20)]
    for task in prompt_set_names():
        prompts = load_prompt_set(task)
        texts += 5 * [*prompts.opposites, *prompts.wordings]
    learn_vocabulary(texts, folder, vocabulary)
