"""Segmenters through transformers: their numbers are those of the library's own processors and models."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers
from promptable_networks import SETTINGS, random_network, write_network

from medclipsam_monai.networks.transformers_sam.frames import Frame
from medclipsam_monai.networks.transformers_sam.load import load_segmenter

FAMILIES = sorted(SETTINGS)
SHAPE = (60, 97)
BOXES = torch.tensor([[3.0, 5.0, 58.2, 54.0], [0.0, 0.0, 96.0, 59.0], [9.0, 9.0, 30.0, 30.0]])
POINTS = torch.tensor([[[5.0, 7.0], [20.0, 30.0]], [[6.5, 8.0], [60.0, 31.0]], [[7.0, 9.0], [22.0, 55.0]]])
LABELS = torch.tensor([[1, 0], [1, 1], [1, -1]])
PROMPTS = {
    "boxes": {"boxes": BOXES},
    "points": {"points": POINTS, "labels": LABELS},
    "both": {"boxes": BOXES, "points": POINTS, "labels": LABELS},
}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def folder(family, tmp_path_factory):
    return write_network(tmp_path_factory.mktemp(family), family)


@pytest.fixture(scope="module")
def segmenter(folder):
    segmenter = load_segmenter(folder)
    segmenter.decode_chunk = 2
    return segmenter


@pytest.fixture(scope="module")
def network(family, folder):
    """The same weights, loaded by transformers itself."""
    return getattr(transformers, f"{family}Model").from_pretrained(folder, local_files_only=True).eval()


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


def as_tensor(*arrays: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float() / 255


def processor(family: str):
    """The family's own processor, for the small networks' square."""
    side = SETTINGS[family]["prompt_encoder_config"]["image_size"]
    square = {"height": side, "width": side}
    if family == "SamHQ":
        images = transformers.SamImageProcessor(size={"longest_edge": side}, pad_size=square)
        return transformers.SamHQProcessor(images)
    if family == "Sam3Tracker":
        return transformers.Sam3TrackerProcessor(transformers.Sam3ImageProcessor(size=square))
    return transformers.Sam2Processor(transformers.Sam2ImageProcessor(size=square), target_size=side)


@torch.no_grad()
def by_the_library(network, image, prompt, multimask):
    """Logits, quality and object scores of transformers' own processor, model and post-processing."""
    process = processor(type(network).__name__.removesuffix("Model"))
    given = {
        "input_boxes": [prompt["boxes"].tolist()] if "boxes" in prompt else None,
        "input_points": [prompt["points"].tolist()] if "points" in prompt else None,
        "input_labels": [prompt["labels"].tolist()] if "points" in prompt else None,
    }
    inputs = process(images=image, **{k: v for k, v in given.items() if v is not None}, return_tensors="pt")
    floats = {k: v.float() for k, v in inputs.items() if k in ("input_boxes", "input_points")}
    sizes = {k: inputs.pop(k) for k in ("original_sizes", "reshaped_input_sizes") if k in inputs}
    found = network(**{**inputs, **floats}, multimask_output=multimask)
    logits = process.post_process_masks(found.pred_masks, *sizes.values(), binarize=False)[0]
    return logits, found.iou_scores[0], getattr(found, "object_score_logits", None)


@pytest.mark.parametrize("kind", PROMPTS)
@pytest.mark.parametrize("multimask", [False, True])
def test_same_logits_as_the_librarys_own_pipeline(network, segmenter, kind, multimask):
    image = picture(*SHAPE)
    found = segmenter.predict(segmenter.encode(as_tensor(image))[0], **PROMPTS[kind], multimask=multimask)
    logits, quality, scores = by_the_library(network, image, PROMPTS[kind], multimask)
    assert found.logits.shape == (3, 3 if multimask else 1, *SHAPE)
    assert float(logits.std()) > 0.01
    torch.testing.assert_close(found.logits, logits, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.quality, quality, atol=1e-4, rtol=0)
    if scores is None:
        assert found.object_scores is None
    else:
        torch.testing.assert_close(found.object_scores, scores.reshape(3), atol=1e-4, rtol=0)


@pytest.mark.parametrize("shape", [(128, 128), (37, 211), (300, 100)])
def test_same_logits_on_pictures_of_any_shape(network, segmenter, shape):
    image, box = picture(*shape), {"boxes": torch.tensor([[4.0, 6.0, shape[1] * 0.7, shape[0] * 0.8]])}
    found = segmenter.predict(segmenter.encode(as_tensor(image))[0], **box)
    torch.testing.assert_close(found.logits, by_the_library(network, image, box, False)[0], atol=1e-4, rtol=0)


def test_a_batch_gives_what_its_pictures_give_alone_and_holds_no_memory_of_the_others(segmenter):
    images = as_tensor(picture(*SHAPE), 255 - picture(*SHAPE))
    together = segmenter.encode(images)
    for number, embedding in enumerate(together):
        alone = segmenter.encode(images[number : number + 1])[0]
        assert embedding.image_shape == SHAPE
        assert embedding.nbytes == sum(part.untyped_storage().nbytes() for part in embedding.features) > 0
        for part, other in zip(embedding.features, alone.features, strict=True):
            torch.testing.assert_close(part, other, atol=1e-4, rtol=1e-3)
    assert not torch.allclose(together[0].features[0], together[1].features[0], atol=1e-2)


def test_decode_gives_probabilities_and_quality(segmenter):
    embedding = segmenter.encode(as_tensor(picture(*SHAPE)))[0]
    probability, quality = segmenter.decode(embedding, BOXES, multimask=True)
    found = segmenter.predict(embedding, BOXES, multimask=True)
    assert torch.equal(probability, found.logits.sigmoid())
    assert torch.equal(quality, found.quality)
    assert not any(parameter.requires_grad for parameter in segmenter.parameters())


def test_a_mask_prompt_is_what_the_library_makes_of_it(segmenter):
    embedding = segmenter.encode(as_tensor(picture(*SHAPE)))[0]
    guess = segmenter.predict(embedding, BOXES).low_resolution[:, 0]
    found = segmenter.predict(embedding, BOXES, masks=guess)
    assert not torch.allclose(found.logits, segmenter.predict(embedding, BOXES).logits, atol=1e-3)
    for number in range(3):
        alone = segmenter.predict(embedding, BOXES[number : number + 1], masks=guess[number : number + 1])
        torch.testing.assert_close(found.logits[number : number + 1], alone.logits, atol=1e-5, rtol=0)
        network, side = segmenter.network, segmenter.image_size
        box = BOXES[number].view(2, 2) * segmenter.frame.scale(SHAPE)
        with torch.no_grad():
            raw = network(
                pixel_values=segmenter.frame.prepare(as_tensor(picture(*SHAPE)), torch.device("cpu")),
                input_boxes=box.view(1, 1, 4),
                input_masks=guess[number].view(1, 1, *guess.shape[1:]),
                multimask_output=False,
            )
        assert side in (112, 128)
        torch.testing.assert_close(alone.low_resolution, raw.pred_masks[0], atol=1e-4, rtol=0)


def test_a_mask_in_the_picture_becomes_a_mask_prompt(segmenter):
    masks = torch.zeros(1, *SHAPE)
    masks[0, 12:48, 20:76] = 1
    embedding = segmenter.encode(as_tensor(picture(*SHAPE)))[0]
    logits = segmenter.mask_logits(masks)
    assert segmenter.takes_masks and logits.shape == segmenter.predict(embedding, BOXES[:1]).low_resolution[0].shape
    back = segmenter.frame.restore(logits[None], SHAPE)[0] > 0
    truth = masks > 0.5
    assert 2 * (back & truth).sum() / (back.sum() + truth.sum()) > 0.95
    assert float(logits.max()) == pytest.approx(10) and float(logits.min()) == pytest.approx(-10)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ({}, "neither"),
        ({"points": torch.zeros(1, 2, 2)}, "come together"),
        ({"boxes": torch.zeros(4)}, r"\(N, 4\)"),
        ({"boxes": torch.zeros(2, 4), "masks": torch.zeros(1, 32, 32)}, r"masks must be \(2, h, w\)"),
        ({"boxes": torch.zeros(2, 4), "masks": torch.zeros(2, 1, 32, 32)}, r"masks must be \(2, h, w\)"),
    ],
)
def test_prompts_that_do_not_fit_are_refused(segmenter, prompt, message):
    embedding = segmenter.encode(torch.zeros(1, 3, 32, 32))[0]
    with pytest.raises(ValueError, match=message):
        segmenter.decode(embedding, **prompt)


def test_half_precision_stays_near_and_gives_float32(segmenter):
    image = as_tensor(picture(*SHAPE))
    exact = segmenter.predict(segmenter.encode(image)[0], BOXES)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embedding = segmenter.encode(image)[0]
    assert all(part.dtype == torch.float32 for part in embedding.features)
    found = segmenter.predict(embedding, BOXES)
    assert found.logits.dtype == torch.float32
    assert float((found.logits - exact.logits).abs().mean()) < 0.1 * float(exact.logits.abs().mean())


def test_a_frame_stretches_or_pads():
    image = torch.ones(1, 3, 20, 40)
    stretched = Frame(64, False, (0.5,) * 3, (0.25,) * 3)
    padded = Frame(64, True, (0.5,) * 3, (0.25,) * 3)
    assert torch.equal(stretched.prepare(image, torch.device("cpu")), torch.full((1, 3, 64, 64), 2.0))
    expected = F.pad(torch.full((1, 3, 32, 64), 2.0), (0, 0, 0, 32))
    assert torch.equal(padded.prepare(image, torch.device("cpu")), expected)
    assert stretched.scale((20, 40)).tolist() == pytest.approx([1.6, 3.2])
    assert padded.scale((20, 40)).tolist() == pytest.approx([1.6, 1.6])
    upper = torch.tensor([3.0] * 8 + [-3.0] * 8).view(1, 1, 16, 1).expand(-1, -1, -1, 16)
    assert (padded.restore(upper, (20, 40)) > 0).all(), "the lower half is padding"
    assert (stretched.restore(upper, (20, 40)) > 0)[0, 0].all(dim=1).tolist() == [True] * 10 + [False] * 10


def test_the_folders_own_mean_and_deviation_are_used(family, folder, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).symlink_to(file)
    own = {"image_processor": {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}}
    (tmp_path / "processor_config.json").write_text(json.dumps(own))
    frame = load_segmenter(tmp_path).frame
    assert (frame.mean, frame.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert load_segmenter(folder).frame.mean == ((0.5,) * 3 if family == "Sam3Tracker" else (0.485, 0.456, 0.406))


def test_the_tests_networks_are_random_and_the_same_each_time():
    first, second = (random_network("Sam2").state_dict() for _ in range(2))
    assert all(torch.equal(value, second[key]) for key, value in first.items())
