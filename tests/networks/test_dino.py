"""DINOv2 from a local folder: transformers' own tokens, and the folders that are refused."""

from __future__ import annotations

import json

import pytest
import torch
from network_doubles import BrightnessEncoder

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.examples import Examples
from medclipsam_monai.networks.dino import load_dino
from medclipsam_monai.presets.parameters import ExampleParameters
from medclipsam_monai.saliency.gradcam import GradCAM
from medclipsam_monai.saliency.prototypes import ByExamples

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 8, "image_size": 36}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from transformers import Dinov2Config, Dinov2Model

    path = tmp_path_factory.mktemp("dino")
    torch.manual_seed(0)
    Dinov2Model(Dinov2Config(**SIZES)).save_pretrained(path)
    return path


def test_its_tokens_are_those_of_transformers_on_whole_patches(folder):
    from transformers import Dinov2Model

    dino, network = load_dino(folder), Dinov2Model.from_pretrained(folder).eval()
    assert dino.grid == (4, 4) and dino.image_size == 32 and dino.last_block == 1
    picture = torch.rand(1, 3, 32, 32)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        expected = network((picture - mean) / std, output_hidden_states=True)
    torch.testing.assert_close(dino.prepare(picture), (picture - mean) / std)
    torch.testing.assert_close(dino.tokens_of_input(dino.prepare(picture), 1), expected.last_hidden_state)
    torch.testing.assert_close(dino.tokens_of_input(dino.prepare(picture), 0), expected.hidden_states[1])


def test_examples_are_compared_by_its_tokens(folder):
    picture, mask = torch.full((3, 64, 64), 0.1), torch.zeros(64, 64, dtype=torch.bool)
    mask[16:48, 16:48] = True
    picture[:, mask] = 0.9
    examples = Examples((picture,), (mask,))
    method = ByExamples(BrightnessEncoder(), examples, ExampleParameters(), GradCAM(), load_dino(folder))
    found = method(BrightnessEncoder(), picture[None], torch.zeros(1, 1))[0, 0] > 0.5
    assert found.shape == (64, 64)
    assert 2 * (found & mask).sum() / (found.sum() + mask.sum()) > 0.8


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model_type": "vit"}, "model_type in .* must be dinov2, got 'vit'"),
        ({"auto_map": {"AutoModel": "evil.py"}}, "names code to run or fetch"),
        ({"hidden_size": -1}, "hidden_size"),
        ({"num_attention_heads": 3}, "describes no DINOv2|another architecture"),
        ({"num_hidden_layers": 3}, "lacks|missing"),
    ],
)
def test_folders_that_are_refused(folder, tmp_path, change, reason):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    settings = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**settings, **change}))
    with pytest.raises(InputError, match=reason) as error:
        load_dino(tmp_path)
    assert "\n" not in str(error.value)


def test_a_folder_without_settings_is_refused(tmp_path):
    with pytest.raises(InputError, match="is no folder of a DINOv2"):
        load_dino(tmp_path)
