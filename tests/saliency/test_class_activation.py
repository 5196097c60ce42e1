"""GradCAM and gScoreCAM against naive versions that use hooks on the open_clip model itself."""

from __future__ import annotations

import threading
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from small_models import TIMM_VISION, write_clip_folder

from medclipsam_monai.networks.clip.load import load_text_image_encoder
from medclipsam_monai.networks.image_tokens import ImageTokens
from medclipsam_monai.saliency.gradcam import GradCAM
from medclipsam_monai.saliency.gscorecam import GScoreCAM

OPEN_CLIP_VISION = {"layers": 3, "width": 48, "head_width": 16, "patch_size": 16, "image_size": 96}
METHODS = [GradCAM(), GScoreCAM(channels=20)]


def named(method) -> str:
    return type(method).__name__


@pytest.fixture(scope="module", params=["timm", "timm_mean_pooled", "open_clip", "one_block"])
def any_encoder(request, tmp_path_factory):
    vision = {
        "timm": TIMM_VISION,
        "timm_mean_pooled": {**TIMM_VISION, "timm_pool": "avg"},
        "open_clip": OPEN_CLIP_VISION,
        "one_block": {**OPEN_CLIP_VISION, "layers": 1},
    }[request.param]
    folder = write_clip_folder(tmp_path_factory.mktemp(request.param), {"image_size": 160, **vision})
    return load_text_image_encoder(folder)


@pytest.fixture(scope="module")
def images():
    return torch.rand(2, 3, 60, 90, generator=torch.Generator().manual_seed(7))


@pytest.fixture(scope="module")
def text(encoder):
    return encoder.encode_text(["lungs", "heart", "a bright tumor"])


def watch_last_norm(clip, x, text):
    """Activations (C, h, w) and their gradient for one text, from hooks and a backward pass through everything."""
    visual = clip.visual
    norm = visual.trunk.blocks[-1].norm1 if hasattr(visual, "trunk") else visual.transformer.resblocks[-1].ln_1
    seen = {}
    handle = norm.register_forward_hook(lambda module, inputs, output: seen.update(tokens=output))
    score = F.cosine_similarity(clip.encode_image(x.clone().requires_grad_())[0], text, dim=0)
    handle.remove()
    (gradient,) = torch.autograd.grad(score, seen["tokens"])
    side = round((seen["tokens"].shape[1] - 1) ** 0.5)
    pictures = [t[0, 1:].T.reshape(-1, side, side) for t in (seen["tokens"].detach(), gradient)]
    return pictures[0], pictures[1]


def minmax(x):
    return (x - x.min()) / (x.max() - x.min())


def naive_gradcam(encoder, image, text):
    activation, gradient = watch_last_norm(encoder.clip, encoder.preprocess(image[None]), text)
    grid = sum(gradient[c].mean() * activation[c] for c in range(len(activation))).clamp(min=0)
    return minmax(F.interpolate(grid[None, None], image.shape[-2:], mode="bilinear")[0, 0])


def naive_gscorecam(encoder, image, text, channels):
    x = encoder.preprocess(image[None])
    activation, gradient = watch_last_norm(encoder.clip, x, text)
    importance = [float(gradient[c].mean()) for c in range(len(activation))]
    best = sorted(range(len(activation)), key=lambda c: -importance[c])[:channels]
    logits = []
    for c in best:
        mask = minmax(F.interpolate(activation[c][None, None], x.shape[-2:], mode="bilinear"))
        with torch.no_grad():
            seen = encoder.clip.encode_image(x * mask)[0]
        logits.append(float(encoder.clip.logit_scale.exp()) * float(F.cosine_similarity(seen, text, dim=0)))
    weights = torch.softmax(torch.tensor(logits), dim=0)
    grid = sum(w * activation[c] for w, c in zip(weights, best, strict=True)).clamp(min=0)
    return minmax(F.interpolate(grid[None, None], image.shape[-2:], mode="bilinear")[0, 0])


def test_gradcam_is_the_naive_one(any_encoder, images):
    text = any_encoder.encode_text(["lungs", "a bright tumor"])
    maps = GradCAM()(any_encoder, images, text)
    for b in range(2):
        for k in range(2):
            expected = naive_gradcam(any_encoder, images[b], text[k])
            torch.testing.assert_close(maps[b, k], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("batch", [3, 32])
def test_gscorecam_is_the_naive_one(any_encoder, images, batch):
    text = any_encoder.encode_text(["lungs", "a bright tumor"])
    maps = GScoreCAM(channels=7, batch=batch)(any_encoder, images, text)
    for b, k in ((0, 0), (0, 1), (1, 1)):
        expected = naive_gscorecam(any_encoder, images[b], text[k], 7)
        torch.testing.assert_close(maps[b, k], expected, atol=1e-5, rtol=0)


def test_blocks_that_do_nothing_are_passed_over(clip_folder, images):
    encoder = load_text_image_encoder(clip_folder)
    blocks = encoder.clip.visual.trunk.blocks
    assert encoder.last_block == len(blocks) - 1
    for block in blocks[3:]:
        for module in (block.attn, block.mlp):
            for parameter in module.parameters():
                parameter.zero_()
    assert encoder.last_block == 2
    assert GradCAM()(encoder, images, encoder.encode_text(["lungs"])).any(), "a dead last block has no gradient"


def test_more_channels_than_there_are_means_all_of_them(encoder, images, text):
    every = GScoreCAM(channels=64)(encoder, images[:1], text[:1])
    assert torch.equal(GScoreCAM(channels=300)(encoder, images[:1], text[:1]), every)
    assert not torch.equal(GScoreCAM(channels=3)(encoder, images[:1], text[:1]), every)


@pytest.mark.parametrize("method", METHODS, ids=named)
def test_maps_fill_the_unit_range_and_depend_on_the_text_but_not_on_the_batch(encoder, images, text, method):
    maps = method(encoder, images, text)
    assert maps.shape == (2, 3, 60, 90)
    assert torch.equal(maps.amin(dim=(-2, -1)), torch.zeros(2, 3))
    assert torch.equal(maps.amax(dim=(-2, -1)), torch.ones(2, 3))
    assert (maps[0, 0] - maps[0, 1]).abs().max() > 1e-4
    torch.testing.assert_close(method(encoder, images[1:], text[2:])[0, 0], maps[1, 2], atol=1e-4, rtol=0)


@pytest.mark.parametrize("method", METHODS, ids=named)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_they_leave_no_trace_and_work_in_any_grad_mode(encoder, images, text, method, mode):
    expected = method(encoder, images[:1], text[:1])
    with mode():
        inside = method(encoder, images[:1], text[:1])
    torch.testing.assert_close(inside.clone(), expected)
    assert not expected.requires_grad
    assert all(parameter.grad is None for parameter in encoder.parameters())
    assert not encoder.first_norm(encoder.num_blocks - 1)._forward_hooks


@pytest.mark.parametrize("method", METHODS, ids=named)
def test_a_map_that_finds_nothing_is_zeros_with_a_warning(encoder, images, text, method, monkeypatch):
    nothing = (torch.zeros(1, 64, *encoder.grid), torch.zeros(1, 1, 64))
    for module in ("gradcam", "gscorecam"):
        monkeypatch.setattr(f"medclipsam_monai.saliency.{module}.activations_and_importance", lambda *args: nothing)
    with pytest.warns(UserWarning, match="constant"):
        assert torch.equal(method(encoder, images[:1], text[:1]), torch.zeros(1, 1, 60, 90))


@pytest.mark.parametrize("method", METHODS, ids=named)
def test_a_picture_of_one_colour_gives_numbers(encoder, text, method):
    maps = method(encoder, torch.zeros(1, 3, 40, 40), text)
    assert bool(((maps >= 0) & (maps <= 1)).all())


@pytest.mark.parametrize("options", [{"channels": 0}, {"batch": -1}])
def test_numbers_out_of_range_are_named(options):
    (name,) = options
    with pytest.raises(ValueError, match=rf"{name} must be a whole number from 1 to [0-9,]+, got {options[name]}"):
        GScoreCAM(**options)


def test_another_thread_may_use_the_network_meanwhile(encoder):
    image = ImageTokens(encoder, torch.rand(1, 3, 40, 40))
    text = encoder.encode_text(["lungs"])
    alone = GradCAM().grids(image, text)
    embed = encoder.embed

    def interrupted(tokens, block):
        other = threading.Thread(target=embed, args=(tokens.detach() + 1, block))
        other.start()
        other.join()
        return embed(tokens, block)

    with mock.patch.object(encoder, "embed", interrupted):
        torch.testing.assert_close(GradCAM().grids(image, text), alone)
