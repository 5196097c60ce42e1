"""A process that works for another ends with it, and with it those that it has started itself."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil

WORKER = (
    "import subprocess, sys, time; from medclipsam_monai.base.interrupts import end_with_parent; end_with_parent();"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(120)'], stdin=subprocess.DEVNULL);"
    "open(sys.argv[1], 'w').close(); time.sleep(120)"
)
PARENT = (
    "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', sys.argv[2], sys.argv[1]],"
    "stdin=subprocess.PIPE, start_new_session=True); time.sleep(120)"
)


def test_it_ends_with_the_killed_process_that_waits_for_it_and_so_do_its_own_workers(tmp_path: Path) -> None:
    started = tmp_path / "started"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(started), WORKER])
    end = time.monotonic() + 60
    while not started.exists():
        assert time.monotonic() < end and parent.poll() is None
        time.sleep(0.02)
    workers = psutil.Process(parent.pid).children(recursive=True)
    assert len(workers) == 2 and all(one.is_running() for one in workers)
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs(workers, timeout=30)
    for one in alive:
        one.kill()
    assert alive == []
