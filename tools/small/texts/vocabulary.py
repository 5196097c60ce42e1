"""The small CLIP's words: its vocabulary, and what the demo's text tower knows of them already."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from medclipsam_monai.base.json_files import read_object
from medclipsam_monai.prompts import load_prompt_set, prompt_set_names
from medclipsam_monai.weights.clip_config import CONFIG_NAME
from medclipsam_monai.weights.clip_folder import build_clip, find_weights
from medclipsam_monai.weights.pyramid_vit import medclipsam_pyramid_vit_224
from medclipsam_monai.weights.state_dicts import load_exactly, read_state_dict
from tools.small.texts.words import CONCEPTS, say, say_kind
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


def is_small(start: Path) -> bool:
    """Whether a CLIP folder holds a network of the small one's kind, to go on from as it is."""
    config = read_object(start / CONFIG_NAME, what="configuration of the CLIP")
    return bool(config["model_cfg"]["vision_cfg"].get("timm_model_name") == medclipsam_pyramid_vit_224.__name__)


def copy_tokenizer(start: Path, folder: Path) -> None:
    """Take over the vocabulary of a CLIP."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(start / name, folder / name)


def start_from(clip: Any, folder: Path, start: Path) -> None:
    """Copy what a CLIP has learnt into another, in place: all of a small one, else the demo's text tower."""
    if is_small(start):
        load_exactly(clip, read_state_dict(find_weights(start)), str(start))
    else:
        start_from_demo(clip, folder, start)


def start_from_demo(clip: Any, folder: Path, demo: Path) -> None:
    """Copy the demo's text tower into a CLIP with a text tower of the same size, in place.

    Args:
        clip: the CLIP; its vision tower stays as it is.
        folder: with its vocabulary; words that the demo does not have keep their random vectors.
        demo: folder of the demo's CLIP.
    """
    source: Any = build_clip(demo)
    load_exactly(source, read_state_dict(find_weights(demo)), str(demo))
    state, own = source.text.state_dict(), clip.text.state_dict()
    words = next(name for name in own if name.endswith("word_embeddings.weight"))
    known = {word: k for k, word in enumerate((demo / "vocab.txt").read_text(encoding="utf-8").splitlines())}
    table = own[words].clone()
    for row, word in enumerate((folder / "vocab.txt").read_text(encoding="utf-8").splitlines()):
        if word in known:
            table[row] = state[words][known[word]]
    clip.text.load_state_dict({**state, words: table})
