"""`medclipsam web` as a process of its own: what it prints, how it ends, and what it leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request

import pytest


@pytest.mark.parametrize(("end", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_it_says_its_address_alone_and_leaves_nothing_when_it_ends(tmp_path, end, code):
    words = [sys.executable, "-m", "medclipsam_monai", "web", "--port", "0", "--device", "cpu"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            line = server.stdout.readline()
            assert line.startswith("http://127.0.0.1:") and line.endswith("  (Ctrl-C ends it)\n")
            with urllib.request.urlopen(line.split()[0]) as answer:
                assert answer.status == 200
            assert list(tmp_path.glob(".medclipsam-*-web"))
            server.send_signal(end)
            out, err = server.communicate(timeout=60)
        finally:
            server.kill()
    assert (server.returncode, out) == (code, "") and list(tmp_path.glob(".medclipsam-*")) == []
    assert "Traceback" not in err and len(err.strip().splitlines()) <= 1


def test_a_port_that_is_taken_is_said_in_a_line(served):
    port = served.url.rpartition(":")[2]
    words = [sys.executable, "-m", "medclipsam_monai", "web", "--port", port]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    assert result.returncode == 2 and "give another --port or --host" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
