"""The published networks' sizes with random weights: loaded, cut in two, asked for a map; one after the other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from encoder_folders import write_clip_tokenizer, write_siglip_tokenizer
from safetensors.torch import save_file

from medclipsam_monai.presets.networks import load_encoder
from medclipsam_monai.saliency.m2ib import M2IB
from medclipsam_monai.weights.clip_config import BIOMEDCLIP_FOLDER
from medclipsam_monai.weights.clip_folder import build_clip
from medclipsam_monai.weights.hugging_face.model import build_model, read_config

pytestmark = pytest.mark.minutes

BERT_TEXT = {
    "hf_model_name": "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract",
    "hf_tokenizer_name": "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract",
    "hf_proj_type": "mlp",
    "hf_pooler_type": "cls_last_hidden_state_pooler",
    "context_length": 256,
}
SO400M = {"hidden_size": 1152, "intermediate_size": 4304, "num_attention_heads": 16, "num_hidden_layers": 27}


def of_transformers(folder: Path, config: dict) -> None:
    """config.json, tokenizer, and weights in half precision."""
    (folder / "config.json").write_text(json.dumps(config))
    write_siglip_tokenizer(folder) if config["model_type"] == "siglip" else write_clip_tokenizer(folder)
    torch.manual_seed(0)
    state = build_model(read_config(folder)).state_dict()
    save_file({name: value.bfloat16() for name, value in state.items()}, folder / "model.safetensors")


def of_open_clip(folder: Path, model: dict) -> None:
    """open_clip_config.json, the files of its text tower, and weights in half precision."""
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model}))
    if model["text_cfg"].get("hf_model_name"):
        for path in BIOMEDCLIP_FOLDER.iterdir():
            if path.name != "open_clip_config.json":
                shutil.copy(path, folder)
    elif model["text_cfg"].get("hf_tokenizer_name"):
        write_siglip_tokenizer(folder)
    torch.manual_seed(0)
    state = build_clip(folder).state_dict()
    floats = {name: value.bfloat16() if value.is_floating_point() else value for name, value in state.items()}
    save_file(floats, folder / "open_clip_model.safetensors")


def built_in(name: str) -> dict:
    import open_clip

    return open_clip.get_model_config(name)


def pubmed_clip(folder: Path) -> None:
    """transformers' defaults are ViT-B/32 at 224 pixels; the small tokenizer of the tests ends with token 1."""
    of_transformers(folder, {"model_type": "clip", "text_config": {"eos_token_id": 1}, "vision_config": {}})


def medpmc_clip(folder: Path) -> None:
    of_open_clip(folder, built_in("ViT-L-14"))


def unimed_clip(folder: Path) -> None:
    of_open_clip(folder, {**built_in("ViT-B-16-quickgelu"), "text_cfg": BERT_TEXT})


def open_clip_siglip(folder: Path) -> None:
    of_open_clip(folder, built_in("ViT-B-16-SigLIP"))


def medsiglip(folder: Path) -> None:
    text = {**SO400M, "vocab_size": 32_000, "max_position_embeddings": 64}
    of_transformers(
        folder,
        {"model_type": "siglip", "text_config": text, "vision_config": {**SO400M, "image_size": 448, "patch_size": 14}},
    )


@pytest.mark.parametrize(
    ("write", "encoder", "side", "grid", "blocks", "prefix", "width", "millions"),
    [
        (pubmed_clip, "transformers", 224, 7, 12, 1, 512, 151),
        (medpmc_clip, "clip", 224, 16, 24, 1, 768, 427),
        (unimed_clip, "clip", 224, 14, 12, 1, 512, 195),
        (open_clip_siglip, "clip", 224, 14, 12, 0, 768, 203),
        (medsiglip, "transformers", 448, 32, 27, 0, 1152, 878),
    ],
    ids=lambda value: value.__name__ if callable(value) else str(value),
)
def test_a_published_size_is_loaded_and_gives_a_map(
    write, encoder, side, grid, blocks, prefix, width, millions, tmp_path
):
    write(tmp_path)
    made = load_encoder(encoder, tmp_path, "squash", "cpu")
    shutil.rmtree(tmp_path)  # gigabytes, which pytest would keep
    assert (made.image_size, made.grid, made.num_blocks, made.prefix_tokens) == (side, (grid, grid), blocks, prefix)
    assert sum(parameter.numel() for parameter in made.parameters()) // 1_000_000 == millions
    image = torch.rand(1, 3, 90, 120, generator=torch.Generator().manual_seed(2))
    text = made.encode_text(["lungs"])
    assert text.shape == (1, width)
    x = made.prepare(image)
    with torch.no_grad():
        if hasattr(made.clip, "encode_image"):
            expected = made.clip.encode_image(x)
        else:
            pooled = made.clip.vision_model(x).pooler_output
            expected = made.clip.visual_projection(pooled) if prefix else pooled
        tokens = made.tokens_of_input(x, blocks - 2)
        torch.testing.assert_close(made.embed(tokens, blocks - 2), expected, atol=1e-4, rtol=1e-3)
    method = M2IB(layer=blocks - 3, steps=3, samples=2)
    maps = method(made, image, text)
    assert maps.shape == (1, 1, 90, 120) and float(maps.max()) == 1.0
