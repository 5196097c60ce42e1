"""scripts/supply.sh as a whole, in a copy of the checkout, asking a service on the loopback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from medclipsam_monai.base.files import file_sha256
from tools.supply.locks import lock_path, read_lock

ROOT = Path(__file__).parents[2]
FILES = ("LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "setup.cfg")
FOLDERS = ("docs", "medclipsam_monai", "requirements", "scripts", "tools")
ADVISORY = {
    "vulns": [
        {
            "id": "GHSA-test",
            "summary": "made for this test",
            "affected": [
                {
                    "package": {"name": "jinja2", "ecosystem": "PyPI"},
                    "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.9"}]}],
                }
            ],
        }
    ]
}
pytestmark = [pytest.mark.slow, pytest.mark.minutes]


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A copy, with the environment that runs this test as its .venv."""
    for name in FILES:
        shutil.copy(ROOT / name, tmp_path / name)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    environment = tmp_path / ".venv"
    environment.mkdir()
    for name in ("bin", "lib"):
        (environment / name).symlink_to(Path(sys.prefix) / name)
    stamp = "cat requirements/core.txt setup.cfg pyproject.toml | cksum > .venv/.installed"
    subprocess.run(["bash", "-c", stamp], cwd=tmp_path, check=True)
    return tmp_path


@pytest.fixture
def service():
    """An OSV service that knows one vulnerability: its address, and what it was asked."""
    asked: list[str] = []

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            name = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["package"]["name"]
            asked.append(name)
            body = json.dumps(ADVISORY if name == "jinja2" else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1/query", asked
    server.shutdown()


def test_the_script_leaves_a_bill_and_licences_and_says_what_is_known(checkout, service):
    address, asked = service
    words = ["bash", "scripts/supply.sh", "-s", "osv", "--osv-url", address]
    told = subprocess.run(words, cwd=checkout, env=os.environ, capture_output=True, text=True, check=False)
    assert told.returncode == 1, told.stdout[-2000:] + told.stderr[-2000:]
    assert ": GHSA-test; mended in 99.9" in told.stdout and "audit: 1 known vulnerabilities in the " in told.stdout
    assert {"torch", "monai", "ray", "napari", "mkdocs", "pip-audit"} <= set(asked)

    (wheel,) = (checkout / "dist").glob("*.whl")
    bill = json.loads(wheel.with_suffix(".cdx.json").read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    root = bill["metadata"]["component"]
    assert root["hashes"] == [{"alg": "SHA-256", "content": file_sha256(wheel)}]
    names = {one["name"] for one in bill["components"]}
    core = {pin.name for pin in read_lock(lock_path("core"))}
    assert {"torch", "monai", "nnunetv2", "acvl-utils"} <= names < core and "pytest" not in names
    assert [one["name"] for one in bill["components"] if not one.get("licenses")] == ["cuda-toolkit", "cuda-toolkit"]
    needs = {one["ref"].partition("@")[0]: one["dependsOn"] for one in bill["dependencies"] if "dependsOn" in one}
    assert any(one.startswith("pkg:pypi/acvl-utils@") for one in needs["pkg:pypi/nnunetv2"])
    assert "| torch | " in (checkout / "docs" / "project" / "licences.md").read_text()

    audit = [checkout / ".venv-supply" / "bin" / "python", "-m", "tools.supply.audit", "-s", "osv", "--osv-url"]
    gone = subprocess.run([*audit, "http://127.0.0.1:1/"], cwd=checkout, capture_output=True, text=True, check=False)
    assert gone.returncode == 2 and gone.stderr.count("\n") == 1 and "did not answer for" in gone.stderr
