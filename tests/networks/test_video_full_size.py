"""SAM 2.1 tiny with its memory at its real size and random weights: the library's own masks, in bounded memory."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
import transformers

from medclipsam_monai.networks.transformers_sam.load import load_segmenter
from tools.benchmarks import propagation

pytestmark = [pytest.mark.slow, pytest.mark.minutes]
SHAPE, BOX = (300, 400), [30.0, 40.0, 250.0, 220.0]


def test_a_real_size_follows_as_the_library_does(tmp_path, monkeypatch):
    # Sessions keep memory in bfloat16, where a last bit of float32 becomes a part in 256.
    monkeypatch.setattr(torch, "bfloat16", torch.float32)
    torch.manual_seed(0)
    network = transformers.Sam2VideoModel(transformers.Sam2VideoConfig()).eval()
    network.mask_decoder.pred_obj_score_head.proj_out.bias.data.fill_(100.0)
    network.save_pretrained(tmp_path)
    segmenter = load_segmenter(tmp_path)
    frames = np.random.default_rng(1).integers(0, 256, (3, *SHAPE, 3), dtype=np.uint8)
    track, found = segmenter.track(3), []
    shutil.rmtree(tmp_path)  # hundreds of megabytes, which pytest would keep
    for frame in frames:
        (embedding,) = segmenter.encode(torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255)
        found.append(track.follow(embedding) if found else track.begin(embedding, torch.tensor([BOX])))

    images = transformers.Sam2ImageProcessor()
    process = transformers.Sam2VideoProcessor(images, transformers.Sam2VideoVideoProcessor())
    pixels = torch.cat([images(frame, return_tensors="pt")["pixel_values"] for frame in frames])
    session = transformers.Sam2VideoInferenceSession(pixels, *SHAPE, dtype=torch.float32)
    process.add_inputs_to_inference_session(session, 0, 1, input_boxes=[[BOX]])
    for one, expected in zip(found, network.propagate_in_video_iterator(session, 0), strict=True):
        (logits,) = process.post_process_masks([expected.pred_masks], [list(SHAPE)], binarize=False)
        torch.testing.assert_close(one.probability, logits[:, 0].sigmoid(), atol=1e-4, rtol=0)
        torch.testing.assert_close(one.object_scores, expected.object_score_logits.reshape(1), atol=1e-4, rtol=1e-5)
    (outputs,) = track._session.output_dict_per_obj.values()
    kept = [value for group in outputs.values() for frame in group.values() for value in frame.values()]
    assert sum(value.nbytes for value in kept) < 3 * 2.2e6, "about 2 MB a slice, of which it keeps seven"


def test_the_benchmark_compares_both_ways(capsys):
    propagation.main(depth=2, turns=1, device="cpu", only="EdgeTAM")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()[3:]]
    assert [row[:2] for row in rows[-2:]] == [["EdgeTAM", "slice by slice"], ["EdgeTAM", "propagated"]]
    assert rows[-2][3] == "1.00 x" and float(rows[-1][3].removesuffix(" x")) > 1
