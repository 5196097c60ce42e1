"""Prototypes of patch tokens against their formulae in NumPy and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from network_doubles import GRID, BrightnessEncoder

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.examples import Examples
from medclipsam_monai.networks.clip.preprocess import Preprocess
from medclipsam_monai.networks.image_tokens import ImageTokens
from medclipsam_monai.presets.parameters import ExampleParameters
from medclipsam_monai.saliency.gradcam import GradCAM
from medclipsam_monai.saliency.prototypes import ByExamples, Prototypes, best_cut, cluster, coverage, mostly


class Grid:
    """The geometry of an encoder of 4 x 4 patches, and nothing else."""

    grid = (4, 4)

    def __init__(self, fit: str) -> None:
        self.restore = Preprocess(16, (0.5,) * 3, (0.5,) * 3, fit).restore


def test_what_lies_deep_inside_of_a_mask_is_covered_and_what_lies_far_from_it_is_not():
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[:, :8] = True
    inside, outside = (part.view(4, 4) for part in coverage(Grid("squash"), mask))
    assert torch.allclose(inside + outside, torch.ones(4, 4))
    # A pixel's weight on a cell falls off linearly over a cell's width: of what falls to column 1, an eighth is right
    # of the border, half a pixel after half a pixel: (0.375 + 0.125) / 4.
    expected = torch.tensor([1.0, 0.875, 0.125, 0.0])
    torch.testing.assert_close(inside, expected.expand(4, 4), atol=1e-5, rtol=0)


def test_the_part_of_a_square_that_shows_no_picture_counts_for_nothing():
    inside, outside = (part.view(4, 4) for part in coverage(Grid("letterbox"), torch.ones(8, 32, dtype=torch.bool)))
    assert (outside < 1e-6).all()
    assert (inside[1:3] == 1).all()  # the picture fills the two rows in the middle
    assert (inside[[0, 3]].sum(dim=1) <= 4).all()


def test_the_log_odds_are_those_of_the_softmax_over_all_prototypes():
    generator = np.random.default_rng(0)
    tokens, inside, outside = (generator.normal(size=size) for size in ((5, 6), (2, 6), (3, 6)))
    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)  # noqa: E731
    inside, outside = unit(inside), unit(outside)
    e = np.exp(unit(tokens) @ np.concatenate([inside, outside]).T / 0.3)
    p = e[:, :2].sum(axis=1) / e.sum(axis=1)
    found = Prototypes(torch.tensor(inside).float(), torch.tensor(outside).float(), 0.3)(torch.tensor(tokens))
    np.testing.assert_allclose(found.sigmoid().numpy(), p, atol=1e-5)


def test_one_prototype_is_the_weighted_mean_and_several_are_the_heaps():
    heaps = F.normalize(torch.tensor([[1.0, 0.1, 0], [1, -0.1, 0], [0, 0.1, 1], [0, -0.1, 1], [-1, 0, 0.1]]), dim=1)
    weights = torch.tensor([1.0, 1, 2, 2, 0])
    (mean,) = cluster(heaps, weights, 1)
    torch.testing.assert_close(mean, F.normalize((heaps * weights[:, None]).sum(0), dim=0))
    found = cluster(heaps, weights, 2)
    found = found[found[:, 0].argsort(descending=True)]
    torch.testing.assert_close(found, torch.tensor([[1.0, 0, 0], [0, 0, 1]]))  # the last token has no weight
    assert len(cluster(heaps[:1], torch.ones(1), 4)) == 1  # there are no four of one


@pytest.mark.parametrize("seed", range(5))
def test_the_cut_is_the_best_of_all(seed):
    generator = torch.Generator().manual_seed(seed)
    scores, inside = torch.randn(30, generator=generator), torch.rand(30, generator=generator).round(decimals=1)
    outside = 1 - inside

    def dice(cut):
        taken = scores > cut
        return float(2 * inside[taken].sum() / ((inside + outside)[taken].sum() + inside.sum()))

    assert dice(best_cut(scores, inside, outside)) == pytest.approx(max(dice(float(cut)) for cut in scores - 1e-4))


def test_the_cut_lies_between_what_is_inside_and_what_is_not():
    assert best_cut(torch.tensor([3.0, -2, 1, 0]), torch.tensor([1.0, 0, 1, 0]), torch.tensor([0.0, 1, 0, 1])) == 0.5


def test_a_token_belongs_to_what_it_mostly_shows():
    assert mostly(torch.tensor([0.9, 0.5, 0.2])).tolist() == pytest.approx([0.9, 0.5, 0])
    assert mostly(torch.tensor([0.1, 0.3, 0.0])).tolist() == pytest.approx([0, 0.3, 0])  # a small target
    assert mostly(torch.zeros(3)).tolist() == [0, 0, 0]


def square(light, row, column, side=64):
    picture, mask = torch.full((3, side, side), 0.2), torch.zeros(side, side, dtype=torch.bool)
    mask[row : row + 16, column : column + 16] = True
    picture[:, mask] = light
    return picture, mask


@pytest.fixture
def method():
    pictures, masks = zip(square(0.9, 8, 8), square(0.8, 40, 24), strict=True)
    examples = Examples(tuple(pictures), tuple(masks))
    return ByExamples(BrightnessEncoder(), examples, ExampleParameters(), GradCAM())


def test_a_map_is_above_a_half_where_a_picture_looks_like_the_examples(method):
    picture, mask = square(0.85, 16, 40)
    (found,) = method(BrightnessEncoder(), picture[None], torch.zeros(1, 1))[0]
    assert found.shape == (64, 64)
    assert torch.equal(found[4::8, 4::8] > 0.5, mask[4::8, 4::8])
    assert (method(BrightnessEncoder(), torch.full((1, 3, 64, 64), 0.2), torch.zeros(1, 1)) < 0.5).all()


def test_a_text_s_map_is_added_and_cut_on_the_examples(method):
    class Left(GradCAM):
        def grids(self, image, text):
            return torch.linspace(1, 0, GRID).expand(len(image.image), len(text), GRID, GRID)

    method.of_text = Left()
    image = ImageTokens(BrightnessEncoder(), square(0.85, 16, 40)[0][None])
    text = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    said, unsaid = method.grids(image, text)[0]
    logits = method.prototypes(image.after(1))[0].view(GRID, GRID)
    added = torch.logit(said.double()) - torch.logit(unsaid.double())
    expected = method.parameters.text_weight * torch.linspace(1, 0, GRID).expand(GRID, GRID)
    offset = (added - expected).flatten()
    torch.testing.assert_close(offset, offset[:1].expand_as(offset), atol=1e-4, rtol=0)  # the difference of the cuts
    assert torch.allclose(torch.logit(unsaid) + method._cut(text[1]), logits, atol=1e-4)


def test_a_layer_that_is_not_there_is_refused():
    examples = Examples(*((one,) for one in square(0.9, 8, 8)))
    with pytest.raises(InputError, match=r"examples.layer must be under 2, the blocks there are, got 2"):
        ByExamples(BrightnessEncoder(), examples, ExampleParameters(layer=2), GradCAM())
