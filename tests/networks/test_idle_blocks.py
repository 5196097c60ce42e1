"""Idle blocks are left out of the computation, and only while their weights say so."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from small_models import TIMM_VISION, write_clip_folder

from medclipsam_monai.networks.clip.load import load_text_image_encoder
from medclipsam_monai.networks.clip.vision_tower import is_idle, vision_tower
from medclipsam_monai.weights.clip_folder import build_clip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_clip_folder(tmp_path_factory.mktemp("clip") / "clip", {**TIMM_VISION, "image_size": 160})


@pytest.fixture(scope="module")
def image():
    return torch.rand(2, 3, 50, 70, generator=torch.Generator().manual_seed(1))


def weights(folder, idle):
    """A state dict with random biases, and block 1 idle or not."""
    torch.manual_seed(4)
    state = {key: torch.randn_like(value) * 0.1 for key, value in build_clip(folder).state_dict().items()}
    for end in ("attn.proj", "mlp.fc2"):
        for kind in ("weight", "bias"):
            if idle:
                state[f"visual.trunk.blocks.1.{end}.{kind}"].zero_()
    return state


@torch.no_grad()
def by_open_clip(folder, state, prepared):
    """Embedding and tokens after block 1 of a network that has never skipped anything, by its own forward."""
    clip = build_clip(folder).eval()
    clip.load_state_dict(state)
    trunk = clip.visual.trunk
    tokens = trunk.norm_pre(trunk._pos_embed(trunk.patch_embed(prepared)))
    embedding = torch.nn.functional.normalize(clip.encode_image(prepared), dim=-1)
    return embedding, trunk.blocks[1](trunk.blocks[0](tokens))


def copied(encoder):
    return copy.deepcopy(encoder)


def pickled(encoder):
    return pickle.loads(pickle.dumps(encoder))


def moved(encoder):
    return encoder.to(torch.float64).to(torch.float32)


@pytest.mark.parametrize(
    "change", [lambda encoder: encoder, copied, pickled, moved], ids=["itself", "copy", "pickle", "to"]
)
@pytest.mark.parametrize("first", [True, False], ids=["idle_first", "busy_first"])
def test_after_loading_a_network_is_what_its_weights_say(folder, image, first, change):
    encoder = load_text_image_encoder(folder)
    encoder.clip.load_state_dict(weights(folder, first))
    encoder = change(encoder)
    state = weights(folder, not first)
    encoder.clip.load_state_dict(state)
    assert is_idle(vision_tower(encoder.clip).blocks[1]) == (not first)
    expected, expected_tokens = by_open_clip(folder, state, encoder.prepare(image))
    torch.testing.assert_close(encoder.encode_image(image), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(encoder.tokens(image, 1), expected_tokens, atol=1e-5, rtol=0)


def test_an_idle_block_costs_nothing_and_a_whole_network_may_be_loaded_by_its_parent(folder, image):
    encoder = load_text_image_encoder(folder)
    encoder.clip.load_state_dict(weights(folder, True))
    calls = []
    block = vision_tower(encoder.clip).blocks[1]
    block.attn.register_forward_hook(lambda *_: calls.append(1))
    encoder.tokens(image, 1)
    assert not calls
    encoder.load_state_dict({f"clip.{key}": value for key, value in weights(folder, False).items()}, assign=True)
    encoder.tokens(image, 1)
    assert calls == [1]
