"""The encoders that begin with a pyramid of convolutions: in the forms that load, and refused where they do not fit."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.networks.clip.load import load_text_image_encoder
from medclipsam_monai.networks.sam.sizes import SamSize, build_sam, load_sam
from medclipsam_monai.weights.pyramid_vit import Pyramid, medclipsam_pyramid_vit_224

NAME = medclipsam_pyramid_vit_224.__name__
SETTINGS = {
    "encoder_embed_dim": 48,
    "encoder_depth": 1,
    "encoder_num_heads": 3,
    "encoder_global_attn_indexes": [0],
    "image_size": 128,
    "prompt_embed_dim": 32,
    "decoder_num_heads": 4,
}


@pytest.mark.parametrize("stride", [8, 16])
def test_a_map_of_its_stride_in_which_each_place_sees_the_whole_picture(stride):
    torch.manual_seed(0)
    picture = torch.randn(1, 3, 128, 128, requires_grad=True)
    found = Pyramid(24, stride).eval()(picture)
    assert found.shape == (1, 24, 128 // stride, 128 // stride)
    found[0, :, 0, 0].sum().backward()
    corners = picture.grad[0, :, ::127, ::127].abs().sum(0)
    assert bool((corners > 0).all())
    assert corners[0, 0] > 10 * corners[1, 1]  # what is near counts most


def test_a_clip_of_the_tower_loads_by_its_name_and_is_cut_at_its_block(clip_folder, tmp_path):
    config = json.loads((clip_folder / "open_clip_config.json").read_text())
    config["model_cfg"]["vision_cfg"] = {
        "timm_model_name": NAME,
        "timm_model_pretrained": False,
        "timm_pool": "avg",
        "timm_proj": "linear",
        "image_size": 224,
    }
    from medclipsam_monai.weights.clip_folder import build_clip, write_clip_folder

    for file in clip_folder.iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    model = build_clip(tmp_path)
    write_clip_folder(tmp_path / "clip", model.state_dict(), tmp_path)
    encoder = load_text_image_encoder(tmp_path / "clip")
    assert encoder.grid == (28, 28) and encoder.num_blocks == 1
    picture = torch.rand(2, 3, 224, 224)
    tokens = encoder.tokens(picture, 0)
    whole = torch.nn.functional.normalize(encoder.embed(tokens, 0), dim=-1)
    with torch.no_grad():
        direct = torch.nn.functional.normalize(model.eval().encode_image(encoder.preprocess(picture)), dim=-1)
    torch.testing.assert_close(whole, direct, atol=1e-5, rtol=1e-4)


def test_no_weights_are_fetched_for_it():
    with pytest.raises(ValueError, match="no weights are fetched"):
        medclipsam_pyramid_vit_224(pretrained=True)


def test_a_sam_with_a_pyramid_loads_and_computes_as_it_was_written(tmp_path):
    torch.manual_seed(0)
    sam = build_sam(SamSize.from_dict({**SETTINGS, "stem": "pyramid"}, "x"))
    (tmp_path / "config.json").write_text(json.dumps({**SETTINGS, "stem": "pyramid"}))
    save_file(sam.state_dict(), tmp_path / "sam.safetensors")
    picture = torch.rand(1, 3, 128, 128)
    with torch.no_grad():
        found = load_sam(tmp_path).image_encoder(picture)
        assert found.shape == (1, 32, 8, 8)
        torch.testing.assert_close(found, sam.image_encoder(picture))
    (tmp_path / "config.json").write_text(json.dumps(SETTINGS))
    with pytest.raises(InputError, match="another architecture"):
        load_sam(tmp_path)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"stem": "convolutions"}, "stem"),
        ({"stem": "pyramid", "vit_patch_size": 8}, "needs vit_patch_size 16"),
        ({"stem": "pyramid", "image_size": 144}, "image_size of a multiple of 32"),
    ],
)
def test_a_stem_that_is_not_there_or_does_not_fit_is_one_line(change, line):
    with pytest.raises(InputError, match=line) as caught:
        SamSize.from_dict({**SETTINGS, **change}, "config.json")
    assert "\n" not in str(caught.value)
