"""Masks of every kind that this package writes, or wrote, are read back as the labels they hold."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import read_image, write_mask
from medclipsam_monai.io.formats.stored import StoredImage
from medclipsam_monai.io.geometry import make_geometry
from medclipsam_monai.io.label_maps import find_given, read_label_map

LABELS = np.random.default_rng(0).integers(0, 3, (9, 10, 8), dtype=np.uint8)
NAMES = ["one", "two"]


@pytest.mark.parametrize("form", [None, "nrrd"])
def test_a_mask_of_a_volume_is_read_back(tmp_path: Path, form: str | None) -> None:
    nib.save(nib.Nifti1Image(LABELS, np.diag([1.0, -2, 3, 1])), tmp_path / "scan.nii.gz")
    shown = read_image(tmp_path / "scan.nii.gz", "axial")
    mask = write_mask(shown, shown.meta["geometry"], tmp_path / "masks" / "scan_mask", names=NAMES, format=form)
    np.testing.assert_array_equal(read_label_map(mask, shown.meta["geometry"], NAMES), shown[0])
    assert find_given(tmp_path / "masks", ["scan"]) == {"scan": mask}


@pytest.mark.parametrize("form", [None, "nrrd"])
def test_a_mask_of_uneven_slices_is_read_back_on_the_acquired_ones(tmp_path: Path, form: str | None) -> None:
    positions = tuple(np.cumsum([0, 2, 5, 2.1, 2, 3, 4, 2]))
    stored = StoredImage(LABELS[..., None], "dicom", affine=np.diag([-1.0, -1, 3, 1]), slice_positions=positions)
    geometry = make_geometry(stored, "axial", "a series")
    upright = nib.apply_orientation(LABELS, np.array(geometry.orientation))
    mask = write_mask(upright, geometry, tmp_path / "m", format=form)
    assert read_image(mask, "axial").shape == (1, 10, 9, 11)
    np.testing.assert_array_equal(read_label_map(mask, geometry, NAMES), upright)


def test_a_grey_mask_and_an_old_palette_mask_of_a_picture_are_the_same(tmp_path: Path) -> None:
    Image.fromarray(LABELS[..., 0]).save(tmp_path / "in.png")
    geometry = read_image(tmp_path / "in.png").meta["geometry"]
    grey = write_mask(LABELS[..., 0], geometry, tmp_path / "grey")
    old = Image.fromarray(LABELS[..., 0])
    old.putpalette([0, 0, 0, 230, 159, 0, 86, 180, 233])
    old.save(tmp_path / "old.png")
    for path in (grey, tmp_path / "old.png", write_mask(LABELS[..., 0], geometry, tmp_path / "m", format="nrrd")):
        np.testing.assert_array_equal(read_label_map(path, geometry, NAMES), LABELS[..., 0])


def test_labels_beyond_a_byte_keep_their_numbers(tmp_path: Path) -> None:
    labels = np.arange(8 * 40).reshape(8, 40)
    Image.fromarray(labels.astype(np.uint8)).save(tmp_path / "in.png")
    geometry = read_image(tmp_path / "in.png").meta["geometry"]
    mask = write_mask(labels, geometry, tmp_path / "m")
    names = [f"class {number}" for number in range(1, 320)]
    np.testing.assert_array_equal(read_label_map(mask, geometry, names), labels)


def test_a_picture_of_another_size_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((64, 48), np.uint8)).save(tmp_path / "a.png")
    geometry = read_image(tmp_path / "a.png").meta["geometry"]
    for name in ("m.png", "m.tif"):
        Image.new("1", (20_000, 20_000)).save(tmp_path / name)
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2 if name == "m.png" else None])
        with pytest.raises(InputError, match=r"is a mask of 20000 x 20000 for an image of 64 x 48"):
            read_label_map(tmp_path / name, geometry, ["one"])
