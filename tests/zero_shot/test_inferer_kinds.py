"""The inferer gives the kind of tensor that it gets."""

from __future__ import annotations

import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor, decollate_batch
from monai.inferers import SimpleInferer, sliding_window_inference
from monai.transforms import Flip

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.saliency.m2ib import M2IB
from medclipsam_monai.zero_shot.inferer import TextPromptedInferer
from medclipsam_monai.zero_shot.network import ZeroShotSegmenter

pytestmark = pytest.mark.filterwarnings("ignore:.*a saliency map is constant")
INFERER = TextPromptedInferer(["lungs", "heart"])


@pytest.fixture(scope="module")
def network(encoder, segmenter) -> ZeroShotSegmenter:
    return ZeroShotSegmenter(encoder, segmenter, saliency=M2IB(layer=3, steps=1, samples=1))


def image(number: int, *sides: int) -> MetaTensor:
    made = MetaTensor(
        torch.rand(3, *sides), affine=torch.diag(torch.tensor([2.0, 3, 4, 1])), meta={"name": f"n{number}"}
    )
    return Flip(0)(made)


@pytest.mark.parametrize("sides", [(20, 24), (20, 24, 2)])
def test_a_batch_of_a_loader_keeps_meta_data_affine_and_operations(network, sides):
    images = [image(number, *sides) for number in range(2)]
    (batch,) = DataLoader(Dataset([{"image": one} for one in images]), batch_size=2, num_workers=2)
    found = INFERER(batch["image"], network)
    assert isinstance(found, MetaTensor) and found.is_batch and found.shape == (2, 2, *sides)
    for one, item in zip(images, decollate_batch({"pred": found}), strict=True):
        pred = item["pred"]
        assert pred.shape == (2, *sides) and pred.meta["name"] == one.meta["name"] and pred.dtype == torch.float32
        torch.testing.assert_close(pred.affine, one.affine)
        assert [step["class"] for step in pred.applied_operations] == ["Flip"]
    assert batch["image"].shape == (2, 3, *sides)
    plain = INFERER(batch["image"].as_tensor(), network)
    assert type(plain) is torch.Tensor and torch.equal(plain, found.as_tensor())


def test_one_image_with_a_batch_axis_keeps_its_meta_data(network):
    one = image(0, 20, 24)
    found = INFERER(one[None], network)
    assert isinstance(found, MetaTensor) and found.meta["name"] == "n0"
    torch.testing.assert_close(found.affine, one.affine)


@pytest.mark.parametrize("sides", [(20, 24), (20, 24, 3)])
@pytest.mark.parametrize("kind", [torch.Tensor, MetaTensor])
def test_every_way_to_ask_gives_the_same_probability_that_is_0_outside_of_the_mask(network, sides, kind):
    """SAM's probability is above 0 nearly everywhere, so that 0 shows the cut of the final mask."""
    plain = torch.rand(2, 3, *sides, generator=torch.Generator().manual_seed(0))
    pictures = plain if len(sides) == 2 else torch.cat([one.movedim(-1, 0) for one in plain])
    middle = float(torch.stack([one.probability for one in network.segment(pictures, ["lungs", "heart"])]).median())
    few = network.with_settings({"threshold": middle, "volumes": "slices"})
    few.text = ["lungs", "heart"]
    inputs, found = kind(plain), few.segment(pictures)
    expected = torch.stack([one.probability * one.mask for one in found])
    if len(sides) == 3:
        expected = torch.stack(expected.split(3)).movedim(1, -1)
    assert 0 < (expected > 0).float().mean() < 1
    ways = {
        "network": few(inputs),
        "simple": SimpleInferer()(inputs, few),
        "sliding": sliding_window_inference(inputs, sides, 1, few),
        "text": TextPromptedInferer(slice_batch=2)(inputs, few),
        "text and threshold": TextPromptedInferer(["lungs", "heart"], threshold=middle)(inputs, few),
    }
    for name, way in ways.items():
        assert isinstance(way, MetaTensor) == (kind is MetaTensor), name
        torch.testing.assert_close(torch.as_tensor(way), torch.as_tensor(expected), atol=1e-5, rtol=0, msg=name)


def test_the_threshold_of_the_inferer_decides_and_the_network_keeps_its_own(network):
    torch.manual_seed(0)
    pictures = torch.rand(1, 3, 20, 24)
    all_of_it = TextPromptedInferer("lungs", threshold=1)(pictures, network)
    assert (all_of_it == 0).all() and network.settings.threshold == 0.5
    low = TextPromptedInferer("lungs", threshold=0.1)(pictures, network)
    assert torch.equal(low > 0, network.with_settings({"threshold": 0.1}).segment(pictures, "lungs")[0].mask[None])
    with pytest.raises(InputError, match="threshold"):
        TextPromptedInferer("lungs", threshold=1.5)
