"""SAM 2.1 tiny and EdgeTAM at their real sizes with random weights: written, loaded and used, offline."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
import transformers

from medclipsam_monai.networks.transformers_sam.families import EDGETAM, SAM2
from medclipsam_monai.networks.transformers_sam.load import load_segmenter
from medclipsam_monai.networks.transformers_sam.segmenter import TransformersSegmenter
from tools.benchmarks import segmenters

pytestmark = [pytest.mark.slow, pytest.mark.minutes]


@pytest.mark.parametrize(("family", "millions"), [(SAM2, 31.4), (EDGETAM, 9.1)])
def test_a_real_size_loads_and_gives_the_librarys_logits(family, millions, offline, tmp_path):
    torch.manual_seed(0)
    segmenters.random_segmenter(family).network.save_pretrained(tmp_path)
    segmenter = load_segmenter(tmp_path)
    library = getattr(transformers, family.model).from_pretrained(tmp_path, local_files_only=True).eval()
    shutil.rmtree(tmp_path)  # hundreds of megabytes, which pytest would keep
    assert sum(value.numel() for value in segmenter.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)
    assert segmenter.image_size == 1024

    image = np.random.default_rng(1).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    boxes = torch.tensor([[30.0, 40.0, 250.0, 220.0], [0.0, 0.0, 399.0, 299.0]])
    embedding = segmenter.encode(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255)[0]
    found = segmenter.predict(embedding, boxes, multimask=True)
    process = transformers.Sam2Processor(transformers.Sam2ImageProcessor())
    inputs = process(images=image, input_boxes=[boxes.tolist()], return_tensors="pt")
    sizes = inputs.pop("original_sizes")
    with torch.no_grad():
        expected = library(**inputs, multimask_output=True)
    logits = process.post_process_masks(expected.pred_masks, sizes, binarize=False)[0]
    assert embedding.nbytes == 4 * (32 * 256**2 + 64 * 128**2 + 256 * 64**2)
    torch.testing.assert_close(found.logits, logits, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.quality, expected.iou_scores[0], atol=1e-4, rtol=0)


def test_the_benchmark_names_the_kinds_and_their_ratios(capsys):
    segmenters.main(turns=1, device="cpu", half=False)
    rows = [line for line in capsys.readouterr().out.splitlines() if " MB |" in line]
    assert [row.split("|")[1].strip() for row in rows] == ["SAM ViT-B", "SAM 2.1 tiny", "EdgeTAM"]
    assert rows[0].count("| 1.0 x |") == 2
    assert isinstance(segmenters.random_segmenter(EDGETAM), TransformersSegmenter)
