"""docs/how-to/encoders.md: its settings files describe what it says."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from medclipsam_monai.presets import load_preset
from medclipsam_monai.weights.clip_config import BIOMEDCLIP_FOLDER
from medclipsam_monai.weights.clip_folder import build_clip

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "encoders.md").read_text(encoding="utf-8")
PRESET, SETTINGS = re.findall(r"^```json\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_the_preset_is_one(tmp_path):
    (tmp_path / "mine.json").write_text(PRESET)
    preset = load_preset(tmp_path / "mine.json")
    assert (preset.encoder, preset.segmenter, preset.tasks) == ("transformers", "sam", {})
    assert preset.settings.saliency["layer"] == 22


def test_the_settings_of_unimed_clip_describe_a_network_with_its_forks_names(tmp_path):
    shutil.copytree(BIOMEDCLIP_FOLDER, tmp_path, dirs_exist_ok=True)
    (tmp_path / "open_clip_config.json").write_text(SETTINGS)
    shapes = {name: tuple(value.shape) for name, value in build_clip(tmp_path, "meta").state_dict().items()}
    assert shapes["visual.conv1.weight"] == (768, 3, 16, 16)
    assert shapes["visual.transformer.resblocks.11.attn.in_proj_weight"] == (2304, 768)
    assert shapes["text.transformer.embeddings.word_embeddings.weight"] == (30_522, 768)
    assert shapes["text.proj.2.weight"] == (512, 640)
    assert json.loads(SETTINGS)["model_cfg"]["quick_gelu"] is True


def test_the_networks_of_the_page_are_tested_at_their_sizes():
    tested = (ROOT / "tests" / "networks" / "test_real_encoder_sizes.py").read_text(encoding="utf-8")
    for name in ("pubmed_clip", "medpmc_clip", "unimed_clip", "medsiglip"):
        assert f"def {name}(" in tested
