"""The largest image that is read is one for a thread, not for the process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.limits import MAX_VOXELS, check_size, largest_allowed, largest_image


def test_a_limit_holds_for_its_block_and_thread():
    met = Barrier(2, timeout=30)

    def limited(voxels: int) -> int:
        with largest_allowed(voxels):
            met.wait()
            found = largest_image()
            met.wait()
        return found

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(limited, (10, 20))) == [10, 20]
    assert largest_image() == MAX_VOXELS


def test_the_option_comes_before_the_environment(monkeypatch):
    monkeypatch.setenv("MEDCLIPSAM_MAX_VOXELS", "100")
    with largest_allowed(1000):
        check_size((10, 100), "a.nii")
        with largest_allowed(None):
            assert largest_image() == 1000
    with pytest.raises(InputError, match="promises 10 x 100 = 1,000 voxels, the limit is 100"):
        check_size((10, 100), "a.nii")


def test_a_limit_ends_with_an_error():
    with pytest.raises(KeyError), largest_allowed(5):
        raise KeyError
    assert largest_image() == MAX_VOXELS
