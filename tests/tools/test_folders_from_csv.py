"""tools.data.folders_from_csv holds images out by name and keeps the masks of the others away from training."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_each_image_is_either_held_out_with_its_mask_or_trained_on_without(tmp_path):
    rows = ["task,image,mask"]
    for number in range(12):
        for kind in ("images", "masks"):
            (tmp_path / kind).mkdir(exist_ok=True)
            (tmp_path / kind / f"case_{number}.png").write_bytes(f"{kind} {number}".encode())
        rows.append(f"lungs,images/case_{number}.png,masks/case_{number}.png")
    (tmp_path / "table.csv").write_text("\n".join([*rows, "brain,images/case_0.png,masks/case_0.png"]) + "\n")
    command = [sys.executable, "-m", "tools.data.folders_from_csv", str(tmp_path / "table.csv")]
    subprocess.run([*command, "lungs", str(tmp_path / "out")], check=True, timeout=120)
    names = {part: {p.name for p in (tmp_path / "out" / part).iterdir()} for part in ("train/images", "test/images")}
    assert names["train/images"] and names["test/images"]
    assert names["train/images"] | names["test/images"] == {f"case_{number}.png" for number in range(12)}
    assert not names["train/images"] & names["test/images"]
    assert {p.name for p in (tmp_path / "out" / "test" / "labels").iterdir()} == names["test/images"]
    assert not (tmp_path / "out" / "train" / "labels").exists()
    wrong = subprocess.run([*command, "heart", str(tmp_path / "none")], capture_output=True, text=True, timeout=120)
    assert wrong.returncode == 2 and "no row of the task 'heart'" in wrong.stderr.replace("\n", " ")


def test_images_of_one_base_name_keep_their_own_masks(tmp_path):
    rows = ["task,image,mask"]
    for patient in range(12):
        (tmp_path / f"p{patient}").mkdir()
        for name in ("image.1.png", "mask.1.nii.gz"):
            (tmp_path / f"p{patient}" / name).write_bytes(f"{name} {patient}".encode())
        rows.append(f"lungs,p{patient}/image.1.png,p{patient}/mask.1.nii.gz")
    (tmp_path / "table.csv").write_text("\n".join(rows) + "\n")
    command = [
        sys.executable,
        "-m",
        "tools.data.folders_from_csv",
        str(tmp_path / "table.csv"),
        "lungs",
        str(tmp_path / "out"),
    ]
    subprocess.run(command, check=True, timeout=120)
    images = [*(tmp_path / "out" / "train" / "images").iterdir(), *(tmp_path / "out" / "test" / "images").iterdir()]
    assert {path.name: path.read_text() for path in images} == {
        f"p{patient}_image.1.png": f"image.1.png {patient}" for patient in range(12)
    }
    labels = sorted((tmp_path / "out" / "test" / "labels").iterdir())
    assert labels and all(path.name.endswith("_image.1.nii.gz") for path in labels)
    for path in labels:
        assert path.read_text() == f"mask.1.nii.gz {path.name.split('_')[0][1:]}"
