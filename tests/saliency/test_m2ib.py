from __future__ import annotations

import pytest
import torch

from medclipsam_monai.saliency.m2ib import M2IB, _bottleneck, _kept, capacity
from medclipsam_monai.saliency.maps import unit_range


@pytest.fixture(scope="module")
def images():
    return torch.rand(2, 3, 60, 90, generator=torch.Generator().manual_seed(7))


@pytest.fixture(scope="module")
def text(encoder):
    return encoder.encode_text(["lungs", "heart", "a bright tumor"])


def test_capacity_is_the_divergence_from_a_standard_normal():
    mu, var = torch.tensor([0.0, 1.0, -2.0]), torch.tensor([1.0, 1.0, 0.25])
    given = torch.distributions.Normal(mu, var.sqrt())
    expected = torch.distributions.kl_divergence(given, torch.distributions.Normal(0.0, 1.0))
    torch.testing.assert_close(capacity(mu, var), expected)


@pytest.mark.parametrize("options", [{}, {"standardise": True}, {"share_alpha": True}, {"gamma": 0.0}])
def test_maps_fill_the_unit_range_at_the_size_of_the_picture(encoder, images, text, options):
    maps = M2IB(layer=3, samples=3, steps=4, **options)(encoder, images, text)
    assert maps.shape == (2, 3, 60, 90)
    assert torch.equal(maps.amin(dim=(-2, -1)), torch.zeros(2, 3))
    assert torch.equal(maps.amax(dim=(-2, -1)), torch.ones(2, 3))


@pytest.mark.parametrize("chunk", [1, 4])
def test_a_map_depends_neither_on_its_batch_nor_on_the_run(encoder, images, text, chunk):
    method = M2IB(layer=3, samples=4, steps=5, chunk=8)
    together = method(encoder, images, text)
    torch.manual_seed(99)  # the global generator plays no part
    alone = M2IB(layer=3, samples=4, steps=5, chunk=chunk)(encoder, images[1:], text[2:])
    torch.testing.assert_close(alone[0, 0], together[1, 2], atol=1e-4, rtol=0)


def test_the_seed_and_the_text_matter(encoder, images, text):
    first = M2IB(layer=3, samples=4, steps=5)(encoder, images[:1], text)
    other_seed = M2IB(layer=3, samples=4, steps=5, seed=1)(encoder, images[:1], text)
    assert (first - other_seed).abs().max() > 1e-3
    assert (first[0, 0] - first[0, 1]).abs().max() > 1e-4


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_leaves_no_gradient_behind_and_works_in_any_grad_mode(encoder, images, text, mode):
    method = M2IB(layer=3, samples=2, steps=2)
    expected = method(encoder, images[:1], text[:1])
    with mode():
        inside = method(encoder, images[:1], text[:1])
    torch.testing.assert_close(inside.clone(), expected)
    assert all(parameter.grad is None for parameter in encoder.parameters())


def test_autocast_gives_nearly_the_same_map(encoder, images, text):
    method = M2IB(layer=3, samples=4, steps=5)
    plain = method(encoder, images[:1], text[:1])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = method(encoder, images[:1], text[:1])
    assert mixed.dtype == torch.float32
    assert torch.corrcoef(torch.stack([plain.flatten(), mixed.flatten()]))[0, 1] > 0.95


def test_a_constant_map_becomes_zeros_with_a_warning():
    with pytest.warns(UserWarning, match="constant"):
        assert torch.equal(unit_range(torch.full((1, 1, 3, 3), 4.0)), torch.zeros(1, 1, 3, 3))


@pytest.mark.parametrize(
    "options", [{"steps": 0}, {"samples": -1}, {"learning_rate": 0.0}, {"gamma": -1.0}, {"layer": -1}, {"chunk": 0}]
)
def test_numbers_out_of_range_are_named(options):
    (name,) = options
    with pytest.raises(ValueError, match=rf"{name} must .* got {options[name]}"):
        M2IB(**options)


@pytest.mark.parametrize("steps", [13, 20, 60])
@pytest.mark.parametrize("share_alpha", [False, True])
def test_the_tokens_that_matter_keep_the_most_after_any_number_of_steps(steps, share_alpha):
    """An encoder that reads one token: its alphas only grow, far beyond what 1 - sigmoid(alpha) can tell from 0."""
    tokens = torch.randn(1, 6, 8, generator=torch.Generator().manual_seed(3))
    text = torch.nn.functional.normalize(tokens[:, 2], dim=-1)

    class ReadsOneToken:
        def embed(self, tokens, block):
            return tokens[:, 2]

    method = M2IB(layer=0, gamma=1e-9, steps=steps, learning_rate=3.0, share_alpha=share_alpha)
    kept = method.token_capacity(ReadsOneToken(), tokens, text)[0, 0]
    exact = method.token_capacity(ReadsOneToken(), tokens.double(), text.double())[0, 0]
    assert torch.isfinite(kept).all()
    assert kept.argmax() == 2
    torch.testing.assert_close(kept.double(), exact, rtol=1e-3, atol=1e-3)


def test_information_grows_with_alpha_far_beyond_what_float32_tells_from_one():
    alpha = torch.linspace(-20.0, 200.0, 1000, requires_grad=True)
    h = torch.full_like(alpha, 0.5)
    kept = _kept(*_bottleneck(h, alpha), alpha)
    (slope,) = torch.autograd.grad(kept.sum(), alpha)
    a = alpha.detach().double()
    exact = -0.5 * (1 + 2 * torch.nn.functional.logsigmoid(-a) - (0.5 * a.sigmoid()).square() - (-a).sigmoid().square())
    torch.testing.assert_close(kept.detach().double(), exact, rtol=1e-5, atol=1e-6)
    assert (kept[100:].diff() > 0).all()  # from alpha = 2 on
    assert torch.isfinite(slope).all()
    assert (slope[200:] > 0.99).all()  # d/d alpha of -log(1 - lambda) is lambda
