"""What starts Ray or writes Parquet runs in an environment of its own, see scripts/test_archive.sh."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from medclipsam_monai.phantoms.samples import sample_pictures

collect_ignore_glob = (
    [] if find_spec("ray") else ["test_parts*.py", "test_ray*.py", "test_stores*.py", "test_table*.py"]
)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """A folder of four pictures and a file that is none."""
    folder = tmp_path_factory.mktemp("archive") / "in"
    folder.mkdir()
    samples = sample_pictures()
    for name in ("xray_normal", "xray_pacemaker", "ct_chest", "brain_tumour"):
        shutil.copy(samples[name], folder / f"{name}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder
