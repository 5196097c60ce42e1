from __future__ import annotations

import pytest
import torch

from medclipsam_monai.presets.settings import Settings
from medclipsam_monai.prompts import parse_targets
from medclipsam_monai.saliency.m2ib import M2IB
from medclipsam_monai.saliency.method import SaliencyMethod
from medclipsam_monai.transforms import PromptsFromMask
from medclipsam_monai.zero_shot.inferer import TextPromptedInferer
from medclipsam_monai.zero_shot.network import ZeroShotSegmenter
from medclipsam_monai.zero_shot.result import ZeroShotResult
from medclipsam_monai.zero_shot.volumes.segment import segment_volume

METHOD = M2IB(layer=3, steps=3, samples=2)


@pytest.fixture
def network(encoder, segmenter):
    return ZeroShotSegmenter(encoder, segmenter, saliency=METHOD, text="lungs")


@pytest.fixture(scope="module")
def images():
    return torch.rand(2, 3, 40, 60, generator=torch.Generator().manual_seed(0))


class Drawn(SaliencyMethod):
    """A saliency method whose maps a function draws."""

    def __init__(self, draw):
        self.draw = draw

    def grids(self, image, text):
        return self.draw(image.image, text)


def disks(image, text):
    """One disk at each class's own place."""
    rows, columns = torch.meshgrid(*(torch.arange(n) for n in image.shape[-2:]), indexing="ij")
    maps = [((rows - 20) ** 2 + (columns - 15 - 25 * k) ** 2 < 64).float() for k in range(len(text))]
    return torch.stack(maps).expand(len(image), -1, -1, -1)


def count_calls(monkeypatch, owner, name) -> list:
    calls = []
    original = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *args, **kwargs: (calls.append(1), original(*args, **kwargs))[1])
    return calls


def test_many_texts_cost_one_encoding_by_each_network(network, images, monkeypatch):
    sam_calls = count_calls(monkeypatch, network.segmenter.sam.image_encoder, "forward")
    prefix_calls = count_calls(monkeypatch, network.encoder._tower, "embed_patches")
    text_calls = count_calls(monkeypatch, network.encoder.clip, "encode_text")
    (result,) = network.segment(images[:1], ["lungs", "heart", "liver", "a tumor"])
    assert (len(sam_calls), len(prefix_calls)) == (1, 1)
    assert len(text_calls) == 4
    assert result.probability.shape == (4, 40, 60)
    network.segment(images[1:], ["lungs", "heart", "liver", "a tumor"])
    assert len(text_calls) == 4, "the same texts are embedded once for a folder of images"


def test_forward_is_a_batch_of_probabilities(network, images):
    probability = network(images)
    assert probability.shape == (2, 1, 40, 60)
    assert 0 <= float(probability.min()) <= float(probability.max()) <= 1
    torch.testing.assert_close(probability[0], network.segment(images[:1])[0].masked_probability, atol=1e-4, rtol=0)


def test_two_texts_at_two_places_get_two_boxes(encoder, segmenter, images):
    network = ZeroShotSegmenter(encoder, segmenter, saliency=Drawn(disks))
    (result,) = network.segment(images[:1], ["lungs", "heart"])
    assert result.boxes[0].tolist() == [[8.0, 13.0, 22.0, 27.0]]
    assert result.boxes[1].tolist() == [[33.0, 13.0, 47.0, 27.0]]
    assert result.quality[0] is not None


def test_a_saliency_that_finds_nothing_gives_an_empty_mask(encoder, segmenter, images):
    network = ZeroShotSegmenter(encoder, segmenter, saliency=Drawn(lambda image, text: torch.zeros(1, 1, 40, 60)))
    (result,) = network.segment(images[:1], "lungs")
    assert not result.mask.any() and not result.label_map.any()
    assert result.quality == (None,) and result.boxes[0].shape == (0, 4)


@pytest.mark.parametrize(("keep_covered", "pixels"), [(None, 64), (0.75, 64 + 9)])
def test_the_mask_keeps_as_many_components_as_the_coarse_one_and_those_that_it_covers(
    encoder, segmenter, images, monkeypatch, keep_covered, pixels
):
    network = ZeroShotSegmenter(encoder, segmenter, Settings(keep_covered=keep_covered), Drawn(disks))
    scattered = torch.zeros(1, 1, 40, 60)
    scattered[..., 2:10, 2:10] = 0.9
    scattered[..., 20:23, 14:17] = 0.9  # within the disk of the coarse mask
    scattered[..., 20:23, 40:43] = 0.9
    monkeypatch.setattr(segmenter, "decode", lambda *args, **kwargs: (scattered, torch.ones(1, 1)))
    (result,) = network.segment(images[:1], "lungs")
    assert int(result.mask.sum()) == pixels


@pytest.mark.parametrize("fusion", ["best", "mean", "score", "staple"])
@pytest.mark.parametrize("prompt", [PromptsFromMask("components", points=2), PromptsFromMask(None, points=3)])
def test_every_fusion_and_prompt_runs(encoder, segmenter, images, fusion, prompt):
    network = ZeroShotSegmenter(encoder, segmenter, Settings(fusion=fusion), Drawn(disks), visual_prompt=prompt)
    assert network.segment(images[:1], "lungs")[0].probability.shape == (1, 40, 60)


def text_is_the_place(image, text):
    """Maps of one row of pixels, at the text vector's largest coordinate."""
    maps = torch.zeros(len(image), len(text), 40, 60)
    for k, vector in enumerate(text):
        maps[:, k, int(vector.argmax()) % 40] = 1.0
    return maps


def test_a_class_s_sentences_share_the_consensus_of_their_maps(encoder, segmenter, images, monkeypatch):
    rows = {"a tumor": 3, "a lesion": 3, "a mass": 8, "heart": 20}
    places = lambda texts: torch.eye(40)[[rows[text] for text in texts]]  # noqa: E731
    monkeypatch.setattr(encoder, "encode_text", places)
    sentences = {"mass": ["a tumor", "a lesion", "a mass"], "heart": "heart"}
    found = {
        name: ZeroShotSegmenter(encoder, segmenter, Settings(prompt_ensemble=name), Drawn(text_is_the_place)).segment(
            images[:1], sentences
        )[0]
        for name in ("embeddings", "maps")
    }
    assert found["embeddings"].saliency[0, :, 0].nonzero().flatten().tolist() == [3]
    assert found["maps"].saliency[0, [3, 8], 0].tolist() == [1.0, 0.0], "two of three sentences point at row 3"
    for result in found.values():
        assert result.saliency[1, :, 0].nonzero().flatten().tolist() == [20]


def test_presence_compares_a_text_with_its_opposites(encoder, segmenter, images):
    image = encoder.encode_image(images[:1])[0]
    network = ZeroShotSegmenter(encoder, segmenter, Settings(presence_scale=1000.0), Drawn(disks))
    targets = {"tumor": {"sentences": "a tumor", "opposites": ["no tumor", "normal"]}, "heart": "heart"}
    (result,) = network.segment(images[:1], targets)
    text = encoder.encode_text(["a tumor"])[0]
    opposite = torch.nn.functional.normalize(encoder.encode_text(["no tumor", "normal"]).mean(0), dim=0)
    assert result.presence[0] == pytest.approx(float(torch.sigmoid(1000 * (image @ (text - opposite)))), abs=1e-3)
    assert result.presence[1] is None
    swapped = {"tumor": {"sentences": ["no tumor", "normal"], "opposites": "a tumor"}}
    (other,) = network.segment(images[:1], swapped)
    assert other.presence[0] == pytest.approx(1 - result.presence[0], abs=1e-3)
    absent, found = sorted((result, other), key=lambda r: r.presence[0])
    assert not absent.coarse[0].any() and not absent.mask[0].any()
    assert found.coarse[0].any()


def test_overlaps_go_to_the_more_probable_class():
    probability = torch.tensor([[[0.9, 0.6, 0.2]], [[0.1, 0.8, 0.3]]])
    none = torch.zeros(2, 1, 3)
    result = ZeroShotResult(("a", "b"), probability, probability > 0.5, none.bool(), none, (), *[(None, None)] * 3)
    assert result.label_map.tolist() == [[1, 2, 0]]


def test_bfloat16_encoding_changes_the_embedding_little(encoder, segmenter, images, monkeypatch):
    monkeypatch.setattr("medclipsam_monai.base.devices.half_precision", lambda device: torch.bfloat16)
    plain, mixed = (
        ZeroShotSegmenter(encoder, segmenter, saliency=METHOD, amp=amp)
        .encode_images(images[:1])
        .embeddings()[0]
        .features
        for amp in (False, True)
    )
    assert mixed.dtype == torch.float32
    assert 0 < float((mixed - plain).norm() / plain.norm()) < 0.05


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fusion": "median"}, "one of best, mean"),
        ({"prompt_ensemble": "votes"}, "one of embeddings, maps"),
        ({"threshold": 1.5}, "threshold must be a number from 0 to 1, got 1.5"),
        ({"presence_threshold": -1}, "presence_threshold must be a number from 0 to 1, got -1"),
        ({"presence_scale": float("nan")}, "presence_scale must be a number above 0 to 1,000,000 or None, got nan"),
        ({"amp": "no"}, "amp must be true or false, got 'no'"),
    ],
)
def test_options_out_of_range_are_named(encoder, segmenter, options, message):
    with pytest.raises(ValueError, match=message):
        amp = options.pop("amp", False)
        ZeroShotSegmenter(encoder, segmenter, Settings(**options), METHOD, amp=amp)


@pytest.mark.parametrize("slice_batch", [1, 2, 5])
def test_a_volume_is_its_slices_one_by_one(network, slice_batch):
    volume = torch.rand(1, 3, 32, 40, 3, generator=torch.Generator().manual_seed(2))
    network = network.with_settings({"volumes": "slices"})
    probability = TextPromptedInferer(["lungs", "heart"], slice_batch=slice_batch)(volume, network)
    assert probability.shape == (1, 2, 32, 40, 3)
    for d in range(3):
        alone = TextPromptedInferer(["lungs", "heart"])(volume[..., d], network)
        torch.testing.assert_close(probability[..., d], alone, atol=1e-3, rtol=0)


def test_a_volume_as_one_is_what_the_stages_find(network):
    volume = torch.rand(2, 3, 32, 40, 4, generator=torch.Generator().manual_seed(2))
    texts = network.encode_texts(parse_targets(["lungs", "heart"]))
    probability = TextPromptedInferer(["lungs", "heart"], slice_batch=3)(volume, network)
    for one, found in zip(volume, probability, strict=True):
        result = segment_volume(network, one, texts, keep=("probability",))
        torch.testing.assert_close(found, result.probability * result.mask, atol=1e-3, rtol=0)
        assert found.any()


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 1, 8, 8), (1, 3, 8, 8, 8, 8)])
def test_inputs_of_another_shape_are_refused(network, shape):
    with pytest.raises(ValueError, match=r"must be \(B, 3, H, W\)"):
        TextPromptedInferer("lungs")(torch.zeros(shape), network)
