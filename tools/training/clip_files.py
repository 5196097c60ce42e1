"""The small CLIP's files: vocabulary, configuration and weights in open_clip's local-dir form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medclipsam_monai.base.json_files import write_json
from medclipsam_monai.phantoms.captions import CONCEPTS, GROUPS, MODALITIES, say_absent, say_present
from medclipsam_monai.phantoms.phantom import TASKS, make_phantom
from medclipsam_monai.phantoms.seeds import DEMO_WORDS
from medclipsam_monai.weights.clip_config import CONFIG_NAME, TEXT_CONFIG_NAME
from medclipsam_monai.weights.clip_folder import write_clip_folder

CONTEXT = 64
WIDTH = 192
PIXEL_MEAN, PIXEL_STD = 0.35, 0.25
VIT_TINY = "vit_tiny_patch16_224"
ACTIVE_BLOCKS = 4
"""Blocks of the tower that are trained; open_clip's configuration cannot ask for fewer than vit_tiny's twelve, so the
others keep zero residual branches and pass their input through unchanged."""

# Words people use that no caption of a phantom holds, so that a sentence of theirs is not all single letters.
MORE_WORDS = """image picture photo scan medical showing of the a an in on with and or left right upper lower middle
patient abnormal normal region area structure organ tissue segment find show me where is this that large small round
irregular shape shaped dark bright white black border borders margin smooth enhancing contrast signal intensity density
lobe apex base bilateral unilateral pneumonia tuberculosis opacity opacification infiltrate edema oedema ischemia
stroke bone bones rib ribs spine vertebra aorta spleen stomach bladder pancreas skull cortex matter white gray grey
cerebellum pituitary adenoma cystic solid suspicious metastasis mammogram mammography ultrasound sonography magnetic
resonance imaging computed tomography radiography axial coronal sagittal slice view frontal lateral chest abdomen
abdominal head breast brain pelvis thorax thoracic body human adult female male year old""".split()


def train_tokenizer(folder: Path, vocabulary: int = 1500, seed: int = 0) -> None:
    """Learn a WordPiece vocabulary from captions and write the tokenizer's files."""
    rng = np.random.default_rng(seed)
    texts = [" ".join(MORE_WORDS)] * 40
    texts += [
        c.text for task in TASKS for s in DEMO_WORDS.seeds(50) for c in make_phantom(task, s, captions=20).captions
    ]
    for task in MODALITIES:
        for name in [n for n in CONCEPTS if task in CONCEPTS[n].tasks] + list(GROUPS):
            texts += [say(name, task, rng).text for _ in range(100) for say in (say_present, say_absent)]
    learn_vocabulary(texts, folder, vocabulary)


def learn_vocabulary(texts: Sequence[str], folder: Path, vocabulary: int) -> None:
    """Learn a WordPiece vocabulary of a size from texts, and write the tokenizer's files into a folder."""
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertTokenizer

    learner = BertWordPieceTokenizer(lowercase=True)
    learner.train_from_iterator(texts, vocab_size=vocabulary, min_frequency=2, show_progress=False)
    folder.mkdir(parents=True, exist_ok=True)
    learner.save_model(str(folder))
    BertTokenizer(str(folder / "vocab.txt"), do_lower_case=True, model_max_length=CONTEXT).save_pretrained(folder)


def write_clip_config(folder: Path, tower: str = VIT_TINY) -> None:
    """Write open_clip_config.json and BERT's config.json; the tokenizer's files must be there.

    Args:
        folder: of the CLIP.
        tower: timm's name of the vision tower.
    """
    words = len((folder / "vocab.txt").read_text(encoding="utf-8").splitlines())
    bert = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": words,
        "hidden_size": WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "intermediate_size": 4 * WIDTH,
        "max_position_embeddings": CONTEXT,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "pad_token_id": 0,
    }
    clip = {
        "model_cfg": {
            "embed_dim": WIDTH,
            "vision_cfg": {
                "timm_model_name": tower,
                "timm_model_pretrained": False,
                "timm_pool": "avg",
                "timm_proj": "linear",
                "image_size": 224,
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
    """Write the folder again with the weights in float16, the idle blocks made the identity; its settings stay."""
    state = {name: value.detach().to(torch.float16).contiguous() for name, value in clip.state_dict().items()}
    for number in range(ACTIVE_BLOCKS, len(clip.visual.trunk.blocks)):
        for name, value in state.items():
            if name.startswith(f"visual.trunk.blocks.{number}."):
                state[name] = torch.ones_like(value) if "norm" in name and "weight" in name else torch.zeros_like(value)
    state["logit_scale"] = torch.tensor(math.log(1 / temperature), dtype=torch.float16)
    # BERT's position numbers are a buffer of integers.
    state = {n: v if clip.state_dict()[n].is_floating_point() else clip.state_dict()[n] for n, v in state.items()}
    write_clip_folder(folder, state, folder)
