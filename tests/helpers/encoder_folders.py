"""Small CLIPs and SigLIPs in the forms of transformers and of open_clip, with seeded random weights."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import torch
from safetensors.torch import save_file
from small_models import WORDS
from timm.models import register_model
from timm.models.vision_transformer import VisionTransformer

from medclipsam_monai.weights.clip_folder import build_clip
from medclipsam_monai.weights.hugging_face.model import build_model, read_config

LETTERS = "abcdefghijklmnopqrstuvwxyz"
TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 3}
CLIP = {
    "model_type": "clip",
    "architectures": ["CLIPModel"],
    "projection_dim": 24,
    "text_config": {**TOWER, "hidden_size": 48, "vocab_size": 80, "max_position_embeddings": 16, "eos_token_id": 1},
    "vision_config": {**TOWER, "image_size": 64, "patch_size": 16},
}
SIGLIP = {
    "model_type": "siglip",
    "architectures": ["SiglipModel"],
    "text_config": {**TOWER, "vocab_size": 80, "max_position_embeddings": 16},
    "vision_config": {**TOWER, "image_size": 64, "patch_size": 16},
}
PICTURES = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.25, 0.3, 0.5], "rescale_factor": 1 / 255, "resample": 3}


def pieces() -> list[tuple[str, float]]:
    """The vocabulary of a small SigLIP as SentencePiece numbers it: padding is the end mark, 1, words and letters."""
    words = [(f"▁{word}", -2.0) for word in dict.fromkeys(WORDS)]
    return [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *words, ("▁", -5.0), *((letter, -8.0) for letter in LETTERS)]


def write_spiece_model(path: Path) -> None:
    """The same as a SentencePiece file, field by field."""

    def field(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2, len(content)]) + content

    kinds = {"<unk>": 2, "<pad>": 3, "</s>": 3}
    parts = [
        field(1, text.encode()) + bytes([2 << 3 | 5]) + struct.pack("<f", score) + bytes([3 << 3, kinds.get(text, 1)])
        for text, score in pieces()
    ]
    trainer = bytes([3 << 3, 1, 40 << 3 & 0x7F | 0x80, 40 >> 4, 2])  # a unigram model, the unknown piece is number 2
    normaliser = bytes([3 << 3, 1])
    path.write_bytes(b"".join(field(1, part) for part in parts) + field(2, trainer) + field(3, normaliser))


def write_siglip_tokenizer(folder: Path) -> None:
    """tokenizer.json and its settings, as a SigLIP has them."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    tokenizer = Tokenizer(models.Unigram(pieces(), unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.add_special_tokens(["</s>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "SiglipTokenizer", "do_lower_case": True, "model_max_length": 16}
    marks = {"eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>"}
    objects = {name: {"content": mark, "lstrip": True, "special": True} for name, mark in marks.items()}
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, **marks}))
    (folder / "special_tokens_map.json").write_text(json.dumps(objects))


def write_clip_tokenizer(folder: Path) -> None:
    """The two files of CLIP's byte-pair tokenizer: letters, and "lung" and "lungs" as words of their own."""
    letters = [*LETTERS, *"<|>", *(f"{letter}</w>" for letter in (*LETTERS, *"<|>"))]
    merges = ["l u", "lu n", "lun g</w>", "lun g", "lung s</w>"]
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(merge.replace(" ", "") for merge in merges)]
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")


def write_hugging_face_folder(folder: Path, config: dict) -> Path:
    """A folder with all files of a CLIP or a SigLIP.

    Args:
        folder: where to.
        config: the content of config.json.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text(json.dumps(PICTURES))
    if config["model_type"] == "siglip":
        write_siglip_tokenizer(folder)
    else:
        write_clip_tokenizer(folder)
    torch.manual_seed(3)
    network = build_model(read_config(folder))
    with torch.no_grad():  # the biases start at zero, and would show nothing
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        network.logit_scale.fill_(2.0)
        if config["model_type"] == "siglip":
            network.logit_bias.fill_(-3.0)
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, folder / "model.safetensors")
    return folder


@register_model
def tiny_siglip(pretrained: bool = False, **options: object) -> VisionTransformer:
    """timm's form of SigLIP's vision tower, which it has in large sizes alone."""
    form = {"img_size": 64, "patch_size": 16, "embed_dim": 32, "depth": 3, "num_heads": 2, "class_token": False}
    kept = {name: value for name, value in options.items() if not name.startswith(("pretrained", "cache"))}
    return VisionTransformer(**{**form, "global_pool": "map", **kept})


OPEN_CLIP_SIGLIP = {
    "embed_dim": 32,
    "init_logit_bias": -10,
    "custom_text": True,
    "vision_cfg": {"image_size": 64, "timm_model_name": "tiny_siglip", "timm_pool": "map", "timm_proj": "none"},
    "text_cfg": {
        "context_length": 16,
        "vocab_size": 80,
        "hf_tokenizer_name": "a/name-that-is-never-asked-for",
        "tokenizer_kwargs": {"clean": "canonicalize"},
        "width": 32,
        "heads": 2,
        "layers": 2,
        "no_causal_mask": True,
        "proj_bias": True,
        "pool_type": "last",
        "norm_kwargs": {"eps": 1e-6},
        "act_kwargs": {"approximate": "tanh"},
    },
}
"""The form of open_clip's ViT-B-16-SigLIP."""


def write_open_clip_folder(folder: Path, model: dict, biased: bool = True) -> Path:
    """A CLIP in open_clip's local-dir form; with a tokenizer of SigLIP where its settings name one.

    Args:
        folder: where to.
        model: the "model_cfg" of open_clip_config.json.
        biased: move all weights, as many start at zero, and would show nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model, "preprocess_cfg": pictures}))
    if "hf_tokenizer_name" in model["text_cfg"]:
        write_siglip_tokenizer(folder)
        settings = json.loads((folder / "tokenizer_config.json").read_text())
        (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "tokenizer_class": "T5Tokenizer"}))
    torch.manual_seed(3)
    clip = build_clip(folder)
    with torch.no_grad():
        for parameter in clip.parameters() if biased else ():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        clip.logit_scale.fill_(2.0)
    save_file({k: v.contiguous() for k, v in clip.state_dict().items()}, folder / "open_clip_model.safetensors")
    return folder


def write_encoder(kind: str, folder: Path) -> Path:
    """A small encoder of one of the `KINDS`."""
    form = KINDS[kind][1]
    return write_open_clip_folder(folder, form) if KINDS[kind][0] == "clip" else write_hugging_face_folder(folder, form)


PATCH_32 = {
    **CLIP,
    "vision_config": {**TOWER, "image_size": 96, "patch_size": 32},
}
LARGE_14 = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 56, "layers": 3, "width": 48, "head_width": 16, "patch_size": 14},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
KINDS: dict[str, tuple[str, dict]] = {
    "pubmedclip": ("transformers", PATCH_32),
    "medsiglip": ("transformers", SIGLIP),
    "open_clip_siglip": ("clip", OPEN_CLIP_SIGLIP),
    "medpmc_clip": ("clip", LARGE_14),
}
"""By what it is a small form of: the preset's kind of encoder, and the network's settings."""
