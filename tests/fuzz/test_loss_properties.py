"""What holds of DHN-NCE and its family whatever the features are."""

from __future__ import annotations

import math

import pytest
import torch
from fuzzed import few
from hypothesis import given
from hypothesis import strategies as st

from medclipsam_monai.losses import DCLLoss, DHNNCELoss, HNNCELoss, contrastive_loss

SEEDS = st.integers(0, 10_000)
FAMILY = st.sampled_from([DHNNCELoss, HNNCELoss, DCLLoss])


def features(seed: int, batch: int, kind: str = "normal", dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """(batch, 6): spread over all directions, all the same, opposite in pairs, or with a zero row."""
    made = torch.randn(batch, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if kind == "same":
        made = made[:1].repeat(batch, 1)
    elif kind == "opposite":
        made[1::2] = -made[: batch // 2 * 2 : 2][: len(made[1::2])]
    elif kind == "zero":
        made[0] = 0
    return made.to(dtype)


KINDS = st.sampled_from(["normal", "same", "opposite", "zero"])


@few
@given(SEEDS, st.integers(2, 9), KINDS, KINDS, FAMILY, st.sampled_from([1e-3, 0.01, 0.6, 100.0]))
def test_loss_and_gradients_are_finite(seed, batch, image_kind, text_kind, family, temperature):
    image = features(seed, batch, image_kind, torch.float32).requires_grad_()
    text = features(seed + 1, batch, text_kind, torch.float32).requires_grad_()
    loss = family(temperature)(image, text)
    loss.backward()
    assert loss.shape == () and math.isfinite(loss.item())
    assert image.grad.isfinite().all() and text.grad.isfinite().all()


@few
@given(SEEDS, st.integers(2, 9), KINDS, FAMILY)
def test_images_and_texts_may_be_swapped(seed, batch, kind, family):
    image, text = features(seed, batch, kind), features(seed + 1, batch)
    assert family()(image, text).item() == pytest.approx(family()(text, image).item(), rel=1e-9)


@few
@given(SEEDS, st.integers(2, 9), FAMILY, st.randoms(use_true_random=False))
def test_the_order_of_the_batch_does_not_matter(seed, batch, family, random):
    order = random.sample(range(batch), batch)
    image, text = features(seed, batch), features(seed + 1, batch)
    assert family()(image[order], text[order]).item() == pytest.approx(family()(image, text).item(), rel=1e-9)


@few
@given(SEEDS, st.integers(2, 9), FAMILY, st.sampled_from([1e-6, 0.1, 1e6]))
def test_the_length_of_features_does_not_matter(seed, batch, family, length):
    image, text = features(seed, batch), features(seed + 1, batch)
    assert family()(length * image, text).item() == pytest.approx(family()(image, text).item(), rel=1e-9)


def written_out(s: list[list[float]], marked: list[list[bool]], beta: float, decoupled: bool) -> float:
    """One direction of the loss by its sums, over the rows that have a negative."""
    terms = []
    for i, row in enumerate(s):
        others = [value for j, value in enumerate(row) if j != i and not marked[i][j]]
        if not others:
            continue
        norm = sum(math.exp(beta * value) for value in others)
        weights = [len(others) * math.exp(beta * value) / norm for value in others]
        below = sum(weight * math.exp(value) for weight, value in zip(weights, others, strict=True))
        terms.append(math.log(below + (0 if decoupled else math.exp(row[i]))) - row[i])
    return sum(terms) / len(terms)


@few
@given(SEEDS, st.integers(3, 7), st.sampled_from([0.0, 0.15, 2.0]), st.booleans(), st.sampled_from([0.0, 0.3]))
def test_the_loss_is_the_sum_written_out(seed, batch, beta, decoupled, share):
    image, text, tau = features(seed, batch), features(seed + 1, batch), 0.3
    marked = torch.rand(batch, batch, generator=torch.Generator().manual_seed(seed)) < share
    marked[0] = marked[:, 0] = False  # so that there is a negative in each direction
    unit = [torch.nn.functional.normalize(one, dim=1) for one in (image, text)]
    s = unit[0] @ unit[1].T / tau
    total = written_out(s.tolist(), marked.tolist(), beta, decoupled)
    total += written_out(s.T.tolist(), marked.T.tolist(), beta, decoupled)
    found = contrastive_loss(image, text, tau, beta, beta, decoupled, marked)
    assert found.item() == pytest.approx(total, rel=1e-9, abs=1e-9)
