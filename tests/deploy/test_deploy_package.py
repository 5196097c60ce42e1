"""The container's build context by the real packager, and the application run from it as the container's entry does.

No container is built: a stand-in for docker keeps the context that it is given.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pydicom
import pytest
import yaml

from medclipsam_monai.phantoms.dicom import write_phantom_xray
from medclipsam_monai.version import __version__

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow

DOCKER = r"""#!/bin/sh
case "$1 $2" in
    "buildx ls") echo '{"Name": "holoscan_app_builder", "Driver": "docker-container", "Nodes": []}' ;;
    "buildx inspect") printf 'Name: holoscan_app_builder\nDriver: docker-container\n' ;;
    "buildx build") for last; do :; done; cp -r "$last" "$CONTEXT" ;;
    "image inspect") echo '[{"Id": "sha256:0"}]' ;;
    *) echo "what is $*?" >&2; exit 1 ;;
esac
"""


@pytest.fixture(scope="module")
def context(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("package")
    docker = folder / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    command = [ROOT / "scripts" / "package.sh", "medclipsam:test", "bundles/medclipsam_zeroshot_segmentation"]
    changed = {"PATH": f"{docker.parent}:{os.environ['PATH']}", "CONTEXT": str(folder / "context"), "HOME": str(folder)}
    result = subprocess.run(command, cwd=ROOT, env=os.environ | changed, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert "Succeeded" in result.stdout
    return folder / "context"


def test_the_context_holds_application_requirements_and_bundle(context):
    assert (context / "pip" / "requirements.txt").read_text() == (ROOT / "requirements" / "deploy.txt").read_text()
    inside = {path.relative_to(context / "app") for path in context.glob("app/medclipsam_monai/**/*") if path.is_file()}
    package = ROOT / "medclipsam_monai"
    here = {path.relative_to(ROOT) for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert here == inside
    assert not [path for path in inside if path.suffix == ".pyc"]
    assert (context / "models" / "medclipsam_zeroshot_segmentation" / "configs" / "inference.json").is_file()
    config = yaml.safe_load((context / "app.config").read_text())
    assert config["application"]["version"] == __version__


def test_the_application_runs_from_the_context_as_the_entry_runs_it(context, tmp_path):
    """With an environment of the container's variables only; the package is the one in the context."""
    write_phantom_xray(tmp_path / "input")
    shutil.copy(context / "app.config", tmp_path / "app.yaml")
    version = context / "app" / "medclipsam_monai" / "version.py"
    version.write_text(version.read_text().replace(__version__, f"{__version__}+packaged"))
    program, application = json.loads(json.loads((context / "map" / "app.json").read_text())["command"])
    assert (program, application) == ("python3", "/opt/holoscan/app")
    variables = dict(re.findall(r"^ENV (HOLOSCAN_\w+)=(\S+)$", (context / "Dockerfile").read_text(), re.MULTILINE))
    assert variables["HOLOSCAN_CONFIG_PATH"] == "/var/holoscan/app.yaml"
    assert {"HOLOSCAN_INPUT_PATH", "HOLOSCAN_OUTPUT_PATH", "HOLOSCAN_MODEL_PATH"} <= variables.keys()
    inside = {"/opt/holoscan": str(context), "/var/holoscan": str(tmp_path)}
    for place, here in inside.items():
        variables = {name: value.replace(place, here) for name, value in variables.items()}
        application = application.replace(place, here)
    environment = {**variables, "PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "MEDCLIPSAM_TEXT": "lungs; heart"}
    environment["MEDCLIPSAM_DEVICE"] = "cpu"
    result = subprocess.run(
        [sys.executable, application], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    (path,) = (tmp_path / "output").glob("*/report.json")
    report = json.loads(path.read_text())
    assert report["version"] == f"{__version__}+packaged"
    assert {entry["name"]: entry["pixels"] > 100 for entry in report["classes"]} == {"lungs": True, "heart": True}
    seg = pydicom.dcmread(path.with_name("segmentation.dcm"))
    assert [segment.SegmentLabel for segment in seg.SegmentSequence] == ["lungs", "heart"]
