"""The package as a wheel: what an installed copy holds, and the bundle on top of it, away from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import zoo_checks

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy of the checkout, as building leaves files behind."""
    import shutil

    source = tmp_path_factory.mktemp("source")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    shutil.copytree(
        ROOT / "medclipsam_monai", source / "medclipsam_monai", ignore=shutil.ignore_patterns("__pycache__")
    )
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(target)]
    subprocess.run([*command, str(source)], check=True, capture_output=True)
    (built,) = target.glob("*.whl")
    return built


def test_presets_weights_samples_and_type_marks_are_in_it(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    here = {
        path.relative_to(ROOT).as_posix()
        for folder in ("presets", "resources")
        for path in (ROOT / "medclipsam_monai" / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert here | {"medclipsam_monai/py.typed"} <= names
    assert not [name for name in names if name.startswith(("tests/", "scripts/", "tools/"))]


def test_the_bundle_runs_on_the_installed_wheel(wheel, tmp_path, tiny_preset):
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    bundle = zoo_checks.copy_bundle("medclipsam_zeroshot_segmentation", tmp_path)
    environment = os.environ | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    where = [sys.executable, "-c", "import medclipsam_monai; print(medclipsam_monai.__file__)"]
    found = subprocess.run(where, cwd=bundle, env=environment, capture_output=True, text=True, check=True).stdout
    assert found.startswith(str(site))
    words = ["-m", "monai.bundle", "run", "--config_file", "configs/inference.json", "--text", "heart"]
    options = ["--preset", str(tiny_preset), "--bundle_root", str(bundle)]
    result = subprocess.run(
        [sys.executable, *words, *options], cwd=bundle, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    assert (bundle / "eval" / "xray_00_mask.png").is_file()
