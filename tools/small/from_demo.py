"""Start the small CLIP's text tower from the demo's, and the words that both know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medclipsam_monai.weights.clip_folder import build_clip, find_weights
from medclipsam_monai.weights.state_dicts import load_exactly, read_state_dict


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
