"""Fixtures that write small DICOM files for the tests of reading and finding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from dicom_files import write_dicom, write_series


@pytest.fixture
def make_dicom() -> Callable[..., Path]:
    return write_dicom


@pytest.fixture
def make_series() -> Callable[..., list[Path]]:
    return write_series
