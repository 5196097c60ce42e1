"""Small models in the file forms of the real ones, with seeded random weights."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from medclipsam_monai.networks.sam.sizes import SamSize
from medclipsam_monai.weights.clip_folder import build_clip

WORDS = (
    "a an the of in and no normal lung lungs heart liver tumor left right chest xray ct brain bright dark disk".split()
)
TINY_SAM = SamSize(48, 3, 3, (1,), image_size=128, window_size=3, prompt_embed_dim=32, decoder_num_heads=4)


def write_tokenizer(folder: Path, words: list[str]) -> None:
    """A BERT WordPiece tokenizer with whole words only."""
    from transformers import BertTokenizerFast

    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    # By its place: transformers 4 and 5 do not call it the same.
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)


def write_clip_folder(folder: Path, vision: dict, words: list[str] = WORDS, context_length: int = 16) -> Path:
    """A CLIP in open_clip's local-dir form: BERT text tower, random weights."""
    folder.mkdir(parents=True, exist_ok=True)
    bert = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "vocab_size": len(words) + 5,
        "max_position_embeddings": 64,
    }
    text = {
        "hf_model_name": "a/name-that-is-never-asked-for",
        "hf_tokenizer_name": "a/name-that-is-never-asked-for",
        "hf_proj_type": "mlp",
        "hf_pooler_type": "cls_last_hidden_state_pooler",
        "hf_model_pretrained": False,
        "context_length": context_length,
    }
    model = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text}
    settings = {"model_cfg": model, "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}}
    (folder / "config.json").write_text(json.dumps(bert))
    (folder / "open_clip_config.json").write_text(json.dumps(settings))
    write_tokenizer(folder, words)
    torch.manual_seed(3)
    clip = build_clip(folder)
    save_file({k: v.contiguous() for k, v in clip.state_dict().items()}, folder / "open_clip_model.safetensors")
    return folder


TIMM_VISION = {"timm_model_name": "test_vit", "timm_model_pretrained": False, "timm_pool": "", "timm_proj": "linear"}
