"""The benchmark of M2IB on a SigLIP compares two ways to the same map."""

from __future__ import annotations

import pytest
import torch

from medclipsam_monai.weights.hugging_face.model import build_model
from tools.benchmarks.siglip import SIZES, main, measure, settings_of


def test_both_ways_give_the_same_map():
    slow, quick, apart = measure(SIZES["small"], torch.device("cpu"))
    assert 0 < quick < slow
    assert apart < 1e-4


def test_the_sizes_are_those_of_the_published_networks():
    counts = {
        name: sum(parameter.numel() for parameter in build_model(settings_of(SIZES[name]), "meta").parameters())
        for name in ("base", "medsiglip")
    }
    assert counts == {"base": 203_155_970, "medsiglip": 878_300_338}


def test_it_prints_a_row(capsys):
    main(size="small")
    assert "| M2IB, SigLIP small |" in capsys.readouterr().out
    with pytest.raises(ValueError, match="size must be one of base, narrow, medsiglip, small, got 'large'"):
        main(size="large")
