"""Damaged files are read or refused by one line: a small run of the tool, and what it says of faults."""

from __future__ import annotations

import logging
import os
import signal
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from medclipsam_monai.base.errors import InputError, InputWarning
from medclipsam_monai.io import read_image
from tools.robustness import fuzz_checks
from tools.robustness.fuzz_inputs import GOOD, fuzz, make_seeds
from tools.robustness.fuzz_mutations import mutate
from tools.robustness.fuzz_readers import Readers
from tools.robustness.seeds.table import SEEDS

KINDS = ("nii", "nii.gz", "mha", "nrrd", "dcm", "png", "tiff", "jpg")
MORE_KINDS = ("packed.dcm", "series", "bmp")
COUNT = 40


@pytest.mark.parametrize("kind", [*KINDS, *(pytest.param(kind, marks=pytest.mark.minutes) for kind in MORE_KINDS)])
def test_a_damaged_file_is_read_or_refused_by_one_line(kind):
    readers = Readers()
    results = list(fuzz(kind, COUNT, 20, readers))
    readers.close()
    bad = [(result.outcome, result.index, result.detail) for result in results if result.outcome not in GOOD]
    found = Counter(result.outcome for result in results if result.index >= 0)
    assert not bad
    assert found.total() == COUNT
    assert found["image"] >= 2 and found["refused"] >= 5, "the damage is neither nothing nor everything"


def test_all_kinds_are_tried():
    assert sorted(SEEDS) == sorted((*KINDS, *MORE_KINDS))


def test_the_damage_depends_on_the_seed_alone():
    seed = make_seeds("dcm")[0]
    one, same, other = (mutate(seed, "dcm", np.random.default_rng(number)) for number in (3, 3, 4))
    assert one == same != other
    assert seed == make_seeds("dcm")[0] != one


def _raises(error: BaseException):
    def read(path: Path) -> None:
        raise error

    return read


def _moved(path: Path):
    image = read_image(path)
    image.affine[0, 3] += 1
    return image


def _not_finite(path: Path):
    image = read_image(path)
    image.affine = torch.full((4, 4), float("nan"))
    return image


def _talking(talk: Callable[[], object]):
    """A reader that reads, and says something besides."""

    def read(path: Path):
        image = read_image(path)
        talk()
        return image

    return read


@pytest.mark.parametrize(
    ("read", "outcome", "detail"),
    [
        (_raises(InputError("x.nii: is damaged")), "refused", "x.nii: is damaged"),
        (_raises(InputError("it is damaged")), "wrong", "it is damaged"),
        (_raises(InputError("x.nii: is damaged\nsomewhere")), "wrong", "x.nii: is damaged\nsomewhere"),
        (_raises(KeyError("rows")), "traceback", "KeyError: 'rows'"),
        (_raises(MemoryError()), "memory", "MemoryError()"),
        (lambda path: os.kill(os.getpid(), signal.SIGSEGV), "crash", "ended by signal 11"),
        (lambda path: np.zeros(2**33, np.uint8), "memory", "MemoryError"),
        (lambda path: time.sleep(60), "time-out", "more than 1 s"),
        (_moved, "wrong", "the headers alone state another geometry"),
        (_not_finite, "wrong", "the headers alone state another geometry"),
        (_talking(lambda: print("libpng said")), "noise", "libpng said"),
        (_talking(lambda: os.write(2, b"of C\n")), "noise", "of C"),
        (_talking(lambda: logging.getLogger("anybody").warning("logged")), "noise", "logged"),
        (_talking(lambda: warnings.warn("warned", UserWarning, stacklevel=1)), "noise", "UserWarning: warned"),
        (_talking(lambda: warnings.warn("one line", InputWarning, stacklevel=1)), "image", ""),
    ],
)
def test_what_goes_wrong_is_seen(monkeypatch, tmp_path, read, outcome, detail):
    path = tmp_path / "x.nii"
    path.write_bytes(make_seeds("nii")[0])
    readers = Readers(seconds=1 if outcome == "time-out" else 60)
    monkeypatch.setattr(fuzz_checks, "read_image", read)
    found = readers.judge(path)
    monkeypatch.undo()
    assert found[0] == outcome and detail in found[1]
    readers.close()
    assert readers.judge(path) == ("image", ""), "the next file is read by a new process"
    readers.close()


def test_a_mask_away_from_its_place_is_seen(tmp_path):
    path = tmp_path / "x.nii"
    path.write_bytes(make_seeds("nii")[0])
    image = read_image(path)
    label = np.zeros(image.shape[1:], np.uint8)
    label[1:4, 2:7, :1] = 1
    moved = np.asarray(image.affine).copy()
    moved[0, 3] += 1
    with pytest.raises(fuzz_checks.WrongError, match="nibabel sees the mask 1 mm from its place"):
        fuzz_checks.check_mask(label, image.meta["geometry"], moved, tmp_path)


def test_where_a_process_crashed_is_told_by_the_fault_handler(monkeypatch, tmp_path):
    path = tmp_path / "x.nii"
    path.write_bytes(b"x")
    monkeypatch.setattr(fuzz_checks, "read_image", lambda path: os.kill(os.getpid(), signal.SIGSEGV))
    readers = Readers()
    assert readers.judge(path)[1].startswith("ended by signal 11 (test_damaged_files.py, line ")
    readers.close()
