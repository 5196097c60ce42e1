"""scripts/folders_from_csv.py holds images out by name and keeps the masks of the others away from training."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "folders_from_csv.py"


def test_each_image_is_either_held_out_with_its_mask_or_trained_on_without(tmp_path):
    rows = ["task,image,mask"]
    for number in range(12):
        for kind in ("images", "masks"):
            (tmp_path / kind).mkdir(exist_ok=True)
            (tmp_path / kind / f"case_{number}.png").write_bytes(f"{kind} {number}".encode())
        rows.append(f"lungs,images/case_{number}.png,masks/case_{number}.png")
    (tmp_path / "table.csv").write_text("\n".join([*rows, "brain,images/case_0.png,masks/case_0.png"]) + "\n")
    command = [sys.executable, str(SCRIPT), str(tmp_path / "table.csv")]
    subprocess.run([*command, "lungs", str(tmp_path / "out")], check=True, timeout=120)
    names = {part: {p.name for p in (tmp_path / "out" / part).iterdir()} for part in ("train/images", "test/images")}
    assert names["train/images"] and names["test/images"]
    assert names["train/images"] | names["test/images"] == {f"case_{number}.png" for number in range(12)}
    assert not names["train/images"] & names["test/images"]
    assert {p.name for p in (tmp_path / "out" / "test" / "labels").iterdir()} == names["test/images"]
    assert not (tmp_path / "out" / "train" / "labels").exists()
    wrong = subprocess.run([*command, "heart", str(tmp_path / "none")], capture_output=True, text=True, timeout=120)
    assert wrong.returncode == 2 and "no row of the task 'heart'" in wrong.stderr.replace("\n", " ")
