"""CLIPs and SigLIPs in the forms of the published ones, against the libraries' own models."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from encoder_folders import (
    KINDS,
    PICTURES,
    SIGLIP,
    write_encoder,
    write_hugging_face_folder,
    write_open_clip_folder,
)

from medclipsam_monai.networks.clip.transformers_encoder import load_transformers_encoder
from medclipsam_monai.presets.networks import load_encoder

TEXTS = ["lungs", "a bright tumor"]


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def encoder(kind, tmp_path_factory):
    return load_encoder(KINDS[kind][0], write_encoder(kind, tmp_path_factory.mktemp(kind)), "squash", "cpu")


@pytest.fixture(scope="module")
def image(encoder):
    size = encoder.image_size
    return torch.rand(2, 3, size + 7, size - 9, generator=torch.Generator().manual_seed(1))


def library_features(encoder, x):
    """The joint space of prepared pictures by the whole model of the library."""
    if hasattr(encoder.clip, "encode_image"):
        return encoder.clip.encode_image(x)
    pooled = encoder.clip.vision_model(x).pooler_output
    return encoder.clip.visual_projection(pooled) if hasattr(encoder.clip, "visual_projection") else pooled


def library_logits(encoder, image):
    """Scaled cosines, with SigLIP's bias, of pictures and texts by the whole model of the library."""
    x, ids = encoder.prepare(image), encoder.tokenizer(TEXTS)
    if not hasattr(encoder.clip, "encode_image"):
        return encoder.clip(input_ids=ids, pixel_values=x).logits_per_image
    return encoder.clip.get_logits(x, ids)[0]


def test_cut_at_any_block_it_is_the_whole_network(encoder, image):
    x = encoder.prepare(image)
    with torch.no_grad():
        expected = library_features(encoder, x)
        for block in range(-1, encoder.num_blocks):
            embedding = encoder.embed(encoder.tokens_of_input(x, block), block)
            torch.testing.assert_close(embedding, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(encoder.encode_image(image), F.normalize(expected, dim=-1), atol=1e-5, rtol=1e-4)


def test_scale_and_bias_make_the_logits_of_the_library(encoder, image, kind):
    with torch.no_grad():
        cosine = encoder.encode_image(image) @ encoder.encode_text(TEXTS).T
        expected = library_logits(encoder, image)
    torch.testing.assert_close(encoder.logit_scale * cosine + encoder.logit_bias, expected, atol=1e-4, rtol=1e-4)
    assert encoder.logit_scale.shape == encoder.logit_bias.shape == ()
    assert (float(encoder.logit_bias) < -2) == ("siglip" in kind)


def test_tokens_are_those_of_the_patches_after_a_class_token_if_there_is_one(encoder, image, kind):
    rows, columns = {"pubmedclip": (3, 3)}.get(kind, (4, 4))
    prefix = 0 if "siglip" in kind else 1
    assert (encoder.grid, encoder.prefix_tokens) == ((rows, columns), prefix)
    assert encoder.tokens(image, 0).shape[:2] == (2, prefix + rows * columns)


def test_a_patch_is_seen_by_its_own_token(encoder):
    """Before the first block a token depends on its own patch alone, in rows from the top left."""
    x = torch.zeros(1, 3, encoder.image_size, encoder.image_size)
    patch = encoder.image_size // encoder.grid[1]
    changed = x.clone()
    changed[..., :patch, 2 * patch : 3 * patch] = 1
    apart = (encoder.tokens_of_input(changed, -1) - encoder.tokens_of_input(x, -1)).abs().sum(-1)[0]
    assert apart.nonzero().flatten().tolist() == [encoder.prefix_tokens + 2]


def test_weights_are_frozen_and_the_last_block_works(encoder):
    encoder.train()
    assert not encoder.clip.training
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert encoder.last_block == encoder.num_blocks - 1 == 2


def test_a_copy_and_a_pickle_compute_the_same(encoder, image):
    for other in (copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder)), encoder.with_fit("squash")):
        assert torch.equal(other.encode_image(image), encoder.encode_image(image))
        assert torch.equal(other.encode_text(TEXTS), encoder.encode_text(TEXTS))


def test_letterboxed_pictures_share_the_weights(encoder):
    other = encoder.with_fit("letterbox")
    assert other.clip is encoder.clip
    x = other.prepare(torch.ones(1, 3, 10, 40))
    assert torch.equal(x[:, :, 0], torch.zeros_like(x[:, :, 0])), "the rest is the mean colour"


def test_idle_blocks_are_passed_over(encoder, image):
    """A block whose branches end in zeros costs nothing, and the network computes the same."""
    other = copy.deepcopy(encoder)
    state = other.clip.state_dict()
    ends = ("attn.proj", "attn.out_proj", "mlp.fc2", "mlp.c_proj")
    for name in state:
        if ("vision_model" in name or "visual" in name) and ".2." in name and any(end in name for end in ends):
            state[name] = torch.zeros_like(state[name])
    other.clip.load_state_dict(state)
    assert (other.last_block, other.num_blocks) == (1, 3)
    with torch.no_grad():
        expected = library_features(other, other.prepare(image))
        torch.testing.assert_close(other.embed(other.tokens(image, 1), 1), expected, atol=1e-5, rtol=1e-4)


def test_pictures_are_normalised_as_the_folder_says(tmp_path):
    encoder = load_transformers_encoder(write_hugging_face_folder(tmp_path, SIGLIP))
    image = torch.rand(1, 3, 64, 64)
    mean, std = (torch.tensor(PICTURES[name]).view(3, 1, 1) for name in ("image_mean", "image_std"))
    torch.testing.assert_close(encoder.prepare(image), (image - mean) / std)


@pytest.mark.parametrize(("kind", "mean"), [("pubmedclip", 0.48145466), ("medsiglip", 0.5)])
def test_without_a_word_about_pictures_those_of_the_family_are_taken(kind, mean, tmp_path):
    write_encoder(kind, tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()
    assert load_transformers_encoder(tmp_path).preprocess.mean[0] == mean


@pytest.mark.parametrize("kind", ["medsiglip", "open_clip_siglip"])
def test_a_side_that_is_no_whole_number_of_patches_loses_no_border(kind, tmp_path):
    """384 pixels hold 27 patches of 14, and 6 pixels that nothing would see: here 4 of 16, and 6."""
    config = copy.deepcopy(KINDS[kind][1])
    if kind == "medsiglip":
        config["vision_config"]["image_size"] = 70
        encoder = load_transformers_encoder(write_hugging_face_folder(tmp_path, config))
    else:
        config["vision_cfg"]["image_size"] = 70
        encoder = load_encoder("clip", write_open_clip_folder(tmp_path, config), "squash", "cpu")
    assert (encoder.grid, encoder.image_size) == ((4, 4), 64)
    image = torch.zeros(1, 3, 140, 140)
    changed = image.clone()
    changed[..., -1:, -1:] = 1  # the last pixel of the picture
    apart = (encoder.tokens(changed, 0) - encoder.tokens(image, 0)).abs().sum()
    assert float(apart) > 0
    assert encoder.encode_image(image).isfinite().all()
