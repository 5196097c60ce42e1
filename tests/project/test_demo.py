"""What scripts/demo.sh runs once its environment is there."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image


@pytest.mark.slow
def test_the_demo_leaves_pictures_two_texts_differ_and_an_absent_target_is_empty(tmp_path):
    command = [sys.executable, "-m", "medclipsam_monai", "demo", str(tmp_path)]
    result = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"HF_HUB_OFFLINE": "1"}, check=True
    )
    assert len(list(tmp_path.glob("*_overlay.png"))) >= 9 and (tmp_path / "demo.png").is_file()
    assert result.stderr == ""
    masks = {path.stem: np.array(Image.open(path)) > 0 for path in tmp_path.glob("*_mask.png")}
    lungs, heart = masks["xray_normal-lungs_mask"], masks["xray_normal-heart_mask"]
    assert lungs.any() and heart.any()
    assert (lungs & heart).sum() < 0.2 * min(lungs.sum(), heart.sum())
    assert not masks["brain_normal-brain_tumor_mask"].any()
    record = json.loads((tmp_path / "brain_normal-brain_tumor.json").read_text())
    assert record["classes"][0]["presence"] < 0.5
