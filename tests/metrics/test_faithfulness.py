"""Insertion minus deletion on a scorer whose answer is known."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medclipsam_monai.metrics import insertion_minus_deletion


class BrightnessInTheMiddle(nn.Module):
    """An encoder whose agreement with the text grows with the fine texture in the middle of the picture."""

    device = torch.device("cpu")

    def encode_image(self, image):
        middle = image[:, 0, 16:32, 16:32]
        agreement = middle.std(dim=(1, 2)).clamp(0, 1)
        return torch.stack([agreement, (1 - agreement.square()).sqrt()], dim=1)


@pytest.fixture
def picture():
    """Texture everywhere, mean grey."""
    return torch.rand(3, 48, 48, generator=torch.Generator().manual_seed(0)).round()


def score(picture, saliency):
    return float(insertion_minus_deletion(BrightnessInTheMiddle(), picture, torch.tensor([[1.0, 0.0]]), saliency)[0])


def test_the_right_map_scores_above_the_wrong_one(picture):
    right = torch.zeros(1, 48, 48)
    right[:, 16:32, 16:32] = 1.0
    assert score(picture, right) > 0.1
    assert score(picture, 1 - right) < -0.1


def test_a_map_and_its_inverse_score_opposite(picture):
    saliency = torch.linspace(0, 1, 48 * 48).view(1, 48, 48)
    assert score(picture, saliency) == pytest.approx(-score(picture, 1 - saliency), abs=1e-5)


def test_several_texts_are_scored_each_by_its_own_map(picture):
    right = torch.zeros(48, 48)
    right[16:32, 16:32] = 1.0
    both = insertion_minus_deletion(
        BrightnessInTheMiddle(), picture, torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.stack([right, 1 - right])
    )
    assert both.tolist() == pytest.approx([score(picture, right[None]), score(picture, 1 - right[None])])
