"""Real sizes with random weights: downloaded, interrupted, resumed, checked, loaded, used and converted, offline."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from medclipsam_monai import TextSegmenter
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.networks.clip.load import load_text_image_encoder
from medclipsam_monai.networks.sam.segmenter import load_segmenter
from medclipsam_monai.networks.sam.sizes import SAM_SIZES, build_sam
from medclipsam_monai.saliency.m2ib import M2IB
from medclipsam_monai.weights import registry as weights
from medclipsam_monai.weights.clip_config import BIOMEDCLIP_FOLDER
from medclipsam_monai.weights.clip_folder import build_clip
from medclipsam_monai.weights.convert import convert
from medclipsam_monai.weights.entries import known_weights
from medclipsam_monai.weights.registry import download, resolve, weight_hash
from medclipsam_monai.weights.state_dicts import read_state_dict
from medclipsam_monai.zero_shot.network import ZeroShotSegmenter

pytestmark = pytest.mark.slow
NETWORKS = {
    "biomedclip": lambda: build_clip(BIOMEDCLIP_FOLDER),
    "sam_vit_b": lambda: build_sam(SAM_SIZES["vit_b"]),
}
BREAK = 200 << 20  # bytes; a whole number of the chunks that are written at a time


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The two official file forms, with random weights, by name."""
    folder = tmp_path_factory.mktemp("published")
    torch.manual_seed(0)
    for name, build in NETWORKS.items():
        torch.save(build().state_dict(), folder / known_weights()[name].file)
    yield {name: folder / known_weights()[name].file for name in NETWORKS}
    shutil.rmtree(folder)


@pytest.fixture
def home(tmp_path, monkeypatch, published, serve):
    """Both files, each brought in two pieces from a server that broke off and came back."""
    monkeypatch.setenv("MEDCLIPSAM_HOME", str(tmp_path / "home"))
    for name, file in published.items():
        server = serve(file, breaks=[BREAK, 0])
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        entry = replace(known_weights()[name], url=server.url, size=file.stat().st_size, sha256=sha256)
        monkeypatch.setattr(weights, "known_weights", lambda entry=entry: {entry.name: entry})
        with pytest.raises(InputError, match="broke off"):
            download(name, progress=False)
        with pytest.raises(InputError, match=f"medclipsam weights download {name}"):
            resolve(name)
        download(name, progress=False)
        assert server.asked == [None, f"bytes={BREAK}-", f"bytes={BREAK}-"]
        assert weight_hash(resolve(name)) == sha256
    monkeypatch.setattr(weights, "known_weights", known_weights)
    yield tmp_path / "home"
    shutil.rmtree(tmp_path)  # gigabytes, which pytest would keep


@pytest.mark.minutes
def test_downloaded_in_pieces_then_segments_and_converts_offline(home, published, offline, tmp_path):
    encoder = load_text_image_encoder(resolve("biomedclip"))
    network = ZeroShotSegmenter(encoder, load_segmenter(resolve("sam_vit_b")), saliency=M2IB(steps=1, samples=1))
    image = torch.rand(1, 3, 90, 120, generator=torch.Generator().manual_seed(2))
    probability = network(image, {"lung": ["the left lung on a chest x-ray"]})
    assert probability.shape == (1, 1, 90, 120)
    assert probability.isfinite().all()
    del encoder, network

    port = convert("biomedclip", tmp_path / "port", "transformers")
    back = convert(port, tmp_path / "back.safetensors", "open_clip")
    before, after = read_state_dict(published["biomedclip"]), read_state_dict(back)
    assert {key for key in before if "position_ids" not in key} == after.keys()
    assert all(torch.equal(before[key], value) for key, value in after.items())
    assert "text_model.encoder.layers.11.self_attn.q_proj.weight" in read_state_dict(port / "model.safetensors")


@pytest.mark.minutes
def test_presence_decides_at_real_size(published, offline, tmp_path):
    factors = {"bias": 0.3, "denial": 40.0, "known": 5.0}
    preset = {
        "extends": "biomedclip_sam_b",
        "clip": str(published["biomedclip"]),
        "sam": str(published["sam_vit_b"]),
        "knows": {"chest X-ray": ["lungs", "heart"]},
        "presence": factors,
        "saliency": {"method": "m2ib", "steps": 1, "samples": 1},
        "volumes": "whole",
    }
    (tmp_path / "preset.json").write_text(json.dumps(preset))
    segmenter = TextSegmenter.from_preset(tmp_path / "preset.json", "cpu")
    picture = np.random.default_rng(3).integers(0, 256, (90, 120), dtype=np.uint8)
    found = segmenter.with_settings({"presence_threshold": 0.0})(picture, "lungs").found
    encoder = segmenter.network.encoder
    image = encoder.encode_image(torch.from_numpy(picture / np.float32(255)).expand(1, 3, -1, -1))
    text, denial, heart = (image @ encoder.encode_text([said]).T for said in ("lungs", "no lungs", "heart"))
    odds = 0.3 + 40 * float(text - denial) + 5 * float(text - max(text, heart))
    assert found.presence[0] == pytest.approx(1 / (1 + np.exp(-odds)), abs=1e-3)
    assert found.coarse.any()
    volume = np.stack([picture] * 5, axis=-1)
    absent = segmenter.with_settings({"presence_threshold": 1.0})(volume, "lungs", spacing=(1, 1, 5)).found
    assert absent.presence[0] < 1 and not absent.mask.any() and absent.quality == (None,)
