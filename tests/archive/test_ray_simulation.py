"""An archive whose networks find nothing: the benchmark of all but them goes through every stage."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_simulation_has_every_image_done_and_every_kind_of_process_seen():
    command = [sys.executable, "-m", "tools.benchmarks.archive.simulate", "--counts", "20"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout.splitlines()[-1])
    assert told["images"] == 20
    assert told["output_files_an_image"] == 2 + told["table_files"] / 20, "a mask and a record each, and the table"
    assert {"driver", "networks", "readers and writers", "Ray itself"} == set(told["processor_seconds"])
    assert all(seconds > 0 for seconds in told["processor_seconds"].values())
