"""What a user of ``python -m monai.bundle`` sees who gave something wrong."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import zoo_checks

from medclipsam_monai.base.errors import plain_input_errors


@pytest.mark.parametrize(
    ("name", "config", "arguments", "line"),
    [
        ("medclipsam_zeroshot_segmentation", "inference", ["--text", ""], "medclipsam: the text is empty; "),
        (
            "medclipsam_finetune",
            "train",
            ["--dataset_dir", "gone.csv"],
            "medclipsam: table of pairs not found: gone.csv",
        ),
    ],
)
def test_the_last_line_says_what_was_wrong_and_the_exit_code_is_2(tmp_path, name, config, arguments, line):
    bundle = zoo_checks.copy_bundle(name, tmp_path)
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", f"configs/{config}.json", *arguments]
    done = subprocess.run(command, cwd=bundle, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2, done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith(line)


def test_a_bundles_model_file_that_names_code_runs_none(tmp_path):
    bundle = zoo_checks.copy_bundle("medclipsam_weak_segmentation", tmp_path)
    content = torch.load(zoo_checks.BUNDLES / bundle.name / "models" / "model.pt", weights_only=True)
    kwargs = content["plans"]["configurations"]["2d"]["architecture"]["arch_kwargs"]
    kwargs["nonlin"] = "torch.nn.functional.torch.os.system"  # nnU-Net walks attributes: this is os.system
    kwargs["nonlin_kwargs"] = {"command": f"touch {tmp_path}/payload_was_here"}
    (bundle / "models").mkdir()
    torch.save(content, bundle / "models" / "model.pt")
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/inference.json"]
    done = subprocess.run(command, cwd=bundle, capture_output=True, text=True, timeout=300)
    assert not (tmp_path / "payload_was_here").exists()
    assert done.returncode == 2, done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("medclipsam: nonlin in arch_kwargs in the plans must be")


def test_another_program_keeps_its_own_handling_of_errors():
    before = sys.excepthook
    plain_input_errors()
    assert sys.excepthook is before
