"""Every command of the README, run as it stands there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medclipsam_monai.data.samples import sample_folder, sample_pictures

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
pytestmark = pytest.mark.slow


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def user_commands() -> list[str]:
    """The commands of the bash blocks; a block that changes folder is one command."""
    commands = []
    for block in blocks("bash"):
        if "scripts/" in block:
            continue  # test_demo.py runs the demo; the other one is what runs this
        commands += [block] if block.startswith("cd ") else [line for line in block.splitlines() if line.strip()]
    return commands


@pytest.fixture
def workplace(tmp_path):
    """A folder with the files that the README names."""
    pictures = sample_pictures()
    shutil.copy(pictures["xray_normal"], tmp_path / "chest.png")
    shutil.copy(pictures["brain_tumour"], tmp_path / "brain.png")
    (tmp_path / "scans").mkdir()
    for path in sorted((sample_folder() / "images").iterdir())[:2]:
        shutil.copy(path, tmp_path / "scans")
    (tmp_path / "classes.json").write_text(blocks("json")[0])
    slices = np.asarray(Image.open(pictures["ct_abdomen"]), np.float32)[::8, ::8].T * 2 - 200
    nib.save(nib.Nifti1Image(np.stack([slices] * 8, -1), np.diag([-3.0, -3, 5, 1])), tmp_path / "ct.nii.gz")
    make_series(tmp_path / "dicom_series", np.asarray(Image.open(pictures["brain_tumour"]))[::4, ::4])
    shutil.copytree(ROOT / "bundles", tmp_path / "bundles", ignore=shutil.ignore_patterns("models", "eval"))
    shipped = Path("bundles", "medclipsam_weak_segmentation", "models")
    shutil.copytree(ROOT / shipped, tmp_path / shipped)
    return tmp_path


def make_series(folder: Path, pixels: np.ndarray) -> None:
    """A three-slice MR series."""
    from pydicom import dcmread
    from pydicom.data import get_testdata_file
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    folder.mkdir()
    for n in range(3):
        dataset = dcmread(get_testdata_file("MR_small.dcm"))
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.Rows, dataset.Columns = pixels.shape
        dataset.PixelData = pixels.astype(np.int16).tobytes()
        dataset.ImagePositionPatient, dataset.InstanceNumber = [0, 0, 5 * n], n + 1
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.save_as(folder / f"{n}.dcm")


def environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "HF_HUB_OFFLINE": "1", "NO_COLOR": "1"}


@pytest.mark.parametrize("command", user_commands())
def test_a_command_of_the_readme_runs(workplace, command):
    result = subprocess.run(
        ["bash", "-euc", command], cwd=workplace, env=environment(), capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    if "--output" in command:
        assert list(workplace.rglob("out/*_mask.*"))


def test_the_python_of_the_readme_runs(workplace):
    (code,) = blocks("python")
    subprocess.run([sys.executable, "-c", code], cwd=workplace, env=environment(), check=True)
    assert {path.name for path in (workplace / "out").iterdir()} == {
        "chest_mask.png",
        "chest_overlay.png",
        "chest.json",
    }


def test_real_weights_that_are_not_there_are_named_with_the_command_that_gets_them(workplace):
    lines = [line for block in blocks("console") for line in block.splitlines()]
    (command,) = [line for line in lines if "--preset biomedclip" in line]
    home = environment() | {"MEDCLIPSAM_HOME": str(workplace / "home")}
    result = subprocess.run(
        ["bash", "-c", command], cwd=workplace, env=home, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert "medclipsam weights download biomedclip" in result.stderr and len(result.stderr.strip().splitlines()) == 1


def test_every_link_of_the_readme_leads_somewhere():
    targets = [t for t in re.findall(r"\]\(([^)#]+)", README) if "://" not in t]
    assert targets and [t for t in targets if not (ROOT / t).exists()] == []
