"""The released M2IB procedure that benchmarks compare with gives the map of this package's way."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from medclipsam_monai.saliency.m2ib import M2IB, capacity_to_grid
from medclipsam_monai.saliency.maps import unit_range
from tools.benchmarks.chain import released_m2ib
from tools.benchmarks.plain_m2ib import SEED


def test_a_timm_vit_in_open_clips_form_has_the_same_map(encoder):
    image = torch.rand(1, 3, 160, 160, generator=torch.Generator().manual_seed(4))
    token_ids = encoder.tokenizer(["lungs"])
    capacity = released_m2ib(encoder.clip, encoder.preprocess(image), token_ids, layer=3, gamma=0.5)
    assert not any(parameter.requires_grad for parameter in encoder.clip.parameters())
    grid = capacity_to_grid(capacity[None, None, 1:], encoder.grid)
    expected = unit_range(F.interpolate(grid, image.shape[-2:], mode="bilinear"))
    found = M2IB(layer=3, gamma=0.5, seed=SEED)(encoder, image, encoder.encode_token_ids(token_ids))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    assert expected.max() == 1 and expected.std() > 0.01
