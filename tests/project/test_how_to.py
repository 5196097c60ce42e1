"""Every command of the README, the tutorial and the how-to pages, run as it stands there.

One that is on several pages runs once. Those of the label app run in their own environment, by test_label_docs.py.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from page_commands import SHORT, blocks, environment, run
from PIL import Image

from medclipsam_monai.phantoms.samples import sample_folder, sample_pictures

ROOT = Path(__file__).parents[2]
HOW_TO = ROOT / "docs" / "how-to"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "tutorial").glob("*.md")), *sorted(HOW_TO.glob("*.md"))]
pytestmark = pytest.mark.slow


def of_a_block(line: str) -> bool:
    """Whether it is a bundle's or the tuning's whole block, whose commands each start anew."""
    return line.startswith(("cd ", "medclipsam tune"))


def user_commands() -> list[str]:
    """The commands of the bash blocks; a block is one where its second line needs what the first did."""
    commands: dict[str, None] = {}
    for block in (block for page in PAGES for block in blocks(page, "bash")):
        if "scripts/" in block:
            continue  # test_demo.py runs the demo; the other one is what runs this
        lines = [block] if of_a_block(block) else [line.split("  #")[0].strip() for line in block.splitlines()]
        commands |= dict.fromkeys(line for line in lines if line)
    return list(commands)


@pytest.fixture
def workplace(tmp_path):
    """A folder with the files that the pages name."""
    pictures = sample_pictures()
    shutil.copy(pictures["xray_normal"], tmp_path / "chest.png")
    shutil.copy(pictures["brain_tumour"], tmp_path / "brain.png")
    (tmp_path / "scans").mkdir()
    for path in sorted((sample_folder() / "images").iterdir())[:2]:
        shutil.copy(path, tmp_path / "scans")
    for part in ("images", "labels"):
        shutil.copytree(sample_folder() / part, tmp_path / "examples" / part)
    (tmp_path / "classes.json").write_text(blocks(HOW_TO / "classes.md", "json")[0])
    slices = np.asarray(Image.open(pictures["ct_abdomen"]), np.float32)[::8, ::8].T * 2 - 200
    nib.save(nib.Nifti1Image(np.stack([slices] * 8, -1), np.diag([-3.0, -3, 5, 1])), tmp_path / "ct.nii.gz")
    make_series(tmp_path / "dicom_series", np.asarray(Image.open(pictures["brain_tumour"]))[::4, ::4])
    shutil.copytree(ROOT / "bundles", tmp_path / "bundles", ignore=shutil.ignore_patterns("models", "eval"))
    shipped = Path("bundles", "medclipsam_weak_segmentation", "models")
    shutil.copytree(ROOT / shipped, tmp_path / shipped)
    return tmp_path


def training_commands(page: str, bundle: str) -> list[str]:
    """The console lines at the head of the page of a bundle, its trainings shortened."""
    block, *_ = blocks(HOW_TO / page, "console")
    lines = [line.split("  #")[0].strip() for line in block.splitlines()]
    return [f"{line} {SHORT[bundle]}" if "train.json" in line else line for line in lines]


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


def is_plain(line: str) -> bool:
    """Whether a line asks nothing of the shell but to run ``medclipsam`` with words."""
    return (
        line.startswith("medclipsam ") and "\n" not in line.strip() and not set(line.split("#")[0]) & set("$|&;<>`\\")
    )


@pytest.mark.parametrize(
    "line", [pytest.param(line, marks=pytest.mark.minutes) if of_a_block(line) else line for line in user_commands()]
)
def test_a_command_of_a_page_runs(workplace, line, command, monkeypatch):
    """Plain ones in this process, which has imported what a new one takes seconds for; the others by a shell."""
    if is_plain(line):
        monkeypatch.chdir(workplace)
        code, _, err = command(*shlex.split(line, comments=True)[1:])
        assert code == 0, err
    else:
        run(line, workplace)
    if "--output" in line:
        assert list(workplace.rglob("out/**/*_mask.*"))


@pytest.mark.minutes
def test_the_fine_tuning_runs_and_its_result_segments(workplace):
    pictures = sorted((sample_folder() / "images").iterdir())
    rows = [
        f"{path},the {number}th caption says in some words what {path.stem} shows,{path.stem} {number}"
        for number, path in enumerate(pictures * 3)
    ]
    table = workplace / "bundles" / "medclipsam_finetune" / "pairs.csv"
    table.write_text("\n".join(["image,caption,case", *rows]) + "\n")
    run("\n".join(training_commands("finetune.md", "medclipsam_finetune")), workplace)
    assert list(workplace.glob("out/finetuned/*_mask.*"))


@pytest.mark.minutes
def test_the_weak_supervision_runs_on_a_folder_of_scans(workplace):
    lines = training_commands("weak.md", "medclipsam_weak_segmentation")
    (command,) = [line for line in lines if "scans" in line]
    bundle = workplace / "bundles" / "medclipsam_weak_segmentation"
    shutil.copytree(sample_folder() / "images", bundle / "scans")
    (bundle / "models" / "model.pt").unlink()
    run(command, bundle)
    assert (bundle / "models" / "model.pt").is_file() and (bundle / "eval" / "report.html").is_file()
    assert not (bundle / "eval" / "work" / "phantoms").exists()


def test_the_python_of_its_page_and_of_the_tutorial_runs(workplace):
    """The blocks one after the other, as they stand: the later ones use names of the earlier."""
    (workplace / "chest.png").unlink()  # the tutorial says where to get it
    pages = (ROOT / "docs" / "tutorial" / "phantoms.md", HOW_TO / "python.md")
    code = "\n".join(block for page in pages for block in blocks(page, "python"))
    assert "segmenter.open(" in code and "network.merge(" in code
    subprocess.run([sys.executable, "-c", code], cwd=workplace, env=environment(), check=True)
    for folder in ("lesson", "python"):
        written = {path.name for path in (workplace / "out" / folder).iterdir()}
        assert written == {"chest_mask.png", "chest_overlay.png", "chest.json"}


def test_real_weights_that_are_not_there_are_named_with_the_command_that_gets_them(workplace):
    lines = [line for block in blocks(HOW_TO / "weights.md", "console") for line in block.splitlines()]
    (command,) = [line for line in lines if "--preset biomedclip" in line]
    home = environment() | {"MEDCLIPSAM_HOME": str(workplace / "home")}
    result = subprocess.run(
        ["bash", "-c", command], cwd=workplace, env=home, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert "medclipsam weights download biomedclip" in result.stderr and len(result.stderr.strip().splitlines()) == 1


def test_the_first_command_runs_in_a_shell(workplace):
    first = next(line for line in user_commands() if is_plain(line) and "--output" in line)
    run(first, workplace)
    assert list(workplace.rglob("out/**/*_mask.*"))
