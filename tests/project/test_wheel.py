"""The package as an sdist, whose tests pass, and as the wheel made of it, on which the bundle runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
import zoo_checks

ROOT = Path(__file__).parents[2]
FOLDERS = (".github", "bundles", "deploy_app", "docs", "medclipsam_monai", "requirements", "scripts", "tests", "tools")
FILES = (
    *("CHANGELOG.md", "CITATION.cff", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "SECURITY.md"),
    *(".pre-commit-config.yaml", "mkdocs.yml"),
    *("LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "setup.cfg"),
)
LEFT_BY_RUNS = shutil.ignore_patterns("__pycache__", "eval", "*.egg-info", "*.part")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sdist(tmp_path_factory) -> Path:
    """Built from a copy of the checkout, as building leaves files behind, with what a run leaves in it."""
    source = tmp_path_factory.mktemp("source")
    for name in FILES:
        shutil.copy(ROOT / name, source / name)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, source / name, ignore=LEFT_BY_RUNS)
    for name in ("medclipsam_finetune/eval/history.json", "medclipsam_finetune/models/model.pt"):
        left = source / "bundles" / name
        left.parent.mkdir(exist_ok=True)
        left.touch()
    target = tmp_path_factory.mktemp("sdist")
    build = "import sys; from setuptools import build_meta; print(build_meta.build_sdist(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", build, str(target)], cwd=source, check=True, capture_output=True)
    (built,) = target.glob("*.tar.gz")
    return built


@pytest.fixture(scope="module")
def unpacked(sdist, tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(target, filter="data")
    (folder,) = target.iterdir()
    return folder


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory) -> Path:
    """Built from the sdist, as pip does where there is no wheel."""
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(target)]
    subprocess.run([*command, str(sdist)], check=True, capture_output=True)
    (built,) = target.glob("*.whl")
    return built


def _files(folder: Path) -> dict[str, bytes]:
    found = (path for name in FOLDERS for path in (folder / name).rglob("*") if path.is_file())
    kept = (path for path in found if not {"__pycache__", "eval"} & set(path.relative_to(folder).parts))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in kept}


def test_the_sdist_holds_every_file_of_the_checkout_and_nothing_that_a_run_left(unpacked):
    here, packed = _files(ROOT), _files(unpacked)
    made_by_runs = ("bundles/medclipsam_finetune/models/", "bundles/medclipsam_zeroshot_segmentation/models/")
    assert packed == {name: content for name, content in here.items() if not name.startswith(made_by_runs)}
    assert [name for name in FILES if not (unpacked / name).is_file()] == []
    assert not (unpacked / "bundles" / "medclipsam_finetune" / "eval").exists()
    assert os.access(unpacked / "scripts" / "test.sh", os.X_OK)


@pytest.mark.minutes
def test_the_sdist_passes_tests_of_its_own(unpacked):
    chosen = ["tests/project/test_rooms.py", "tests/base", "tests/losses"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen]
    environment = os.environ | {"PYTHONPATH": str(unpacked)}
    result = subprocess.run(command, cwd=unpacked, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-3000:]


def test_the_package_index_is_told_who_made_it_and_where_to_read_on(wheel):
    archive = zipfile.ZipFile(wheel)
    (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    told = message_from_bytes(archive.read(name))
    assert told["Author"] == "The MedCLIP-SAM for MONAI developers"
    assert told["License-Expression"] == "Apache-2.0 AND CC-BY-SA-4.0"
    assert told.get_all("License-File") == ["LICENSE", "medclipsam_monai/resources/small/NOTICE"]
    assert {"BiomedCLIP", "MONAI", "DICOM"} <= {word.strip() for word in told["Keywords"].split(",")}
    assert "MedCLIP-SAMv2, https://arxiv.org/abs/2409.19483" in told.get_all("Project-URL")


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
