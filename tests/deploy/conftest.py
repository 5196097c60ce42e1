"""The deploy application's tests: they run in its own environment (scripts/test_deploy.sh), elsewhere none is there.

Its foreign readers are there alone too; what of the writers needs none of them is tested in tests/io/dicom_seg.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest

if importlib.util.find_spec("holoscan") is None:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture
def change() -> Callable[..., Path]:
    """Change elements of a DICOM file: ``change(path, PixelSpacing=None)``; None deletes one."""

    def change_file(path: Path, **elements: object) -> Path:
        dataset = pydicom.dcmread(path)
        for keyword, value in elements.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
        dataset.save_as(path)
        return path

    return change_file
