"""Bodies followed through a volume: from their best slice both ways, within their run, until they are lost."""

from __future__ import annotations

import pytest
import torch
from network_doubles import BoxSegmenter, FollowingSegmenter

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.networks.protocols import PropagatingSegmenter, ScoringSegmenter
from medclipsam_monai.presets.settings import Settings
from medclipsam_monai.prompts import parse_targets
from medclipsam_monai.saliency.method import SaliencyMethod
from medclipsam_monai.zero_shot.network import ZeroShotSegmenter
from medclipsam_monai.zero_shot.volumes.segment import segment_volume

H, W = 64, 64
SETTINGS = Settings(volumes="propagated", coarse={"threshold": 0.5, "components": None})


class Channels(SaliencyMethod):
    """Text k lights up as channel k of the picture does."""

    def grids(self, image, text):
        small = torch.nn.functional.adaptive_avg_pool2d(image.image, image.encoder.grid)
        return small[:, : len(text)].contiguous()


@pytest.fixture
def segmenter() -> FollowingSegmenter:
    return FollowingSegmenter()


@pytest.fixture
def network(encoder, segmenter) -> ZeroShotSegmenter:
    return ZeroShotSegmenter(encoder, segmenter, SETTINGS, saliency=Channels())


def told(network: ZeroShotSegmenter, *presence: list[float]) -> ZeroShotSegmenter:
    """The network with a presence of each class in each slice."""
    left = list(zip(*presence, strict=True))
    network.presence = lambda images, texts, slices: [left.pop(0) for _ in range(len(images))]
    return network


def texts(network, names=("lungs",)):
    return network.encode_texts(parse_targets(list(names)))


def drawn(depth: int, squares: dict[int, tuple[int, int, float]], side: int = 18) -> torch.Tensor:
    """Grey squares (row, column, brightness) in some slices of a dark volume (3, H, W, D)."""
    grey = torch.zeros(H, W, depth)
    for number, (row, column, value) in squares.items():
        grey[row : row + side, column : column + side, number] = value
    return grey.expand(3, -1, -1, -1)


def found_in(stack: torch.Tensor) -> list[int]:
    return stack.flatten(0, 1).any(dim=0).nonzero().flatten().tolist()


def test_the_doubles_are_what_they_stand_for(segmenter):
    assert isinstance(segmenter, PropagatingSegmenter) and not isinstance(segmenter, ScoringSegmenter)
    assert not isinstance(BoxSegmenter(), PropagatingSegmenter)


@pytest.mark.parametrize("slice_batch", [1, 3, 16])
def test_a_body_is_followed_both_ways_from_where_most_of_it_lights_up(network, segmenter, slice_batch):
    volume = drawn(12, {number: (10 + number, 20, 0.8) for number in range(2, 9)}).clone()
    volume[:, 14:38, 18:42, 4] = 0.8
    result = segment_volume(network, volume, texts(network), 10.0, slice_batch, keep=("probability", "saliency"))
    assert result.boxes[0].shape == (1, 5) and result.boxes[0][0, 0] == 4
    for number in range(2, 9):
        assert torch.equal(result.mask[0, ..., number], volume[0, ..., number] > 0.5), number
    assert found_in(result.mask[0]) == list(range(2, 9))
    assert torch.equal(result.label_map, result.mask[0].to(torch.uint8))
    assert torch.equal(result.probability[0], torch.where(result.mask[0], volume[0], 0.0))
    assert result.saliency.shape == (1, H, W, 12) and float(result.saliency.max()) == pytest.approx(1.0, abs=0.05)
    assert result.object_score == (6.0,) and result.quality == (None,) and result.presence == (None,)
    assert segmenter.lengths == [12, 12]


def test_a_way_ends_where_the_body_is_lost(network, segmenter):
    volume = drawn(12, dict.fromkeys((1, 2, 3, 4, 5, 9, 10), (20, 20, 1.0))).clone()
    volume[0, ..., [1, 2, 4, 5, 9, 10]] = 0  # to the text, the others are dark
    result = segment_volume(network, volume, texts(network), 10.0, slice_batch=1)
    assert found_in(result.coarse[0]) == [3]
    assert found_in(result.mask[0]) == [1, 2, 3, 4, 5]
    assert len(segmenter.encoded) == 4 + 4, "3 to 6 upwards and 3 to 0 downwards: what is lost is not looked for"


def test_a_body_stays_in_the_run_that_shows_its_class(network, segmenter):
    squares = dict.fromkeys(range(12), (20, 20, 1.0))
    network = told(network, [0.01] * 3 + [0.99] * 5 + [0.01] * 4)
    result = segment_volume(network, drawn(12, squares), texts(network), 10.0)
    assert found_in(result.mask[0]) == [3, 4, 5, 6, 7]
    assert segmenter.lengths == [5, 5]


def test_bodies_share_their_slices(network, segmenter):
    volume = drawn(8, dict.fromkeys(range(1, 4), (4, 4, 1.0))).clone()
    volume[:, 40:58, 40:58, 2:7] = 0.9
    result = segment_volume(network, volume, texts(network), 10.0, slice_batch=4)
    assert len(result.boxes[0]) == 2
    expected = volume[0] > 0.5
    assert torch.equal(result.mask[0], expected)
    assert len(segmenter.encoded) <= 2 * 8, "at most once a direction, for both bodies"


def test_the_surer_class_has_what_two_claim(network):
    volume = torch.zeros(3, H, W, 5)
    volume[0, 8:30, 8:30, 1:4] = 1.0
    volume[1, 20:50, 8:30, 1:4] = 1.0
    network = told(network, [0.99] * 5, [0.99] * 5)
    names = ("lungs", "heart")
    volume[2] = (volume[0] + volume[1]).clamp(max=1)  # what the segmenter sees is the mean of the three
    result = segment_volume(network, volume, texts(network, names), 10.0)
    both = result.mask.all(dim=0)
    assert both.any(), "the boxes overlap"
    probability = segment_volume(
        told(network, [0.99] * 5, [0.99] * 5), volume, texts(network, names), 10.0, keep=("probability",)
    ).probability
    first = probability[0].half() >= probability[1].half()
    expected = torch.where(result.mask[0] & (first | ~result.mask[1]), 1, torch.where(result.mask[1], 2, 0))
    assert torch.equal(result.label_map, expected.to(torch.uint8))


def test_what_the_segmenter_does_not_see_is_left_empty_and_said(network, segmenter, monkeypatch):
    squares = dict.fromkeys(range(3, 6), (20, 20, 0.45))  # it lights up, but is not bright
    result = segment_volume(network, drawn(9, squares), texts(network), 10.0, slice_batch=1)
    assert found_in(result.coarse[0]) == [3, 4, 5] and not result.mask.any() and not result.label_map.any()
    assert result.object_score == (-3.0,) and len(segmenter.encoded) == 1, "the way back is not begun"


def test_a_class_that_is_nowhere_asks_nothing(network, segmenter):
    result = segment_volume(told(network, [0.02] * 5), drawn(5, {2: (9, 9, 1.0)}), texts(network), 10.0)
    assert segmenter.encoded == [] and not result.mask.any()
    assert result.object_score == (None,) and result.boxes[0].shape == (0, 5)


@pytest.mark.parametrize("depth", [1, 2])
def test_few_slices_are_followed(network, depth):
    result = segment_volume(network, drawn(depth, {0: (9, 9, 1.0)}), texts(network))
    assert found_in(result.mask[0]) == [0]


def test_a_segmenter_without_a_memory_is_refused_before_anything_is_looked_at(encoder):
    network = ZeroShotSegmenter(encoder, BoxSegmenter(), SETTINGS, saliency=Channels())
    with pytest.raises(InputError, match=r"volumes=propagated needs a segmenter with a memory .*got BoxSegmenter"):
        segment_volume(network, drawn(3, {}), texts(network))
