"""Saliency on encoders of other forms against the equations written out, step by step, on the library's own model.

A hook changes or watches a block of the whole network; one picture, one text and one noise sample go through it at a
time, and the gradient comes back through all of it.
"""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from encoder_folders import KINDS, write_encoder

from medclipsam_monai.presets.networks import load_encoder
from medclipsam_monai.saliency.gradcam import GradCAM
from medclipsam_monai.saliency.gscorecam import GScoreCAM
from medclipsam_monai.saliency.m2ib import M2IB

LAYER, GAMMA, RATE, STEPS, SAMPLES, SEED = 0, 0.01, 1.0, 6, 3, 12


@pytest.fixture(scope="module", params=KINDS)
def encoder(request, tmp_path_factory):
    folder = write_encoder(request.param, tmp_path_factory.mktemp(request.param))
    return load_encoder(KINDS[request.param][0], folder, "squash", "cpu")


@pytest.fixture(scope="module")
def images():
    return torch.rand(2, 3, 60, 90, generator=torch.Generator().manual_seed(7))


@pytest.fixture(scope="module")
def texts(encoder):
    return encoder.encode_text(["lungs", "a bright tumor"])


def blocks_of(clip):
    if hasattr(clip, "vision_model"):
        return clip.vision_model.encoder.layers
    return clip.visual.trunk.blocks if hasattr(clip.visual, "trunk") else clip.visual.transformer.resblocks


def first_norm_of(block):
    return next(getattr(block, name) for name in ("layer_norm1", "norm1", "ln_1") if hasattr(block, name))


def features(clip, x):
    if hasattr(clip, "encode_image"):
        return clip.encode_image(x)
    pooled = clip.vision_model(x).pooler_output
    return clip.visual_projection(pooled) if hasattr(clip, "visual_projection") else pooled


def tokens_of(output):
    """What a block gives; in transformers 4 it stands in a tuple."""
    return output[0] if isinstance(output, tuple) else output


def in_place_of(output, tokens):
    return (tokens, *output[1:]) if isinstance(output, tuple) else tokens


def minmax(x):
    return (x - x.min()) / (x.max() - x.min())


def on_picture(encoder, grid, shape):
    """At the picture's pixels in [0, 1]; a constant map is zeros."""
    return minmax(F.interpolate(grid[None, None], shape, mode="bilinear", align_corners=False)[0, 0]).nan_to_num(0.0)


def patches(encoder, tokens):
    """Tokens (T, C) to (C, rows, columns), without a class token."""
    rows, columns = encoder.grid
    return tokens[len(tokens) - rows * columns :].T.reshape(-1, rows, columns)


def plain_m2ib(encoder, image, text):
    """(rows, columns): the capacity of each patch's token at the last step."""
    clip, x = encoder.clip, encoder.preprocess(image[None])
    h = []
    block = blocks_of(clip)[LAYER]
    handle = block.register_forward_hook(lambda module, inputs, output: h.append(tokens_of(output)))
    with torch.no_grad():
        features(clip, x)
    handle.remove()
    (h,) = h
    alpha = torch.full_like(h, 5.0, requires_grad=True)
    optimiser = torch.optim.Adam([alpha], lr=RATE)
    noise = torch.Generator().manual_seed(SEED)
    for _ in range(STEPS):
        eps = torch.randn(SAMPLES, *h.shape[1:], generator=noise)
        lam = torch.sigmoid(alpha)
        mu, var = lam * h, (1 - lam) ** 2
        capacity = -0.5 * (1 + torch.log(var) - mu**2 - var)
        similarity = 0
        for one in eps:
            z = mu + torch.sqrt(var) * one
            handle = block.register_forward_hook(lambda module, inputs, output, z=z: in_place_of(output, z))
            similarity = similarity + F.cosine_similarity(features(clip, x)[0], text, dim=0) / SAMPLES
            handle.remove()
        loss = GAMMA * capacity.mean() - similarity
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return patches(encoder, capacity.detach()[0]).sum(dim=0)


def watch_last_norm(encoder, x, text):
    """Activations (C, rows, columns) of the last block's first norm, and their gradient for one text."""
    seen = []
    handle = first_norm_of(blocks_of(encoder.clip)[-1]).register_forward_hook(lambda m, i, output: seen.append(output))
    score = F.cosine_similarity(features(encoder.clip, x.clone().requires_grad_())[0], text, dim=0)
    handle.remove()
    (gradient,) = torch.autograd.grad(score, seen[0])
    return patches(encoder, seen[0].detach()[0]), patches(encoder, gradient[0])


def plain_gradcam(encoder, image, text):
    activation, gradient = watch_last_norm(encoder, encoder.preprocess(image[None]), text)
    grid = sum(gradient[c].mean() * activation[c] for c in range(len(activation))).clamp(min=0)
    return on_picture(encoder, grid, image.shape[-2:])


def plain_gscorecam(encoder, image, text, channels):
    x = encoder.preprocess(image[None])
    activation, gradient = watch_last_norm(encoder, x, text)
    best = sorted(range(len(activation)), key=lambda c: -float(gradient[c].mean()))[:channels]
    logits = []
    for c in best:
        mask = minmax(F.interpolate(activation[c][None, None], x.shape[-2:], mode="bilinear"))
        with torch.no_grad():
            cosine = F.cosine_similarity(features(encoder.clip, x * mask)[0], text, dim=0)
        bias = getattr(encoder.clip, "logit_bias", None)  # a constant, which the softmax does not see
        logits.append(encoder.clip.logit_scale.exp() * cosine + (0 if bias is None else bias))
    weights = torch.softmax(torch.stack(logits).flatten(), dim=0)
    grid = sum(w * activation[c] for w, c in zip(weights, best, strict=True)).clamp(min=0)
    return on_picture(encoder, grid, image.shape[-2:])


PAIRS = [(0, 0), (1, 1)]


def test_m2ib_is_the_plain_one(encoder, images, texts):
    method = M2IB(layer=LAYER, gamma=GAMMA, learning_rate=RATE, steps=STEPS, samples=SAMPLES, seed=SEED)
    maps = method(encoder, images, texts)
    for b, k in PAIRS:
        expected = on_picture(encoder, plain_m2ib(encoder, images[b], texts[k]), images.shape[-2:])
        torch.testing.assert_close(maps[b, k], expected, atol=1e-4, rtol=0)


def test_gradcam_is_the_plain_one(encoder, images, texts):
    maps = GradCAM()(encoder, images, texts)
    for b, k in PAIRS:
        torch.testing.assert_close(maps[b, k], plain_gradcam(encoder, images[b], texts[k]), atol=1e-4, rtol=0)


def test_gscorecam_is_the_plain_one(encoder, images, texts):
    maps = GScoreCAM(channels=16)(encoder, images, texts)
    for b, k in PAIRS:
        torch.testing.assert_close(maps[b, k], plain_gscorecam(encoder, images[b], texts[k], 16), atol=1e-4, rtol=0)


@pytest.mark.parametrize("method", [M2IB(layer=1, gamma=0.01, steps=5, samples=2), GradCAM(), GScoreCAM(channels=5)])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_maps_leave_no_trace_and_depend_on_the_text_but_not_on_the_batch(encoder, images, texts, method, mode):
    maps = method(encoder, images, texts)
    with mode():
        alone = method(encoder, images[1:], texts[1:])
    torch.testing.assert_close(alone[0, 0].clone(), maps[1, 1], atol=1e-4, rtol=0)
    assert (maps[0, 0] - maps[0, 1]).abs().max() > 1e-3
    assert all(parameter.grad is None for parameter in encoder.parameters())


def test_the_attention_of_one_query_is_exact(encoder, images):
    """In float64 the shorter way gives what the whole network gives; in float32 they differ by rounding."""
    double = copy.deepcopy(encoder).double()
    tower = double._tower
    with torch.no_grad():
        x = double.prepare(images.double())
        tokens = double.tokens_of_input(x, double.num_blocks - 2)
        last = tower.blocks[-1]
        read = tower.class_token_after(last, tokens) if double.prefix_tokens else tower.through(last, tokens)
        torch.testing.assert_close(tower.head(read), features(double.clip, x), atol=1e-12, rtol=1e-10)
