"""The commands of the pages that learn from an archive, run as they stand there but for shorter trainings."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from archive_files import of_class, write_archive
from page_commands import SHORT, blocks, environment, run
from weak_files import picture

from medclipsam_monai.weak.folders import WorkFolders
from medclipsam_monai.weak.nnunet.raw_data import read_cases
from medclipsam_monai.weak.pseudo.archived import read_archive
from medclipsam_monai.weak.pseudo.quality_gate import Gate

ROOT = Path(__file__).parents[2]
FINETUNE, WEAK = "medclipsam_finetune", "medclipsam_weak_segmentation"


def commands(page: str) -> list[str]:
    """The console lines that name an archive."""
    console = blocks(ROOT / "docs" / "how-to" / page, "console")
    return [line for block in console for line in block.splitlines() if "archive_results" in line]


@pytest.fixture
def bundles(tmp_path) -> Path:
    """The bundles beside an archive of 24 pictures of as many patients, three of which have a bad mask."""
    left_out = shutil.ignore_patterns("models", "eval")
    root = shutil.copytree(ROOT / "bundles", tmp_path / "bundles", ignore=left_out)
    rows = {
        picture(tmp_path / "in" / f"p{n:02}.png", (40, 48), n): {
            "patient": f"p{n}",
            "report": f"what is seen in picture number {n}, in some words",
            "classes": [of_class("liver", presence=0.1 if n < 3 else 0.95)],
        }
        for n in range(24)
    }
    write_archive(tmp_path / "archive_results", rows, ["patient", "report"])
    return root


def test_what_archive_itself_wrote_is_learnt_from(command, pictures, tmp_path):
    words = ("-t", "lungs", "--preset", "demo", "--device", "cpu", "-o", tmp_path / "out")
    assert command("archive", pictures, *words)[0] == 2  # one of the files is no picture
    archive = read_archive(tmp_path / "out", ["lungs"], "quality > 0.5 or quality is null")
    kept = archive.kept(Gate(), WorkFolders(tmp_path / "work"))
    assert [label.stem for label in archive.labels] == ["brain_tumour", "ct_chest", "xray_normal", "xray_pacemaker"]
    assert "xray_normal" in [label.stem for label in kept]
    assert all(label.source.parent == pictures and label.mask.is_file() for label in kept)


def test_the_weak_supervision_learns_from_an_archive(bundles):
    (command,) = commands("weak.md")
    run(f"{command} {SHORT[WEAK]}", bundles / WEAK)
    assert (bundles / WEAK / "models" / "model.pt").is_file() and (bundles / WEAK / "eval" / "report.html").is_file()
    assert (bundles / WEAK / "eval" / "cases.png").is_file()
    work = bundles / WEAK / "eval" / "work"
    cases = read_cases(WorkFolders(work))
    assert [(case.stem, case.patient) for case in cases] == [(f"p{n:02}", f"p{n}") for n in range(3, 24)]
    assert not (work / "phantoms").exists() and not (work / "pseudo_labels").exists()
    printed = run(f"{command} {SHORT[WEAK]} --where 'presense > 1'", bundles / WEAK, 2)
    assert printed.strip().splitlines()[-1].startswith("medclipsam: ../../archive_results: where='presense > 1' cannot")


def test_the_fine_tuning_learns_from_an_archive_on_one_machine_and_on_two(bundles, clip_folder):
    alone, together = (
        f"{command} {SHORT[FINETUNE]} --clip_weights {clip_folder}" for command in commands("finetune.md")
    )
    assert "archive_results: 21 pairs of 21 cases" in run(alone, bundles / FINETUNE)
    assert (bundles / FINETUNE / "models" / "model.pt").is_file()
    shutil.rmtree(bundles / FINETUNE / "models")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    together = together.replace("HOST:29400", f"127.0.0.1:{port}")
    machines = [
        subprocess.Popen(
            ["bash", "-euc", together],
            cwd=bundles / FINETUNE,
            env=environment() | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    told = [machine.communicate(timeout=600)[0] for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], "\n".join(lines[-2000:] for lines in told)
    assert all("archive_results: 21 pairs of 21 cases" in lines for lines in told)
    assert (bundles / FINETUNE / "models" / "model.pt").is_file()
