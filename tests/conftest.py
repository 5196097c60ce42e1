"""Small models in the file forms of the real ones, with seeded random weights."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from medclipsam_monai import cli
from medclipsam_monai.networks.load_clip import build_clip, load_text_image_encoder
from medclipsam_monai.networks.sam_sizes import SamSize, build_sam
from medclipsam_monai.networks.segmenter import load_segmenter

WORDS = (
    "a an the of in and no normal lung lungs heart liver tumor left right chest xray ct brain bright dark disk".split()
)
TINY_SAM = SamSize(48, 3, 3, (1,), image_size=128, window_size=3, prompt_embed_dim=32, decoder_num_heads=4)


def write_tokenizer(folder: Path, words: list[str]) -> None:
    """A BERT WordPiece tokenizer with whole words only."""
    from transformers import BertTokenizerFast

    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizerFast(vocab={word: n for n, word in enumerate(vocabulary)}).save_pretrained(folder)


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


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory) -> Path:
    return write_clip_folder(tmp_path_factory.mktemp("clip"), {**TIMM_VISION, "image_size": 160})


@pytest.fixture(scope="session")
def sam_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sam")
    torch.manual_seed(5)
    (folder / "config.json").write_text(json.dumps(asdict(TINY_SAM)))
    save_file(build_sam(TINY_SAM).state_dict(), folder / "sam.safetensors")
    return folder


@pytest.fixture(scope="session")
def encoder(clip_folder):
    return load_text_image_encoder(clip_folder)


@pytest.fixture(scope="session")
def segmenter(sam_folder):
    return load_segmenter(sam_folder)


@pytest.fixture(scope="session")
def tiny_preset(tmp_path_factory, clip_folder, sam_folder) -> Path:
    """A preset file of random networks: quick, and what it finds means nothing."""
    path = tmp_path_factory.mktemp("preset") / "tiny.json"
    content = {
        "description": "random networks for tests",
        "clip": str(clip_folder),
        "sam": str(sam_folder),
        "saliency": {"method": "m2ib", "layer": 3, "steps": 2, "samples": 2},
        "coarse": {"threshold": "otsu"},
    }
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def run(tiny_preset, monkeypatch, capsys, tmp_path):
    """Run the command in this process: (exit code, standard output, standard error)."""

    def call(*args: object, preset: object = tiny_preset) -> tuple[int, str, str]:
        words = ["medclipsam", "segment", *map(str, args), "--preset", str(preset)]
        if "--device" not in words:
            words += ["--device", "cpu"]
        if "--output" not in words:
            words += ["--output", str(tmp_path / "out")]
        monkeypatch.setattr(sys, "argv", words)
        capsys.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call
