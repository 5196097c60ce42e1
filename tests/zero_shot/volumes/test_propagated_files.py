"""A volume's file propagated by a random SAM 2.1 from end to end: its masks are those of a walk by hand."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
import torch
from promptable_networks import random_network

from medclipsam_monai import TextSegmenter


@pytest.fixture(scope="module")
def preset(tiny_preset, tmp_path_factory):
    network = random_network("Sam2Video")
    with torch.no_grad():  # it sees something everywhere
        network.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(3.0)
        network.mask_decoder.pred_obj_score_head.proj_out.weight.mul_(0.1)
    network.save_pretrained(folder := tmp_path_factory.mktemp("sam2_video"))
    path = tmp_path_factory.mktemp("preset") / "video.json"
    content = {
        "extends": str(tiny_preset),
        "sam": str(folder),
        "segmenter": "transformers_sam",
        "volumes": "propagated",
        "coarse": {"threshold": "otsu", "components": "largest"},
    }
    path.write_text(json.dumps(content))
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    numbers = np.random.default_rng(0).integers(-500, 900, (32, 24, 7), dtype=np.int16)
    numbers[8:20, 6:18, 2:5] += 900
    path = tmp_path_factory.mktemp("ct") / "ct.nii.gz"
    nib.save(nib.Nifti1Image(numbers, np.diag([1, 1, 4, 1])), path)
    return path


def test_the_masks_are_those_of_a_walk_by_hand(preset, file):
    segmenter = TextSegmenter.from_preset(preset, "cpu")
    opened = segmenter.open(file)
    found = opened("lungs", keep=("probability",)).found
    ((best, *box),) = found.boxes[0].tolist()
    network, depth = segmenter.network.segmenter, opened.slices
    slices = opened.display.movedim(-1, 0)
    expected = torch.zeros_like(found.probability[0])
    for order in (range(int(best), depth), range(int(best), -1, -1)):
        track = network.track(depth)
        for number in order:
            (embedding,) = network.encode(slices[number : number + 1])
            if number == best:
                one = track.begin(embedding, torch.tensor([box]))
            else:
                one = track.follow(embedding)
            expected[..., number] = one.probability[0]
    torch.testing.assert_close(found.probability[0], expected, atol=1e-4, rtol=0)
    assert torch.equal(found.mask[0], found.probability[0] > 0.5) and found.mask.any()
    assert found.quality == (None,) and found.object_score[0] == pytest.approx(3.0, abs=1.0)


def test_the_record_says_which_way_was_gone(preset, file, run, tmp_path):
    code, out, err = run(file, "--text", "lungs", preset=preset)
    assert (code, err) == (0, "") and "1 done" in out
    record = json.loads((tmp_path / "out" / "ct.json").read_text())
    assert record["parameters"]["volumes"] == "propagated"
    (lungs,) = record["classes"]
    assert lungs["object_score"] > 0 and lungs["quality"] is None and lungs["slices"]["count"] > 0


def test_the_usual_way_has_object_scores_too(preset, file):
    found = TextSegmenter.from_preset(preset, "cpu")(file, "lungs").found
    slices = TextSegmenter.from_preset(preset, "cpu").with_settings({"volumes": "whole"})(file, "lungs").found
    assert slices.quality[0] is not None and slices.object_score[0] == pytest.approx(found.object_score[0], abs=1.0)


def test_the_command_line_says_in_one_line_what_is_missing(file, run):
    code, out, err = run(file, "--text", "lungs", "--set", "volumes=propagated")
    assert code == 2 and "volumes=propagated needs a segmenter with a memory" in out + err
    assert "Traceback" not in out + err and "got SAMSegmenter without one" in (out + err).replace("\n", " ")
