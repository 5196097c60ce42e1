"""A label map as a mask file and as DICOM SEG: independent readers find both in the same places of the patient."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from dicom_checks import (
    ALGORITHM,
    SHARED_DICOM,
    blobs,
    dciodvfy_errors,
    dice_by_dcmqi,
    dice_by_highdicom,
    needs_dciodvfy,
)

from medclipsam_monai.io import find_inputs, read_image, write_mask
from medclipsam_monai.io.dicom_seg.segmentation import write_segmentation
from medclipsam_monai.phantoms.dicom import OBLIQUE, write_phantom_volume

REAL = ("ct_3slice_with_seg", "ct_chest_17", "mr_head")


def millimetres(mask_file, number: int) -> np.ndarray:
    """(N, 3) LPS mm of a label's voxels, by nibabel."""
    mask = nib.load(mask_file)
    voxels = np.argwhere(np.asarray(mask.dataobj) == number)
    return (voxels @ mask.affine[:3, :3].T + mask.affine[:3, 3]) * [-1, -1, 1]


@pytest.mark.parametrize("name", ["phantom", *REAL])
@pytest.mark.parametrize("slice_axis", ["acquired", "sagittal"])
def test_the_seg_lies_where_the_mask_file_lies(name, slice_axis, tmp_path):
    folder = SHARED_DICOM / name
    if name == "phantom":
        folder = tmp_path / "series"
        write_phantom_volume(folder, slices=8, order="shuffled", directions=OBLIQUE)
    elif not folder.is_dir():
        pytest.skip("needs the real images of ../shared/data")
    (source,) = find_inputs([folder])
    if name == "ct_3slice_with_seg":
        slice_axis = "acquired"  # three slices make no picture another way
    geometry = read_image(source, slice_axis).meta["geometry"]
    first, second = blobs(geometry.display_shape, 0), blobs(geometry.display_shape, 1)
    label_map = np.where(first, 1, 3 * second).astype(np.uint8)
    names = ["lungs", "not there", "something described"]
    mask = write_mask(label_map, geometry, tmp_path / "mask")
    seg = write_segmentation(label_map, names, geometry, source.paths, tmp_path / "seg.dcm", ALGORITHM)
    assert seg == tmp_path / "seg.dcm"
    for segment, number in ((1, 1), (2, 3)):
        points = millimetres(mask, number)
        assert len(points) > 100
        assert dice_by_highdicom(seg, segment, points) == 1.0
        assert dice_by_dcmqi(seg, segment, points) == 1.0


@needs_dciodvfy
@pytest.mark.parametrize("directions", [OBLIQUE, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)])
def test_dciodvfy_finds_no_error(directions, tmp_path):
    write_phantom_volume(tmp_path / "series", slices=8, directions=directions)
    (source,) = find_inputs([tmp_path / "series"])
    geometry = read_image(source).meta["geometry"]
    label_map = 3 * blobs(geometry.display_shape).astype(np.uint8)
    names = ["lungs", "heart", "left lung nodule"]
    seg = write_segmentation(label_map, names, geometry, source.paths, tmp_path / "seg.dcm", ALGORITHM)
    assert dciodvfy_errors(seg) == []
