"""Objects followed through pictures: the numbers are those of transformers' own sessions, the memory is bounded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from promptable_networks import SIDE, write_network
from safetensors.torch import load_file, save_file

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.networks.protocols import PropagatingSegmenter, ScoringSegmenter
from medclipsam_monai.networks.transformers_sam.load import load_segmenter

SHAPE, FRAMES, FIRST = (60, 97), 5, 2
BOXES = torch.tensor([[3.0, 5.0, 58.2, 54.0], [9.0, 9.0, 30.0, 30.0]])
POINTS = torch.tensor([[[5.0, 7.0], [20.0, 30.0]], [[60.0, 31.0], [7.0, 9.0]]])
LABELS = torch.tensor([[1, 0], [1, 1]])
PROMPTS = {
    "boxes": {"boxes": BOXES},
    "points": {"points": POINTS, "labels": LABELS},
    "both": {"boxes": BOXES, "points": POINTS, "labels": LABELS},
}


@pytest.fixture(scope="module", params=["Sam2Video", pytest.param("EdgeTamVideo", marks=pytest.mark.slow)])
def family(request):
    return request.param


_SCORE = "mask_decoder.pred_obj_score_head.proj_out."


@pytest.fixture(scope="module")
def folder(family, tmp_path_factory):
    """A random network whose object scores are near 5."""
    folder = write_network(tmp_path_factory.mktemp(family), family)
    state = load_file(folder / "model.safetensors")
    state[f"{_SCORE}bias"].fill_(5.0)
    state[f"{_SCORE}weight"].mul_(0.1)
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def segmenter(folder):
    return load_segmenter(folder)


def frames() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (FRAMES, *SHAPE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def known(segmenter):
    """The frames, encoded one by one as the library does, to the last bit."""
    pictures = torch.from_numpy(frames()).permute(0, 3, 1, 2).float() / 255
    return [segmenter.encode(one[None])[0] for one in pictures]


@pytest.fixture(scope="module")
def library(folder, family):
    """The same weights, loaded by transformers itself."""
    return getattr(transformers, f"{family}Model").from_pretrained(folder, local_files_only=True).eval()


def by_the_library(network, prompt, reverse):
    """Logits (N, H, W) and scores of each frame, from transformers' own processor, model and post-processing."""
    square = {"height": SIDE, "width": SIDE}
    images = transformers.Sam2ImageProcessor(size=square)
    process = transformers.Sam2VideoProcessor(
        images, transformers.Sam2VideoVideoProcessor(size=square), target_size=SIDE
    )
    pixels = [images(frame, return_tensors="pt")["pixel_values"][0] for frame in frames()]
    session = getattr(transformers, type(network).__name__.replace("Model", "InferenceSession"))(
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


@pytest.mark.parametrize(("kind", "reverse"), [("boxes", False), ("points", False), ("both", True)])
def test_same_masks_as_the_librarys_own_session(segmenter, known, library, kind, reverse, monkeypatch):
    # Sessions keep memory in bfloat16, where a last bit of float32 becomes a part in 256.
    monkeypatch.setattr(torch, "bfloat16", torch.float32)
    order = range(FIRST, -1, -1) if reverse else range(FIRST, FRAMES)
    track = segmenter.track(FRAMES)
    expected = list(by_the_library(library, PROMPTS[kind], reverse))
    assert len(expected) == len(order)
    seen = []
    for number, (logits, scores) in zip(order, expected, strict=True):
        found = track.begin(known[number], **PROMPTS[kind]) if number == FIRST else track.follow(known[number])
        assert found.probability.shape == (2, *SHAPE) and (found.object_scores > 0).all()
        torch.testing.assert_close(found.probability, logits.sigmoid(), atol=1e-4, rtol=0)
        torch.testing.assert_close(found.object_scores, scores, atol=1e-4, rtol=1e-4)
        seen.append(found.probability)
    assert float(seen[0].std()) > 0.01 and not torch.allclose(seen[1], seen[2], atol=1e-2)


def test_the_picture_half_is_that_of_the_pictures_network(segmenter, known, folder, family):
    assert isinstance(segmenter, PropagatingSegmenter) and isinstance(segmenter, ScoringSegmenter)
    before = segmenter.state_dict().keys()
    assert not any("memory_attention" in name for name in before), "what pictures do not need is not loaded"
    segmenter.track(1)
    assert segmenter.state_dict().keys() == before
    network = getattr(transformers, f"{family.removesuffix('Video')}Model").from_pretrained(folder).eval()
    inputs = segmenter.frame.prepare(
        torch.from_numpy(frames()[:1]).permute(0, 3, 1, 2).float() / 255, torch.device("cpu")
    )
    box = (BOXES[:1].view(1, 2, 2) * segmenter.frame.scale(SHAPE)).view(1, 1, 4)
    with torch.no_grad():
        expected = network(pixel_values=inputs, input_boxes=box, multimask_output=False)
    found = segmenter.predict(known[0], BOXES[:1])
    torch.testing.assert_close(found.low_resolution, expected.pred_masks[0], atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(found.object_scores, expected.object_score_logits.reshape(1), atol=1e-4, rtol=0)


def held(track) -> int:
    """Bytes of all tensors that a walk keeps."""

    def tensors(thing):
        if isinstance(thing, torch.Tensor):
            yield thing
        elif isinstance(thing, dict):
            for one in thing.values():
                yield from tensors(one)
        elif isinstance(thing, list):
            for one in thing:
                yield from tensors(one)

    session = track._session
    parts = [session.output_dict_per_obj, session.cache._vision_features, session.processed_frames]
    return sum(one.nbytes for one in tensors(parts))


def test_a_long_way_takes_no_more_memory_than_a_short_one(segmenter, known):
    track = segmenter.track(300)
    track.begin(known[0], BOXES[:1])
    sizes = []
    for number in range(1, 20):
        track.follow(known[number % 2])
        sizes.append(held(track))
    assert len(set(sizes[16:])) == 1 and sizes[0] < sizes[-1] < 4 * sizes[0]
    (outputs,) = track._session.output_dict_per_obj.values()
    assert len(outputs["non_cond_frame_outputs"]) == 16


def changed(folder: Path, copy: Path, **settings: Any) -> Path:
    """A copy of a network's folder with other settings."""
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, **settings}))
    return copy


def test_an_object_that_is_not_there_has_a_negative_score_and_no_mask(folder, known, tmp_path):
    state = load_file(changed(folder, tmp_path) / "model.safetensors")
    state[f"{_SCORE}bias"].fill_(-5.0)
    save_file(state, tmp_path / "model.safetensors")
    track = load_segmenter(tmp_path).track(2)
    for found in (track.begin(known[0], BOXES), track.follow(known[1])):
        assert (found.object_scores < 0).all() and not found.probability.any()


def test_a_folder_of_the_pictures_network_alone_has_no_memory(tmp_path):
    assert not isinstance(load_segmenter(write_network(tmp_path, "Sam2")), PropagatingSegmenter)


def test_a_memory_that_does_not_fit_is_said_where_it_is_needed(folder, known, tmp_path):
    state = load_file(changed(folder, tmp_path) / "model.safetensors")
    del state["no_object_pointer"]
    save_file(state, tmp_path / "model.safetensors")
    segmenter = load_segmenter(tmp_path)
    assert segmenter.predict(known[0], BOXES).logits.shape == (2, 1, *SHAPE)
    with pytest.raises(InputError, match=rf"{tmp_path} .* 1 names missing \(first no_object_pointer\)"):
        segmenter.track(3)


def test_sizes_of_a_memory_that_the_library_cannot_have_are_refused(folder, tmp_path):
    segmenter = load_segmenter(changed(folder, tmp_path))
    for settings, message in (
        ({"num_maskmem": 10**6}, "num_maskmem in .* must be a whole number from 1 to 64"),
        ({"memory_encoder_output_channels": 32}, "memory_encoder_output_channels in .* must be 64, got 32"),
        ({"memory_attention_hidden_size": 64}, "memory_attention_hidden_size in .* must be 128, .*, got 64"),
        ({"memory_fuser_embed_dim": 64}, "memory_fuser_embed_dim in .* must be 128, .*, got 64"),
        ({"memory_attention_rope_feat_sizes": [4, 4]}, r"rope_feat_sizes in .* must be \[8, 8\], .*, got \[4, 4\]"),
    ):
        changed(folder, tmp_path, **settings)
        with pytest.raises(InputError, match=message) as refused:
            segmenter.track(3)
        assert "\n" not in str(refused.value) and "config.json" in str(refused.value)


def test_prompts_of_nothing_are_refused(segmenter, known):
    with pytest.raises(ValueError, match="neither"):
        segmenter.track(2).begin(known[0])
