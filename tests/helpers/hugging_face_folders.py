"""Small CLIPs and SigLIPs in the form in which transformers saves the real ones, with seeded random weights."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import torch
from safetensors.torch import save_file
from small_models import WORDS

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
    marks = {"eos_token": {"content": "</s>"}, "pad_token": {"content": "</s>"}, "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, **marks}))


def write_clip_tokenizer(folder: Path) -> None:
    """The two files of CLIP's byte-pair tokenizer: letters, and "lung" and "lungs" as words of their own."""
    letters = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS)]
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
            parameter.add_(torch.randn_like(parameter) * 0.05)
        network.logit_scale.fill_(2.0)
        if config["model_type"] == "siglip":
            network.logit_bias.fill_(-3.0)
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, folder / "model.safetensors")
    return folder
