"""Parity with maps that the released M2IB code made from seeded weights (tests/data/golden_m2ib.json)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from open_clip.model import CustomTextCLIP
from transformers import BertConfig

from medclipsam_monai.networks.clip.encoder import CLIPEncoder
from medclipsam_monai.networks.clip.preprocess import Preprocess
from medclipsam_monai.saliency.m2ib import M2IB
from medclipsam_monai.weights.state_dicts import load_exactly, to_open_clip, to_transformers

DATA = Path(__file__).parent
GOLDEN = json.loads((DATA / "golden_m2ib.json").read_text())


def golden_weights(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for key in sorted(GOLDEN["shapes"]):
        weight = torch.randn(GOLDEN["shapes"][key], generator=generator) * 0.05
        state[key] = weight + 1 if "norm" in key and key.endswith(".weight") else weight
    state["logit_scale"] = torch.tensor(4.4454)
    return state


@pytest.fixture(scope="module", params=["a", "b"])
def case(request, tmp_path_factory):
    settings = GOLDEN["cases"][request.param]
    bert = {
        "model_type": "bert",
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 256,
        "vocab_size": 1000,
        "max_position_embeddings": 128,
    }
    folder = tmp_path_factory.mktemp("bert")
    BertConfig(**{k: v for k, v in bert.items() if k != "model_type"}).save_pretrained(folder)
    clip = CustomTextCLIP(
        embed_dim=64,
        vision_cfg={"timm_model_name": "vit_tiny_patch16_224", "timm_pool": "", "timm_proj": "linear"},
        text_cfg={
            "hf_model_name": str(folder),
            "hf_proj_type": "mlp",
            "hf_pooler_type": "cls_last_hidden_state_pooler",
            "hf_model_pretrained": False,
        },
    )
    load_exactly(clip, to_open_clip(golden_weights(settings["weight_seed"])), "golden")
    encoder = CLIPEncoder(clip, lambda texts: None, Preprocess(224, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
    generator = torch.Generator().manual_seed(settings["weight_seed"] + 1)
    image = torch.randn(1, 3, 224, 224, generator=generator)
    tokens = torch.randint(5, 1000, (1, settings["num_tokens"]), generator=generator)
    with np.load(DATA / f"golden_m2ib_{request.param}.npz") as arrays:
        expected = {name: torch.from_numpy(np.asarray(arrays[name])) for name in arrays}
    method = M2IB(layer=settings["layer"], gamma=settings["beta"], seed=settings["noise_seed"])
    return encoder, image, tokens, expected, method


def test_features_are_those_of_the_released_code(case):
    encoder, image, tokens, expected, _ = case
    assert torch.equal(tokens, expected["tokens"])
    unit = torch.nn.functional.normalize
    torch.testing.assert_close(encoder.encode_image(image), unit(expected["image_features"]), atol=1e-4, rtol=0)
    torch.testing.assert_close(encoder.encode_token_ids(tokens), unit(expected["text_features"]), atol=1e-4, rtol=0)


def test_capacity_and_map_are_those_of_the_released_code(case):
    encoder, image, tokens, expected, method = case
    text = encoder.encode_token_ids(tokens)
    capacity = method.token_capacity(encoder, encoder.tokens(image, method.layer), text)[0, 0]
    torch.testing.assert_close(capacity, expected["capacity"], rtol=1e-4, atol=0)
    torch.testing.assert_close(method(encoder, image, text)[0, 0], expected["heatmap"], atol=1e-4, rtol=0)


def test_the_two_layouts_convert_into_each_other_without_loss():
    state = golden_weights(101)
    back = to_transformers(to_open_clip(state))
    assert back.keys() == state.keys()
    assert all(torch.equal(back[key], state[key]) for key in state)
