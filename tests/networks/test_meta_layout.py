"""Files of SAM 2.1 and MedSAM2 as their authors publish them, and what their names become."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.networks.transformers_sam.load import load_segmenter
from medclipsam_monai.networks.transformers_sam.meta_layout import SIZES, meta_settings, to_transformers_layout

NAMES: dict[str, list[int]] = json.loads((Path(__file__).parent / "sam2_tiny_names.json").read_text())
"""Name -> shape of the package sam2's own SAM 2.1 tiny, all but most of what a video needs."""


def random_state() -> dict[str, torch.Tensor]:
    torch.manual_seed(2)
    state = {}
    for name, shape in NAMES.items():
        norm = "norm" in name and name.endswith("weight")
        state[name] = torch.ones(shape) if norm else torch.randn(shape) * (0.02 if len(shape) != 2 else 0.05)
    return state


@pytest.fixture(scope="module")
def state():
    return random_state()


@pytest.fixture(scope="module")
def file(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("published") / "sam2.1_hiera_tiny.pt"
    torch.save({"model": state}, path)
    return path


def wide(blocks: int, width: int) -> dict[str, torch.Tensor]:
    """As much of a file as tells its size."""
    return {
        "image_encoder.trunk.patch_embed.proj.weight": torch.zeros(width, 3, 7, 7),
        **{f"image_encoder.trunk.blocks.{number}.norm1.weight": torch.zeros(width) for number in range(blocks)},
    }


def test_every_tensor_goes_where_its_meaning_is(state):
    out = to_transformers_layout(state, "the file")
    for old, new in {
        "no_mem_embed": "no_memory_embedding",
        "image_encoder.trunk.pos_embed_window": "vision_encoder.backbone.pos_embed_window",
        "image_encoder.trunk.patch_embed.proj.bias": "vision_encoder.backbone.patch_embed.projection.bias",
        "image_encoder.trunk.blocks.3.norm2.weight": "vision_encoder.backbone.blocks.3.layer_norm2.weight",
        "image_encoder.trunk.blocks.3.attn.proj.weight": "vision_encoder.backbone.blocks.3.attn.proj.weight",
        "image_encoder.trunk.blocks.3.mlp.layers.1.bias": "vision_encoder.backbone.blocks.3.mlp.proj_out.bias",
        "image_encoder.neck.convs.2.conv.weight": "vision_encoder.neck.convs.2.weight",
        "sam_prompt_encoder.mask_downscaling.4.bias": "prompt_encoder.mask_embed.layer_norm2.bias",
        "sam_prompt_encoder.not_a_point_embed.weight": "prompt_encoder.not_a_point_embed.weight",
        "sam_mask_decoder.transformer.layers.1.norm4.bias": "mask_decoder.transformer.layers.1.layer_norm4.bias",
        "sam_mask_decoder.transformer.layers.0.mlp.layers.0.weight": (
            "mask_decoder.transformer.layers.0.mlp.proj_in.weight"
        ),
        "sam_mask_decoder.transformer.norm_final_attn.bias": "mask_decoder.transformer.layer_norm_final_attn.bias",
        "sam_mask_decoder.transformer.final_attn_token_to_image.out_proj.weight": (
            "mask_decoder.transformer.final_attn_token_to_image.o_proj.weight"
        ),
        "sam_mask_decoder.output_hypernetworks_mlps.2.layers.0.weight": (
            "mask_decoder.output_hypernetworks_mlps.2.proj_in.weight"
        ),
        "sam_mask_decoder.output_hypernetworks_mlps.2.layers.1.weight": (
            "mask_decoder.output_hypernetworks_mlps.2.layers.0.weight"
        ),
        "sam_mask_decoder.iou_prediction_head.layers.2.bias": "mask_decoder.iou_prediction_head.proj_out.bias",
        "sam_mask_decoder.pred_obj_score_head.layers.1.bias": "mask_decoder.pred_obj_score_head.layers.0.bias",
        "sam_mask_decoder.output_upscaling.3.weight": "mask_decoder.upscale_conv2.weight",
    }.items():
        assert torch.equal(out[new], state[old]), old
    points = out["prompt_encoder.point_embed.weight"]
    assert torch.equal(points[2], state["sam_prompt_encoder.point_embeddings.2.weight"][0])
    positions = state["sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"]
    assert torch.equal(out["shared_image_embedding.positional_embedding"], positions)
    assert torch.equal(out["prompt_encoder.shared_embedding.positional_embedding"], positions)


@pytest.mark.parametrize(("name", "side"), [("sam2.1_hiera_tiny.pt", 1024), ("MedSAM2_latest.pt", 512)])
def test_the_side_is_that_of_the_published_file(name, side):
    settings = meta_settings(wide(12, 96), Path("folder") / name)
    assert settings["prompt_encoder_config"]["image_size"] == side
    assert settings["vision_config"]["backbone_feature_sizes"] == [[side // 4] * 2, [side // 8] * 2, [side // 16] * 2]
    assert meta_settings(wide(12, 96), Path(name), 256)["prompt_encoder_config"]["image_size"] == 256


@pytest.mark.parametrize(("blocks", "width", "name"), [(12, 96, "tiny"), (16, 96, "small"), (24, 112, "base_plus")])
def test_the_size_is_told_by_width_and_blocks(blocks, width, name):
    backbone = meta_settings(wide(blocks, width), Path("a.pt"))["vision_config"]["backbone_config"]
    assert backbone["blocks_per_stage"] == list(SIZES[name].blocks)
    assert backbone["embed_dim_per_stage"] == [width, 2 * width, 4 * width, 8 * width]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (wide(13, 96), r"an image encoder of 13 blocks, 96 wide; expected SAM 2.1 tiny \(12 blocks, 96 wide\), small"),
        ({"image_encoder.pos_embed": torch.zeros(1)}, "no image encoder of SAM 2; expected"),
        ({**wide(12, 96), "image_encoder.trunk.patch_embed.proj.weight": torch.tensor(1.0)}, "no image encoder"),
    ],
)
def test_a_file_of_another_network_is_refused(state, message, tmp_path):
    torch.save({"model": state}, tmp_path / "other.pt")
    with pytest.raises(InputError, match=message):
        load_segmenter(tmp_path / "other.pt")


@pytest.mark.parametrize("side", [0, 100, 8192, -32])
def test_a_side_that_cannot_be_is_refused(side):
    with pytest.raises(InputError, match=f"image_size must be a multiple of 32 from 64 to 4096, got {side}"):
        meta_settings(wide(12, 96), Path("a.pt"), side)


def test_points_that_are_missing_are_said(state):
    less = {name: value for name, value in state.items() if "point_embeddings.3" not in name}
    with pytest.raises(InputError, match=r"the file must hold four sam_prompt_encoder.point_embeddings"):
        to_transformers_layout(less, "the file")


@pytest.mark.slow
def test_a_published_form_loads_and_its_missing_tensors_are_named(file, state, tmp_path):
    segmenter = load_segmenter(file, image_size=256)
    network = segmenter.network.state_dict()
    assert segmenter.image_size == 256
    assert sum(value.numel() for value in segmenter.parameters()) == 31_440_721
    expected = to_transformers_layout(state, "the file")
    assert network.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in network.items())
    torch.save({"model": {k: v for k, v in state.items() if "iou_token" not in k}}, tmp_path / "less.pt")
    with pytest.raises(InputError, match=r"1 names missing \(first mask_decoder.iou_token.weight\)"):
        load_segmenter(tmp_path / "less.pt")


@pytest.mark.minutes
@pytest.mark.parametrize(
    ("name", "config", "side"),
    [
        ("sam2.1_hiera_tiny.pt", "t", 1024),
        ("sam2.1_hiera_small.pt", "s", 1024),
        ("sam2.1_hiera_base_plus.pt", "b+", 1024),
        ("sam2.1_hiera_large.pt", "l", 1024),
        ("MedSAM2_latest.pt", "t", 512),
    ],
)
def test_same_logits_as_metas_own_code(name, config, side, tmp_path):
    """Runs where Meta's package ``sam2`` is installed."""
    build = pytest.importorskip("sam2.build_sam")
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    model = build.build_sam2(
        f"configs/sam2.1/sam2.1_hiera_{config}.yaml", device="cpu", hydra_overrides_extra=[f"++model.image_size={side}"]
    )
    torch.manual_seed(3)
    with torch.no_grad():
        for key, value in model.named_parameters():
            if value.ndim == 1:
                value.uniform_(0.8, 1.2) if "norm" in key and key.endswith("weight") else value.normal_(std=0.05)
            else:
                value.normal_(std=1 / value[0].numel() ** 0.5 if "embed" not in key else 0.3)
    torch.save({"model": model.state_dict()}, tmp_path / name)
    segmenter = load_segmenter(tmp_path / name)

    image = np.random.default_rng(1).integers(0, 256, (side, side, 3), dtype=np.uint8)
    predictor = SAM2ImagePredictor(model)
    predictor._bb_feat_sizes = [(side // stride,) * 2 for stride in (4, 8, 16)]
    predictor.set_image(image)
    box, points = np.array([60.0, 50.0, side * 0.6, side * 0.7]), np.array([[100.0, 120.0], [300.0, 200.0]])
    labels = np.array([1, 0])
    embedding = segmenter.encode(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255)[0]
    for multimask in (False, True):
        for prompt in ({"box": box}, {"point_coords": points, "point_labels": labels}):
            logits, quality, low = predictor.predict(**prompt, multimask_output=multimask, return_logits=True)
            found = segmenter.predict(
                embedding,
                torch.from_numpy(box)[None] if "box" in prompt else None,
                torch.from_numpy(points)[None] if "point_coords" in prompt else None,
                torch.from_numpy(labels)[None] if "point_coords" in prompt else None,
                multimask=multimask,
            )
            assert float(np.abs(logits).mean()) > 0.1
            np.testing.assert_allclose(found.logits[0].numpy(), logits, atol=1e-4, rtol=0)
            np.testing.assert_allclose(found.quality[0].numpy(), quality, atol=1e-4)
    guess = torch.from_numpy(low[:1])
    refined, _, _ = predictor.predict(box=box, mask_input=low[:1], multimask_output=False, return_logits=True)
    found = segmenter.predict(embedding, torch.from_numpy(box)[None], masks=guess)
    np.testing.assert_allclose(found.logits[0].numpy(), refined, atol=1e-4, rtol=0)
