"""What scripts/demo.sh runs once its environment is there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medclipsam_monai.phantoms.samples import sample_pictures
from medclipsam_monai.presets import DEFAULT_PRESET, load_preset


def segments_with_the_default(command: str, folder: Path) -> None:
    """The command that the demo shows, run as it stands on a picture."""
    assert command.endswith("medclipsam segment YOUR_PICTURE.png --text lungs --output out")
    place = folder / "user"
    place.mkdir()
    shutil.copy(sample_pictures()["xray_normal"], place / "YOUR_PICTURE.png")
    path = command.partition(" ")[0]
    program = Path(path).resolve() if "/" in path else Path(sys.executable).with_name(path)
    subprocess.run([program, *command.split()[1:]], cwd=place, env=os.environ | {"HF_HUB_OFFLINE": "1"}, check=True)
    assert json.loads((place / "out" / "YOUR_PICTURE.json").read_text())["preset"] == DEFAULT_PRESET


def finds_organs_where_they_are(folder: Path, told: str) -> None:
    """The mask of the volume beside the labels that were drawn, in nibabel's eyes, and the line that tells of it."""
    truth = np.asarray(nib.load(folder / "volume" / "labels.nii.gz").dataobj)
    found = np.asarray(nib.load(folder / "volume_mask.nii.gz").dataobj)
    drawn = json.loads((folder / "volume" / "labels.json").read_text())["labels"]
    classes = json.loads((folder / "volume.json").read_text())["classes"]
    assert told.split(None, 1) == ["volume", ", ".join(f"{c['name']}: {c['slices']['words']}" for c in classes)]
    for label, name in enumerate(("lungs", "liver"), start=1):
        one, other = found == label, truth == drawn[name]
        assert 2 * (one & other).sum() / (one.sum() + other.sum()) > 0.75, name
        assert one.any(axis=(0, 1)).sum() == classes[label - 1]["slices"]["count"]
        assert (one.any(axis=(0, 1)) & ~other.any(axis=(0, 1))).sum() <= 3, name


@pytest.mark.slow
def test_the_demo_leaves_pictures_two_texts_differ_and_an_absent_target_is_empty(tmp_path):
    command = [sys.executable, "-m", "medclipsam_monai", "demo", str(tmp_path)]
    result = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"HF_HUB_OFFLINE": "1"}, check=True
    )
    assert len(list(tmp_path.glob("*_overlay.png"))) >= 9 and (tmp_path / "demo.png").is_file()
    assert result.stderr == ""
    *_, volume, _, weights, others, yours = result.stdout.splitlines()
    assert weights == f"weights of the pictures: preset demo. {load_preset('demo').description}"
    assert others == f"weights of the volume: preset {DEFAULT_PRESET}. {load_preset(DEFAULT_PRESET).description}"
    finds_organs_where_they_are(tmp_path, volume)
    kinds = ", ".join(load_preset(DEFAULT_PRESET).knows)
    assert f" by preset {DEFAULT_PRESET}, which knows targets in {kinds}: " in yours
    segments_with_the_default(yours.rpartition(": ")[2], tmp_path)
    masks = {path.stem: np.array(Image.open(path)) > 0 for path in tmp_path.glob("*_mask.png")}
    lungs, heart = masks["xray_normal-lungs_mask"], masks["xray_normal-heart_mask"]
    assert lungs.any() and heart.any()
    assert (lungs & heart).sum() < 0.2 * min(lungs.sum(), heart.sum())
    assert not masks["brain_normal-brain_tumor_mask"].any()
    record = json.loads((tmp_path / "brain_normal-brain_tumor.json").read_text())
    assert record["classes"][0]["presence"] < 0.5
