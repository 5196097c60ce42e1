"""SAM-Med2D at its real size with random weights, in the form of its published file: loaded and used, offline."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from medclipsam_monai.networks.sam.segmenter import load_segmenter, load_without_adapters
from medclipsam_monai.networks.sam.sizes import SAM_SIZES, build_sam

pytestmark = [pytest.mark.slow, pytest.mark.minutes]


@torch.no_grad()
def test_a_real_size_loads_and_segments_with_its_adapters_and_without(offline, tmp_path):
    torch.manual_seed(0)
    published = build_sam(replace(SAM_SIZES["vit_b"], image_size=256, stretched=True, adapters=True))
    file = tmp_path / "sam-med2d_b.pth"
    torch.save({"model": published.state_dict()}, file)
    assert file.stat().st_size == pytest.approx(1.085e9, rel=0.01)
    segmenter, without = load_segmenter(file), load_without_adapters(file)
    file.unlink()  # a gigabyte, which pytest would keep
    millions = [sum(value.numel() for value in one.parameters()) / 1e6 for one in (segmenter, without)]
    assert millions == pytest.approx([271.2, 90.7], abs=0.1)

    image, boxes = torch.rand(1, 3, 300, 400), torch.tensor([[30.0, 40.0, 250.0, 220.0]])
    (embedding,) = segmenter.encode(image)
    (other,) = without.encode(image)
    pixels = segmenter._square.resize(image.mul(255).round().byte())
    features = published.image_encoder(published.preprocess(pixels.float()))  # without fused attention
    torch.testing.assert_close(embedding.features, features, atol=1e-3, rtol=0)
    assert not torch.allclose(other.features, features, atol=0.1)
    for one, known in ((segmenter, embedding), (without, other)):
        probability, quality = one.decode(known, boxes, multimask=True)
        assert probability.shape == (1, 3, 300, 400) and quality.shape == (1, 3)
        assert probability.isfinite().all()
