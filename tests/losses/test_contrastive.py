from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from medclipsam_monai.losses import DHNNCELoss, contrastive_loss
from medclipsam_monai.losses.contrastive import LOSSES

CASES = json.loads((Path(__file__).with_name("golden_losses.json")).read_text())["cases"]


def pairs(seed: int, batch: int, dim: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(batch, dim, generator=generator)
    return image.to(dtype), torch.randn(batch, dim, generator=generator).to(dtype)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"seed{case['seed']}")
def test_matches_the_papers_formula(name, case):
    hardness = {"beta_image": case["beta"], "beta_text": case["beta"]} if "hn_nce" in name else {}
    loss = LOSSES[name](temperature=case["temperature"], **hardness)
    assert loss(*pairs(case["seed"], case["batch"], case["dim"])).item() == pytest.approx(case[name], abs=1e-6)


@pytest.mark.parametrize("decoupled", [True, False])
@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_gradients_are_exact(beta, decoupled):
    image, text = (x.requires_grad_() for x in pairs(7, 5, 4))
    mask = torch.zeros(5, 5, dtype=torch.bool)
    mask[0, 3] = mask[2, 1] = True

    def loss(image, text):
        return contrastive_loss(image, text, 0.4, beta, beta, decoupled, mask)

    assert torch.autograd.gradcheck(loss, (image, text))


def test_a_false_negative_counts_as_if_it_were_not_in_the_row():
    image, text = pairs(3, 4, 6)
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[:3, 3] = mask[3, :3] = True  # pair 3 is everybody's false negative and has no negatives itself
    expected = contrastive_loss(image[:3], text[:3])
    assert contrastive_loss(image, text, false_negatives=mask).item() == pytest.approx(expected.item(), abs=1e-12)


def test_a_marked_diagonal_changes_nothing():
    image, text = pairs(4, 4, 6)
    mask = torch.eye(4, dtype=torch.bool)
    assert contrastive_loss(image, text, false_negatives=mask) == contrastive_loss(image, text)


def test_a_row_without_negatives_leaves_finite_gradients():
    image, text = (x.requires_grad_() for x in pairs(3, 4, 6, torch.float32))
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[3, :] = True
    contrastive_loss(image, text, false_negatives=mask).backward()
    assert image.grad is not None and image.grad.isfinite().all()


def test_hard_negatives_raise_the_loss():
    image, text = pairs(5, 8, 6)
    values = [contrastive_loss(image, text, beta_image=b, beta_text=b).item() for b in (0.0, 0.5, 1.0)]
    assert values == sorted(values) and values[0] < values[2]


def test_stays_float32_and_finite_under_autocast_at_a_tiny_temperature():
    image, text = pairs(6, 8, 16, torch.float32)
    expected = contrastive_loss(image, text, temperature=1e-3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = contrastive_loss(image, text, temperature=1e-3)
    assert loss.dtype == torch.float32
    assert loss.item() == expected.item()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": 1}, "at least 2 pairs"),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"beta_text": -1.0}, "beta must be zero or positive, got -1.0"),
        ({"false_negatives": torch.zeros(2, 2, dtype=torch.bool)}, r"false_negatives must be \(3, 3\)"),
        ({"false_negatives": torch.ones(3, 3, dtype=torch.bool)}, "no negatives are left"),
    ],
)
def test_bad_input_is_refused(change, message):
    change = dict(change)
    rows = change.pop("rows", 3)
    with pytest.raises(ValueError, match=message):
        contrastive_loss(torch.randn(rows, 4), torch.randn(rows, 4), **change)


def test_two_shapes_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        contrastive_loss(torch.randn(3, 4), torch.randn(2, 4))


@pytest.mark.parametrize(("temperature", "beta"), [(0.0, 0.1), (0.6, -0.1)])
def test_modules_refuse_bad_parameters_when_made(temperature, beta):
    with pytest.raises(ValueError, match="must be"):
        DHNNCELoss(temperature, beta, beta)


@pytest.mark.parametrize("name", LOSSES)
def test_a_learned_temperature_starts_where_a_fixed_one_is_and_gets_a_gradient(name):
    image, text = pairs(2, 6, 8, torch.float32)
    loss = LOSSES[name](temperature=0.3, learn_temperature=True)
    value = loss(image, text)
    value.backward()
    assert value.item() == pytest.approx(LOSSES[name](temperature=0.3)(image, text).item(), rel=1e-5)
    assert loss.log_temperature.grad.abs() > 0
    assert "0.3 (learned)" in repr(loss)


def test_a_learned_temperature_stays_above_its_floor():
    loss = DHNNCELoss(learn_temperature=True)
    torch.nn.init.constant_(loss.log_temperature, -20.0)
    assert loss.temperature.item() == pytest.approx(0.01)


def test_a_fixed_temperature_is_no_parameter():
    assert not list(DHNNCELoss().parameters()) and not DHNNCELoss().state_dict()
