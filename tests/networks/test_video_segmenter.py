"""Objects followed through pictures: the numbers are those of transformers' own sessions, the memory is bounded."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers
from promptable_networks import SIDE, VIDEO_SETTINGS, random_network

from medclipsam_monai.networks.transformers_sam.load import load_segmenter

SHAPE, FRAMES, FIRST = (60, 97), 9, 3
BOXES = torch.tensor([[3.0, 5.0, 58.2, 54.0], [9.0, 9.0, 30.0, 30.0]])
POINTS = torch.tensor([[[5.0, 7.0], [20.0, 30.0]], [[60.0, 31.0], [7.0, 9.0]]])
LABELS = torch.tensor([[1, 0], [1, 1]])
PROMPTS = {
    "boxes": {"boxes": BOXES},
    "points": {"points": POINTS, "labels": LABELS},
    "both": {"boxes": BOXES, "points": POINTS, "labels": LABELS},
}


@pytest.fixture(scope="module", params=sorted(VIDEO_SETTINGS))
def family(request):
    return request.param


def network_that_sees(name: str, score: float = 5.0):
    """A random network whose object scores are near a number."""
    network = random_network(name)
    with torch.no_grad():
        network.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(score)
        network.mask_decoder.pred_obj_score_head.proj_out.weight.mul_(0.1)
    return network


@pytest.fixture(scope="module")
def folder(family, tmp_path_factory):
    folder = tmp_path_factory.mktemp(family)
    network_that_sees(family).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def segmenter(folder):
    return load_segmenter(folder)


def frames(count: int = FRAMES) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (count, *SHAPE, 3), dtype=np.uint8)


def embeddings(segmenter, count: int = FRAMES):
    return segmenter.encode(torch.from_numpy(frames(count)).permute(0, 3, 1, 2).float() / 255)


def by_the_library(folder, family, prompt, reverse):
    """Logits (N, H, W) and scores of each frame, from transformers' own processor, model and post-processing."""
    network = getattr(transformers, f"{family}Model").from_pretrained(folder, local_files_only=True).eval()
    square = {"height": SIDE, "width": SIDE}
    images = transformers.Sam2ImageProcessor(size=square)
    process = transformers.Sam2VideoProcessor(
        images, transformers.Sam2VideoVideoProcessor(size=square), target_size=SIDE
    )
    pixels = [images(frame, return_tensors="pt")["pixel_values"][0] for frame in frames()]
    session = getattr(transformers, f"{family}InferenceSession")(
        video=torch.stack(pixels), video_height=SHAPE[0], video_width=SHAPE[1], dtype=torch.float32
    )
    given = {
        "input_boxes": [prompt["boxes"].tolist()] if "boxes" in prompt else None,
        "input_points": [prompt["points"].tolist()] if "points" in prompt else None,
        "input_labels": [prompt["labels"].tolist()] if "points" in prompt else None,
    }
    process.add_inputs_to_inference_session(session, FIRST, [1, 2], **given)
    for found in network.propagate_in_video_iterator(session, FIRST, reverse=reverse):
        (logits,) = process.post_process_masks([found.pred_masks], [list(SHAPE)], binarize=False)
        yield logits[:, 0], found.object_score_logits.reshape(-1)


@pytest.mark.parametrize("kind", PROMPTS)
@pytest.mark.parametrize("reverse", [False, True])
def test_same_masks_as_the_librarys_own_session(segmenter, folder, family, kind, reverse):
    order = range(FIRST, -1, -1) if reverse else range(FIRST, FRAMES)
    known, track = embeddings(segmenter), segmenter.track(FRAMES)
    expected = list(by_the_library(folder, family, PROMPTS[kind], reverse))
    assert len(expected) == len(order)
    seen = []
    for number, (logits, scores) in zip(order, expected, strict=True):
        found = track.begin(known[number], **PROMPTS[kind]) if number == FIRST else track.follow(known[number])
        assert found.probability.shape == (2, *SHAPE) and (found.object_scores > 0).all()
        torch.testing.assert_close(found.probability, logits.sigmoid(), atol=1e-4, rtol=0)
        torch.testing.assert_close(found.object_scores, scores, atol=1e-4, rtol=1e-4)
        seen.append(found.probability)
    assert float(seen[0].std()) > 0.01 and not torch.allclose(seen[1], seen[2], atol=1e-2)
