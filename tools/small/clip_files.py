"""The small CLIP's files: open_clip's own vision transformer at a grid of 28 x 28, a short BERT, their vocabulary."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medclipsam_monai.base.json_files import write_json
from medclipsam_monai.prompts import load_prompt_set, prompt_set_names
from medclipsam_monai.weights.clip_config import CONFIG_NAME, TEXT_CONFIG_NAME
from medclipsam_monai.weights.clip_folder import write_clip_folder
from tools.small.words import CONCEPTS, say, say_kind
from tools.training.clip_files import MORE_WORDS

CONTEXT = 64
PIXEL_MEAN, PIXEL_STD = 0.35, 0.25


@dataclass(frozen=True)
class ClipSize:
    """What the network is built from.

    Attributes:
        image_size: side of the input in pixels.
        patch: side of a patch.
        width: of tokens.
        blocks: of the vision tower.
        embedding: of the joint space.
        text_width: of the text tower.
        text_blocks: of it.
    """

    image_size: int = 224
    patch: int = 8
    width: int = 192
    blocks: int = 6
    embedding: int = 192
    text_width: int = 192
    text_blocks: int = 2

    @property
    def grid(self) -> int:
        """Patches a side."""
        return self.image_size // self.patch


def train_tokenizer(folder: Path, vocabulary: int = 2500, seed: int = 0) -> None:
    """Learn a WordPiece vocabulary from captions and write the tokenizer's files."""
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertTokenizer

    rng = np.random.default_rng(seed)
    texts = [" ".join(MORE_WORDS)] * 40
    for name, concept in CONCEPTS.items():
        for kind in concept.kinds:
            texts += [say(name, kind, rng, present).text for _ in range(100) for present in (True, False)]
            texts += [say_kind(kind, rng).text for _ in range(20)]
    for task in prompt_set_names():
        prompts = load_prompt_set(task)
        texts += 5 * [*prompts.opposites, *prompts.wordings]
    learner = BertWordPieceTokenizer(lowercase=True)
    learner.train_from_iterator(texts, vocab_size=vocabulary, min_frequency=2, show_progress=False)
    folder.mkdir(parents=True, exist_ok=True)
    learner.save_model(str(folder))
    BertTokenizer(str(folder / "vocab.txt"), do_lower_case=True, model_max_length=CONTEXT).save_pretrained(folder)


def write_clip_config(folder: Path, size: ClipSize) -> None:
    """Write open_clip_config.json and BERT's config.json; the tokenizer's files must be there."""
    bert = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": len((folder / "vocab.txt").read_text(encoding="utf-8").splitlines()),
        "hidden_size": size.text_width,
        "num_hidden_layers": size.text_blocks,
        "num_attention_heads": size.text_width // 64,
        "intermediate_size": 4 * size.text_width,
        "max_position_embeddings": CONTEXT,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "pad_token_id": 0,
    }
    clip = {
        "model_cfg": {
            "embed_dim": size.embedding,
            "vision_cfg": {
                "layers": size.blocks,
                "width": size.width,
                "head_width": 64,
                "patch_size": size.patch,
                "image_size": size.image_size,
                "pool_type": "avg",
                "no_ln_pre": True,
            },
            "text_cfg": {
                "hf_model_name": ".",
                "hf_tokenizer_name": ".",
                "hf_model_pretrained": False,
                "hf_proj_type": "mlp",
                "hf_pooler_type": "mean_pooler",
                "context_length": CONTEXT,
            },
        },
        "preprocess_cfg": {"mean": [PIXEL_MEAN] * 3, "std": [PIXEL_STD] * 3},
    }
    write_json(bert, folder / TEXT_CONFIG_NAME)
    write_json(clip, folder / CONFIG_NAME)


def save_clip(clip: Any, folder: Path, temperature: float = 0.1) -> None:
    """Write the folder again with the weights in float16; its settings stay."""
    state = clip.state_dict()
    halves = {n: v.detach().to(torch.float16).contiguous() if v.is_floating_point() else v for n, v in state.items()}
    halves["logit_scale"] = torch.tensor(math.log(1 / temperature), dtype=torch.float16)
    write_clip_folder(folder, halves, folder)
