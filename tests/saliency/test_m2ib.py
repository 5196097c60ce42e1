from __future__ import annotations

import pytest
import torch

from medclipsam_monai.saliency.m2ib import M2IB, capacity
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
