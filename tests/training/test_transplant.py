"""Lesions put into other images."""

from __future__ import annotations

import numpy as np
import torch

from medclipsam_monai.training.transplant import transplant


def bodies() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A grey disc on black, the same darker with a bright lesion, and where that is."""
    rows, columns = torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij")
    disc = ((rows - 64) ** 2 + (columns - 64) ** 2 < 55**2).float()[None]
    lesion = ((rows - 50) ** 2 / 144 + (columns - 70) ** 2 / 64 < 1)[None]
    return 0.5 * disc, 0.2 * disc + 0.4 * lesion, lesion


def test_a_lesion_keeps_its_contrast_and_lies_in_the_body():
    host, donor, lesion = bodies()
    nothing, middles = torch.zeros_like(lesion), []
    for seed in range(20):
        picture, mask = transplant(host, nothing, donor, lesion, np.random.default_rng(seed))
        assert 0.4 < mask.sum() / lesion.sum() < 2.5, "resized by e^-0.4 to e^0.4 a side"
        assert (host[mask] > 0).all(), "inside the body"
        assert 0.3 < picture[mask].mean() - 0.5 < 0.4, "0.4 brighter than where it now lies, but for the soft border"
        middles.append(mask[0].nonzero().float().mean(0))
    assert float(torch.stack(middles).std(0).min()) > 10, "in many places"


def test_what_is_far_from_the_lesion_stays_as_it_was():
    host, donor, lesion = bodies()
    picture, mask = transplant(host, torch.zeros_like(lesion), donor, lesion, np.random.default_rng(0))
    near = torch.nn.functional.max_pool2d(mask.float(), 41, stride=1, padding=20) > 0
    torch.testing.assert_close(picture[~near], host[~near])


def test_own_lesions_stay():
    host, donor, lesion = bodies()
    own = lesion.flip(1)
    _, mask = transplant(host, own, donor, lesion, np.random.default_rng(3))
    assert (mask & own).sum() == own.sum() and mask.sum() > own.sum()


def test_without_a_body_nothing_changes():
    _, donor, lesion = bodies()
    empty = torch.zeros_like(donor)
    picture, mask = transplant(empty, torch.zeros_like(lesion), donor, lesion, np.random.default_rng(0))
    assert not picture.any() and not mask.any()
