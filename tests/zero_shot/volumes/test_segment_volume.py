"""A volume segmented as one: slices without a class cost nothing and stay empty; odd volumes are answered."""

from __future__ import annotations

import pytest
import torch

from medclipsam_monai.base.memory_cache import MemoryCache
from medclipsam_monai.presets.settings import Settings
from medclipsam_monai.prompts import parse_targets
from medclipsam_monai.saliency.method import SaliencyMethod
from medclipsam_monai.zero_shot.network import ZeroShotSegmenter
from medclipsam_monai.zero_shot.volumes.segment import segment_volume, slice_distance

H, W = 32, 40
SETTINGS = Settings(coarse={"threshold": "otsu", "components": None})


class Bright(SaliencyMethod):
    """The picture's own brightness, the same for every text."""

    def grids(self, image, text):
        grey = torch.nn.functional.adaptive_avg_pool2d(image.image.mean(1, keepdim=True), image.encoder.grid)
        return grey.expand(-1, len(text), -1, -1)


@pytest.fixture
def network(encoder, segmenter) -> ZeroShotSegmenter:
    return ZeroShotSegmenter(encoder, segmenter, SETTINGS, saliency=Bright())


def volume(depth: int, shown: range | list[int]) -> torch.Tensor:
    """A bright square in some slices, noise as faint as it is in all."""
    grey = 0.02 * torch.rand(1, H, W, depth, generator=torch.Generator().manual_seed(1))
    grey[:, 10:22, 12:26, list(shown)] += 0.9
    return grey.expand(3, -1, -1, -1)


def told(network: ZeroShotSegmenter, presence: list[float]):
    """The network with a presence of its one class in each slice, and the slices that the segmenter is given."""
    left, seen = list(presence), []

    def tell(images, texts, slices):
        assert slices, "what is told of a slice is not what is told of a picture"
        return [(left.pop(0),) for _ in range(len(images))]

    network.presence = tell
    real = network.segmenter.encode

    def encode(image):
        seen.append(len(image))
        return real(image)

    return network, encode, seen


def found_in(result) -> list[int]:
    return result.mask[0].flatten(0, 1).any(dim=0).nonzero().flatten().tolist()


def coarse_in(result) -> list[int]:
    return result.coarse[0].flatten(0, 1).any(dim=0).nonzero().flatten().tolist()


@pytest.mark.parametrize("slice_batch", [1, 3, 16])
def test_slices_without_the_class_are_never_given_to_the_segmenter(network, monkeypatch, slice_batch):
    presence = [0.01] * 3 + [0.99] * 4 + [0.01] * 3
    network, encode, seen = told(network, presence)
    monkeypatch.setattr(network.segmenter, "encode", encode)
    result = segment_volume(network, volume(10, range(10)), texts(network), 10.0, slice_batch)
    assert sum(seen) == 4 and coarse_in(result) == [3, 4, 5, 6]
    assert set(found_in(result)) <= {3, 4, 5, 6}
    assert result.presence[0] == pytest.approx(0.99, abs=0.01)


def texts(network):
    return network.encode_texts(parse_targets("lungs"))


def test_a_class_that_is_nowhere_costs_no_segmenter_and_is_told_by_its_presence(network, monkeypatch):
    network, encode, seen = told(network, [0.02, 0.3, 0.1])
    monkeypatch.setattr(network.segmenter, "encode", encode)
    result = segment_volume(network, volume(3, range(3)), texts(network), 10.0)
    assert seen == [] and not result.mask.any() and not result.label_map.any() and result.quality == (None,)
    assert result.presence[0] == pytest.approx(0.3, abs=0.02)


def test_a_price_of_nothing_paints_it_all_the_same(network):
    network, _, _ = told(network.with_settings({"presence_threshold": 0.0}), [0.02, 0.3, 0.1])
    assert coarse_in(segment_volume(network, volume(3, range(3)), texts(network), 10.0)) == [0, 1, 2]


def test_two_runs_stay_two_and_what_lies_between_is_not_filled(network):
    network, _, _ = told(network, [0.99, 0.99, 0.01, 0.01, 0.99, 0.99])
    result = segment_volume(network, volume(6, [0, 1, 4, 5]), texts(network), 10.0)
    assert coarse_in(result) == [0, 1, 4, 5] and set(found_in(result)) <= {0, 1, 4, 5}


@pytest.mark.parametrize(
    ("slab", "step", "seen_in"), [(0, 10.0, [3]), (20, 10.0, [2, 3, 4]), (20, 50.0, [3]), (20, None, [3])]
)
def test_the_mean_of_a_slab_is_looked_at_and_its_slices_are_segmented(network, monkeypatch, slab, step, seen_in):
    network, _, _ = told(network.with_settings({"slab": slab, "presence_threshold": 0.0}), [0.5] * 21)
    given, real = [], network.segmenter.encode

    def encode(image):
        given.extend(image)
        return real(image)

    monkeypatch.setattr(network.segmenter, "encode", encode)
    one = volume(7, [3])
    kept: MemoryCache = MemoryCache(2**30)
    for _ in range(2):  # what is remembered of a mean is not taken for its slice
        result = segment_volume(network, one, texts(network), step, 2, memory=kept, owner="one")
        assert coarse_in(result) == seen_in
    assert len(given) == len(seen_in)
    for picture, number in zip(given, seen_in, strict=True):
        torch.testing.assert_close(picture.cpu(), one[..., number])
    plain = network.with_settings({"slab": 0})
    assert coarse_in(segment_volume(plain, one, texts(plain), step, 2, memory=kept, owner="one")) == [3]


def test_without_a_presence_every_slice_is_looked_at(network):
    result = segment_volume(network, volume(5, range(5)), texts(network))
    assert result.presence == (None,) and coarse_in(result) == [0, 1, 2, 3, 4]
    assert result.coarse[0, 12:20, 14:24].all() and not result.coarse[0, :6].any()


@pytest.mark.parametrize("depth", [1, 2])
def test_few_slices(network, depth):
    result = segment_volume(network, volume(depth, range(depth)), texts(network))
    assert result.label_map.shape == (H, W, depth) and coarse_in(result) == list(range(depth))


def test_two_thousand_slices(network, monkeypatch):
    presence = [0.99 if 700 <= d < 712 else 0.01 for d in range(2000)]
    network, encode, seen = told(network, presence)
    monkeypatch.setattr(network.segmenter, "encode", encode)
    monkeypatch.setattr(network, "saliency", Bright())
    result = segment_volume(network, volume(2000, range(700, 712)), texts(network), 10.0, slice_batch=64)
    assert sum(seen) == 12 and coarse_in(result) == list(range(700, 712))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_air_at_both_ends(network, value):
    stack = volume(9, range(3, 6)).clone()
    stack[..., :3] = stack[..., 6:] = 0.0
    network, _, _ = told(network, [0.01] * 3 + [0.99] * 3 + [0.01] * 3)
    assert coarse_in(segment_volume(network, stack, texts(network), 10.0)) == [3, 4, 5]
    empty = torch.full((3, H, W, 4), value)
    with pytest.warns(UserWarning, match="a saliency map is constant"):
        nothing = segment_volume(network_without_presence(network), empty, texts(network))
    assert not nothing.mask.any()


def network_without_presence(network: ZeroShotSegmenter) -> ZeroShotSegmenter:
    return ZeroShotSegmenter(network.encoder, network.segmenter, SETTINGS, saliency=Bright())


def test_maps_are_kept_where_the_class_is_looked_for(network):
    network, _, _ = told(network, [0.99, 0.99, 0.01])
    result = segment_volume(network, volume(3, range(3)), texts(network), 10.0, keep=("saliency", "probability"))
    assert result.saliency[0].amax(dim=(0, 1)).tolist() == pytest.approx([1.0, 1.0, 0.0], abs=0.2)
    assert not result.probability[0, ..., 2].any() and result.probability[0, ..., 0].any()


@pytest.mark.parametrize(
    ("spacing", "step"), [(None, None), ((1.0, 2.0), None), ((1.0, 2.0, 5.0), 5.0), ([1, 1, 3], 3.0)]
)
def test_the_distance_of_slices(spacing, step):
    assert slice_distance(spacing) == step
