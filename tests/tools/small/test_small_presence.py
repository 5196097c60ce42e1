"""Factors of the presence: fitted from pairs of known truth, and how well they do, counted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medclipsam_monai.networks.clip.load import load_text_image_encoder
from medclipsam_monai.phantoms import make_phantom
from medclipsam_monai.phantoms.seeds import REAL_TRAINING
from medclipsam_monai.presets.parameters import PresenceParameters
from medclipsam_monai.weights.registry import resolve
from medclipsam_monai.zero_shot.presence import CalibratedPresence
from tools.small.fitted.compare_presence import painted_at
from tools.small.fitted.presence import ASKED, SECTIONS, Pairs, calibration_error, fit, pair, probabilities, report
from tools.small.pictures import Picture
from tools.small.texts.words import CONCEPTS, states

TRUE = PresenceParameters(bias=-1.0, text=0.5, denial=4.0, known=2.0, familiar=1.0)


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.normal(0, 1, (6000, 4)).astype(np.float32))
    z = features.numpy() @ np.array([TRUE.text, TRUE.denial, TRUE.known, TRUE.familiar]) + TRUE.bias
    shown = rng.random(len(z)) < 1 / (1 + np.exp(-z))
    return Pairs(features, shown, np.full(len(z), 1 / len(z)), ~shown & (rng.random(len(z)) < 0.5))


def test_factors_are_found_again(pairs):
    found = fit(pairs, ridge=0.0)
    for name in ("bias", "text", "denial", "known", "familiar"):
        assert getattr(found, name) == pytest.approx(getattr(TRUE, name), abs=0.35), name


def test_a_factor_that_is_given_stays_and_the_others_are_found_beside_it(pairs):
    found = fit(pairs, ridge=0.0, familiar=TRUE.familiar)
    assert found.familiar == TRUE.familiar
    for name in ("bias", "text", "denial", "known"):
        assert getattr(found, name) == pytest.approx(getattr(TRUE, name), abs=0.35), name
    blind = fit(pairs, ridge=0.0, familiar=0.0)
    assert blind.familiar == 0.0 and 2 < blind.denial < found.denial - 0.2


def test_true_factors_are_calibrated_and_steeper_ones_are_not(pairs):
    assert calibration_error(probabilities(pairs, TRUE), pairs) < 0.02
    steep = PresenceParameters(bias=-4.0, text=2.0, denial=16.0, known=8.0, familiar=4.0)
    assert calibration_error(probabilities(pairs, steep), pairs) > 0.05


def test_weights_count(pairs):
    third = Pairs(pairs.features, pairs.shown, np.where(pairs.shown, 3.0, 1.0), pairs.hard)
    assert fit(third, ridge=0.0).bias > fit(pairs, ridge=0.0).bias + 0.5


def test_what_is_painted_where_a_share_is_lost():
    present, absent = np.linspace(0, 1, 101), np.array([0.01, 0.04, 0.06, 0.5])
    assert painted_at(present, absent, 0.05) == 0.5
    assert painted_at(present, absent, 0.0) == 1.0


def test_a_report_counts_lost_and_painted():
    features = torch.tensor([[1.0, 0, 0, 0], [-1, 0, 0, 0], [1, 0, 0, 0], [-1, 0, 0, 0], [-1, 0, 0, 0]])
    shown, hard = np.array([True, True, False, False, False]), np.array([False, False, True, False, False])
    told = report(Pairs(features, shown, np.full(5, 0.2), hard), PresenceParameters(text=5.0))
    assert "lost 0.500, painted where absent in its kind of picture 1.000, in other kinds 0.000" in told


def test_pairs_leave_out_what_nobody_knows_and_count_every_thing_alike():
    pictures = []
    for task in ("chest_xray", "brain_mri"):
        for seed in REAL_TRAINING.seeds(3, 500):
            phantom = make_phantom(task, seed, captions=0)
            pixels = np.repeat(np.round(phantom.image * 255).astype(np.uint8)[..., None], 3, axis=2)
            pictures.append(Picture(task, pixels, {}, states(task, set(phantom.masks) & CONCEPTS.keys())))
    encoder = load_text_image_encoder(resolve("demo/clip"))
    known = encoder.encode_text(["lungs", "ventricles"])
    found = pair(encoder, CalibratedPresence(PresenceParameters(), known), pictures, seed=0)
    assert len(found.features) == len(found.shown) == len(found.weight) == len(found.hard) > 1000
    assert found.features.isfinite().all() and not (found.hard & found.shown).any()
    assert found.weight[found.shown].sum() == pytest.approx(ASKED[0]) and found.weight.sum() == pytest.approx(1)
    assert found.weight[found.hard].sum() == pytest.approx(ASKED[1])
    near = pair(encoder, CalibratedPresence(PresenceParameters(), known), pictures, 0, SECTIONS)
    assert near.weight[near.shown].sum() == pytest.approx(0.45) and near.weight[near.hard].sum() == pytest.approx(0.55)
    of = PresenceParameters(denial=10.0)
    values = probabilities(found, of)
    assert values[found.shown].mean() > values[~found.shown].mean() + 0.2
