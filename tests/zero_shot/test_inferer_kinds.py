"""The inferer gives the kind of tensor that it gets."""

from __future__ import annotations

import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor, decollate_batch
from monai.transforms import Flip

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
