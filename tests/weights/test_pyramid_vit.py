"""The vision tower that begins with a pyramid of convolutions: what its tokens see, and the form in which it loads."""

from __future__ import annotations

import json

import pytest
import torch

from medclipsam_monai.networks.clip.load import load_text_image_encoder
from medclipsam_monai.weights.pyramid_vit import PyramidEmbed, medclipsam_pyramid_vit_224

NAME = medclipsam_pyramid_vit_224.__name__


def test_each_token_sees_the_whole_picture_and_its_own_place_most():
    torch.manual_seed(0)
    picture = torch.randn(1, 3, 128, 128, requires_grad=True)
    found = PyramidEmbed(128, 24).eval()(picture)
    assert found.shape == (1, 16 * 16, 24)
    found[0, 0].sum().backward()
    corners = picture.grad[0, :, ::127, ::127].abs().sum(0)
    assert bool((corners > 0).all())
    assert corners[0, 0] > 10 * corners[1, 1]


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
