"""What a record says of a class: its slices as the file counts them, and no size of what is likely not there."""

from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch

from medclipsam_monai import TextSegmenter
from medclipsam_monai.io import read_image
from medclipsam_monai.zero_shot.class_records import class_records, slices_of


def geometry(affine: np.ndarray, shape: tuple[int, int, int], folder, slice_axis: str = "acquired"):
    nib.save(nib.Nifti1Image(np.zeros(shape, np.int16), affine), folder / "a.nii.gz")
    return read_image(folder / "a.nii.gz", slice_axis).meta["geometry"]


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("slice_axis", ["axial", "coronal", "sagittal"])
def test_slices_are_counted_along_the_files_own_axis(tmp_path, direction, slice_axis):
    shape = (16, 18, 20)
    where = geometry(np.diag([direction * 2.0, 2, 2 * direction, 1]), shape, tmp_path, slice_axis)
    axis = {"sagittal": 0, "coronal": 1, "axial": 2}[slice_axis]
    stored = np.zeros(shape, np.uint8)
    part = [slice(None)] * 3
    part[axis] = [2, 3, 4, 9]
    stored[tuple(part)] = 1
    display = nib.apply_orientation(stored, np.array(where.orientation))
    told = slices_of(torch.from_numpy(display > 0), where)
    words = f"slices 3 to 5, 10 of {shape[axis]}"
    assert told == {"axis": axis, "runs": [[2, 4], [9, 9]], "count": 4, "of": shape[axis], "words": words}


def test_no_slices(tmp_path):
    where = geometry(np.eye(4), (16, 16, 8), tmp_path)
    told = slices_of(torch.zeros(16, 16, 8, dtype=torch.bool), where)
    assert told["runs"] == [] and told["count"] == 0 and told["words"] == "none of 8 slices"


@pytest.fixture(scope="module")
def answer(tiny_preset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("volume")
    numbers = np.random.default_rng(0).integers(-500, 900, (24, 20, 6), dtype=np.int16)
    nib.save(nib.Nifti1Image(numbers, np.diag([1, 1, 4, 1])), folder / "ct.nii.gz")
    return TextSegmenter.from_preset(tiny_preset, "cpu")(folder / "ct.nii.gz", "lungs")


def test_what_is_likely_not_there_has_no_size(answer):
    (entry,) = class_records(replace(answer.found, presence=(0.07,)), answer.geometry, answer.spacing, ())
    assert entry["size"] is None and entry["size_reason"] == "presence 0.07 is below 0.5: likely not there"
    assert entry["pixels"] > 0 and entry["unit"] == "mm3"


@pytest.mark.parametrize("presence", [None, 0.5, 0.9])
def test_what_nobody_doubts_has_a_size(answer, presence):
    (entry,) = class_records(replace(answer.found, presence=(presence,)), answer.geometry, answer.spacing, ())
    assert entry["size"] == 4.0 * entry["pixels"] > 0 and "size_reason" not in entry
    shown = np.flatnonzero(answer.stored_mask().any(axis=(0, 1)))
    assert entry["slices"]["count"] == len(shown) and entry["slices"]["runs"][0][0] == shown[0]
