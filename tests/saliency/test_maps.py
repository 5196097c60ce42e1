"""What several maps have in common."""

from __future__ import annotations

import torch

from medclipsam_monai.saliency.maps import consensus, stretched


def test_the_highest_and_the_lowest_value_of_each_pixel_are_left_out():
    maps = torch.rand(5, 3, 8, 8)
    ranked = maps.sort(dim=0).values
    torch.testing.assert_close(consensus(maps), stretched((ranked[1] + ranked[2] + ranked[3]) / 3))


def test_one_text_of_five_that_looks_elsewhere_decides_nothing():
    maps = torch.zeros(5, 4, 4)
    maps[:, 0, 0] = 1.0
    maps[2, 3, 3] = 1.0
    assert consensus(maps)[3, 3] == 0.0 and consensus(maps)[0, 0] == 1.0


def test_two_maps_are_meant():
    maps = torch.tensor([[[0.0, 1.0], [0.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]]])
    torch.testing.assert_close(consensus(maps), torch.tensor([[0.0, 1.0], [0.5, 0.0]]))
    torch.testing.assert_close(consensus(maps[:1]), maps[0])
