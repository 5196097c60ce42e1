"""The memory in files of SAM 2.1 and MedSAM2 as their authors publish them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from medclipsam_monai.networks.protocols import PropagatingSegmenter
from medclipsam_monai.networks.transformers_sam.load import load_segmenter
from medclipsam_monai.networks.transformers_sam.meta_layout import to_transformers_layout
from medclipsam_monai.networks.transformers_sam.meta_memory import has_memory, memory_layout, memory_settings

HERE = Path(__file__).parent
MEMORY: dict[str, list[int]] = json.loads((HERE / "sam2_tiny_memory_names.json").read_text())
"""Name -> shape of what the package sam2's own SAM 2.1 tiny keeps for videos."""
PICTURE: dict[str, list[int]] = json.loads((HERE / "sam2_tiny_names.json").read_text())
SIDE, FRAMES = 256, 5


def test_a_published_file_has_every_tensor_of_the_librarys_network():
    state = {name: torch.empty(shape, device="meta") for name, shape in {**PICTURE, **MEMORY}.items()}
    assert has_memory(state) and not has_memory({name: value for name, value in state.items() if name not in MEMORY})
    ours = {**to_transformers_layout(state, "the file"), **memory_layout(state)}
    with torch.device("meta"):
        config = transformers.Sam2VideoConfig(**memory_settings(state, 1024))
        library = transformers.Sam2VideoModel(config).state_dict()
    assert {name: value.shape for name, value in ours.items()} == {name: value.shape for name, value in library.items()}


def test_sam_2_has_no_place_for_two_parts():
    state = {name: torch.empty(1) for name in MEMORY if "no_obj_embed_spatial" not in name and "tpos_proj" not in name}
    assert memory_settings(state, 512) == {
        "memory_attention_rope_feat_sizes": [32, 32],
        "enable_occlusion_spatial_embedding": False,
        "enable_temporal_pos_encoding_for_object_pointers": False,
    }


@pytest.mark.minutes
@pytest.mark.parametrize("reverse", [False, True])
def test_same_masks_as_metas_own_video_predictor(reverse, tmp_path, monkeypatch):
    """Runs where Meta's package ``sam2`` is installed."""
    # Both keep memory in bfloat16, where a last bit of float32 becomes a part in 256.
    monkeypatch.setattr(torch, "bfloat16", torch.float32)
    build = pytest.importorskip("sam2.build_sam")
    predictor = build.build_sam2_video_predictor(
        "configs/sam2.1/sam2.1_hiera_t.yaml", device="cpu", hydra_overrides_extra=[f"++model.image_size={SIDE}"]
    )
    predictor.fill_hole_area = 0
    torch.manual_seed(3)
    with torch.no_grad():
        for key, value in predictor.named_parameters():
            if value.ndim == 1:
                value.uniform_(0.8, 1.2) if "norm" in key and key.endswith("weight") else value.normal_(std=0.05)
            else:
                value.normal_(std=1 / value[0].numel() ** 0.5 if "embed" not in key else 0.3)
        predictor.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(5.0)
    torch.save({"model": predictor.state_dict()}, tmp_path / "sam2.1_hiera_tiny.pt")
    segmenter = load_segmenter(tmp_path / "sam2.1_hiera_tiny.pt", image_size=SIDE)
    assert isinstance(segmenter, PropagatingSegmenter)

    frames = tmp_path / "frames"
    frames.mkdir()
    for number, one in enumerate(np.random.default_rng(1).integers(0, 256, (FRAMES, SIDE, SIDE, 3), dtype=np.uint8)):
        Image.fromarray(one).save(frames / f"{number}.jpg", quality=95)
    read = [np.array(Image.open(frames / f"{number}.jpg")) for number in range(FRAMES)]
    known = segmenter.encode(torch.from_numpy(np.stack(read)).permute(0, 3, 1, 2).float() / 255)
    box, first = np.array([60.0, 50.0, 190.0, 200.0], dtype=np.float32), FRAMES - 1 if reverse else 0
    state = predictor.init_state(str(frames))
    predictor.add_new_points_or_box(state, frame_idx=first, obj_id=1, box=box)
    track, seen = segmenter.track(FRAMES), []
    for number, _, logits in predictor.propagate_in_video(state, first, reverse=reverse):
        found = track.follow(known[number]) if seen else track.begin(known[number], torch.from_numpy(box)[None])
        torch.testing.assert_close(found.probability, logits[:, 0].sigmoid(), atol=1e-4, rtol=0)
        seen.append(found.probability)
    assert len(seen) == FRAMES and float(seen[-1].std()) > 0.05
