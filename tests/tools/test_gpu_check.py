"""scripts/gpu_check.sh without a GPU, and what its table says of parts that do not fit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from medclipsam_monai.networks.transformers_sam.families import EDGETAM
from tools.benchmarks.chain import random_biomedclip
from tools.benchmarks.gpu import SEGMENTERS, Row, chain_rate, collected, gpu_parts, table
from tools.benchmarks.segmenters import random_segmenter

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_dry_run_measures_no_gpu_and_runs_every_part_on_the_cpu(tmp_path):
    command = ["scripts/gpu_check.sh", "--dry-run", "--output", str(tmp_path)]
    environment = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    shown = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout
    record = json.loads((tmp_path / "gpu.json").read_text())
    assert (record["device"], record["dry_run"]) == ("cpu", True)
    rows = {row["what"]: row for row in record["rows"]}
    gpu = gpu_parts(torch.device("cpu"))
    assert all(f"BiomedCLIP + {name}" in gpu for name in SEGMENTERS)
    assert all(rows[name]["value"] is None and rows[name]["note"] == "dry run" for name in gpu)
    dry = {what.removeprefix("dry run on the CPU, "): row["value"] for what, row in rows.items() if what not in gpu}
    assert len(dry) == len(rows) - len(gpu) == 10 and None not in dry.values()
    assert dry["demo weights, lungs, float32 against the CPU: IoU of the masks"] == 1
    assert dry["demo weights, lungs, float32 against the CPU: largest difference of saliency"] == 0
    assert dry["M2IB, a small SigLIP: largest difference of the maps"] < 1e-4
    assert dry["M2IB, a small SigLIP: times faster"] > 1 and dry["demo networks: the whole chain"] > 0
    text = (tmp_path / "gpu.md").read_text()
    assert shown.endswith(text) and text.count("| not measured | dry run |") == len(gpu)


def test_a_part_that_does_not_fit_is_a_row_and_the_rest_goes_on():
    def large():
        yield Row("first", 1.0)
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee documentation")

    rows = collected({"large": large, "small": lambda: iter([Row("second", 2.0, "s")])}, time.monotonic() + 60)
    assert rows == [
        Row("first", 1.0),
        Row("large", None, note="out of memory: CUDA out of memory"),
        Row("second", 2.0, "s"),
    ]
    assert "| large | not measured | out of memory: CUDA out of memory |" in table(rows)


def test_no_part_is_begun_after_the_time():
    rows = collected({"late": lambda: iter([Row("late", 1.0)])}, time.monotonic() - 1)
    assert rows == [Row("late", None, note="the time was up")]


@pytest.mark.slow
@pytest.mark.minutes
def test_the_chain_of_the_gpus_figures_runs_at_real_size():
    cpu = torch.device("cpu")
    encoder, _ = random_biomedclip(cpu)
    assert chain_rate(encoder, random_segmenter(EDGETAM).eval(), cpu, amp=True, pictures=1) > 0
