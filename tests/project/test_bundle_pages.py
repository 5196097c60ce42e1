"""Every command of the bundles' pages, run as it stands there; trainings are shortened."""

from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from page_commands import SHORT, run
from PIL import Image

from medclipsam_monai.base.files import file_sha256
from medclipsam_monai.phantoms.folder import draw_phantom_folder
from medclipsam_monai.weights.registry import resolve

ROOT = Path(__file__).parents[2]
FINETUNE, WEAK, ZERO_SHOT = "medclipsam_finetune", "medclipsam_weak_segmentation", "medclipsam_zeroshot_segmentation"
BLOCK = {
    language: re.compile(rf"^```{language}\n(.*?)^```$", re.DOTALL | re.MULTILINE) for language in ("bash", "console")
}
pytestmark = [pytest.mark.slow, pytest.mark.minutes]


def commands(bundle: str, language: str = "bash") -> list[tuple[str, str]]:
    """(bundle whose folder it runs in, command) of all blocks of a page."""
    found, place = [], bundle
    page = (ROOT / "bundles" / bundle / "docs" / "README.md").read_text(encoding="utf-8")
    for block in BLOCK[language].findall(page):
        for line in block.splitlines():
            if line.startswith("cd "):
                place = Path(line.removeprefix("cd ")).name
            elif line.strip() and not line.startswith("#"):
                found.append((place, line))
    return found


@pytest.fixture
def bundles(tmp_path) -> Path:
    """The bundles with what their pages name: tables, folders of images, a tuned CLIP."""
    root = shutil.copytree(
        ROOT / "bundles", tmp_path / "bundles", ignore=shutil.ignore_patterns("eval", "models", ".monai_cache")
    )
    shutil.copytree(ROOT / "bundles" / WEAK / "models", root / WEAK / "models")
    shutil.copytree(resolve("demo/clip"), root / FINETUNE / "models" / "clip")
    drawn = draw_phantom_folder(tmp_path / "drawn", task="chest_xray", target="lungs", count=5, set_number=3)
    for folder in (root / ZERO_SHOT / "FOLDER", root / WEAK / "held_out"):
        shutil.copytree(drawn, folder)
    shutil.copytree(drawn / "images", root / WEAK / "scans")
    pictures = sorted((drawn / "images").iterdir())
    shutil.copy(pictures[0], root / ZERO_SHOT / "PATH")
    with (root / FINETUNE / "pairs.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "caption", "case", "file", "report", "patient"])
        for number in range(24):
            row = [str(pictures[number % 5]), f"caption number {number} says in words what is seen", f"case {number}"]
            table.writerow(row * 2)
    return root


def masks(folder: Path) -> list[Path]:
    return sorted(folder.glob("*_mask.png"))


@pytest.mark.parametrize(("place", "command"), commands(ZERO_SHOT))
def test_a_command_of_the_zero_shot_page(bundles, place, command):
    bundle = bundles / place
    if "--image PATH" in command:  # a file's kind is told by its name
        (bundle / "PATH").rename(bundle / "PATH.png")
        command = command.replace("PATH", "PATH.png")
    command = command.replace("--input_dir FOLDER", "--input_dir FOLDER/images")
    run(command, bundle)
    if "export" in command:
        assert (bundle / "models" / "model.pt").stat().st_size > 10**6
    elif "evaluate" in command:
        assert "mean_dice" in (bundle / "eval" / "metrics.csv").read_text()
    else:
        found = masks(bundle / "eval")
        assert len(found) == (1 if "--image" in command else 5)
        assert any(np.asarray(Image.open(path)).any() for path in found)


@pytest.mark.parametrize(("place", "command"), commands(FINETUNE))
def test_a_command_of_the_fine_tuning_page(bundles, place, command):
    bundle = bundles / place
    before = set(bundle.rglob("*"))
    if place == ZERO_SHOT:
        printed = run(command, bundle)
        assert file_sha256(bundles / FINETUNE / "models" / "clip" / "open_clip_model.safetensors") in printed
        assert len(masks(bundle / "eval")) == 1
        return
    short = SHORT[FINETUNE] if "train.json" in command else ""
    if "biomedclip.json" in command:  # 0.8 GB that a test does not fetch
        short += " --initial_weights demo/clip --chunk_size 2 --num_workers 0"
    if "evaluate.json" in command or "inference.json" in command:
        short = "--num_phantoms 24 --retrieval_batch 2" + (" --mask_count 2" if "--masks" in command else "")
    run(f"{command} {short}", bundle)
    names = {path.relative_to(bundle).as_posix() for path in set(bundle.rglob("*")) - before}
    if "evaluate.json" in command or "inference.json" in command:
        header = (bundle / "eval" / "metrics.csv").read_text()
        assert "retrieval" in header and ("pointing" in header or "saliency" in header) == ("--masks" in command)
        assert ("eval/embeddings.npz" in names) == ("inference.json" in command)
    else:
        assert {"models/model.pt", "models/last.pt", "eval/history.json", "eval/training.png"} <= names


@pytest.mark.parametrize(("place", "command"), [one for one in commands(WEAK) if "evaluate.json" not in one[1]])
def test_a_command_of_the_weak_supervision_page(bundles, place, command):
    bundle = bundles / place
    if "inference.json" in command:
        run(command, bundle)
        assert masks(bundle / "eval")
        return
    shipped = file_sha256(bundle / "models" / "model.pt")
    extra = " --epochs 1 --val_interval 1" if "resunet" in command else ""
    if "multi_gpu" in command and not torch.cuda.is_available():
        printed = run(f"{command} {SHORT[WEAK]}", bundle, 2)
        assert printed.strip().splitlines()[-1] == "medclipsam: num_gpus must be 1 or more, got 0"
        command += " --num_gpus 1"
    run(f"{command} {SHORT[WEAK]}{extra}", bundle)
    if extra:
        assert (bundle / "models" / "resunet.pt").is_file()
        return
    assert file_sha256(bundle / "models" / "model.pt") != shipped
    assert (bundle / "eval" / "report.html").is_file()
    if "--dataset_dir" in command:
        (again,) = [line for _, line in commands(WEAK) if "evaluate.json" in line]
        (bundle / "eval" / "report.html").unlink()
        run(f"{again} {SHORT[WEAK]}", bundle)
        assert (bundle / "eval" / "report.html").is_file()


def test_weights_that_are_not_there_are_named_with_the_command_that_gets_them(bundles, tmp_path):
    (fetch, use) = commands(ZERO_SHOT, "console")
    assert fetch[1] == "python -m monai.bundle download_large_files"  # run by the tests of bundles
    (bundles / ZERO_SHOT / "PATH").rename(bundles / ZERO_SHOT / "PATH.png")
    printed = run(use[1].replace("PATH", "PATH.png"), bundles / ZERO_SHOT, 2, MEDCLIPSAM_HOME=str(tmp_path / "home"))
    assert "medclipsam weights download biomedclip" in printed.strip().splitlines()[-1]
