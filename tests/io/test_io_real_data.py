"""Real scans: ITK's series reader agrees on the place of every voxel, and label files come back as they were."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from medclipsam_monai.io import find_inputs, read_image, write_mask

DATA = Path(__file__).parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the folder of real images, ../shared/data, is not there")


@pytest.mark.parametrize("name", ["ct_chest_17", "ct_3slice_with_seg", "mr_head"])
def test_a_series_lies_where_itk_puts_it(name: str) -> None:
    (source,) = find_inputs([DATA / "dicom" / name])
    image = read_image(source)
    uid = pydicom.dcmread(source.paths[0], stop_before_pixels=True).SeriesInstanceUID
    volume = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(DATA / "dicom" / name), uid))
    geometry = image.meta["geometry"]
    assert geometry.shape == volume.GetSize()
    lps_to_ras = np.array([-1, -1, 1])
    for voxel in (np.zeros(3, int), np.array(geometry.shape) - 1):
        place = np.array(volume.TransformIndexToPhysicalPoint(voxel.tolist())) * lps_to_ras
        np.testing.assert_allclose((geometry.affine @ [*voxel, 1])[:3], place, atol=0.02)
    middle = volume.GetSize()[2] // 2
    shown = image.numpy()[0, :, :, middle]
    stored = sitk.GetArrayFromImage(volume)[middle]
    turned = geometry.affine[0, 0] > 0  # columns to the patient's right: the radiological view turns it
    np.testing.assert_array_equal(shown, stored[::-1, ::-1] if turned else stored)


def test_label_volumes_come_back_voxel_for_voxel(tmp_path: Path) -> None:
    labels = read_image(DATA / "nifti" / "brain1_label.nrrd")
    written = sitk.ReadImage(str(write_mask(labels, labels.meta["geometry"], tmp_path / "brain")))
    source = sitk.ReadImage(str(DATA / "nifti" / "brain1_label.nrrd"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(written), sitk.GetArrayFromImage(source))
    assert written.GetDirection() == source.GetDirection() and written.GetOrigin() == source.GetOrigin()

    labels = read_image(DATA / "nifti" / "example_seg.nii.gz", slice_axis="coronal")
    back = nib.load(write_mask(labels, labels.meta["geometry"], tmp_path / "ct"))
    stored = nib.load(DATA / "nifti" / "example_seg.nii.gz")
    np.testing.assert_array_equal(np.asarray(back.dataobj), np.asarray(stored.dataobj))
    np.testing.assert_array_equal(back.affine, stored.affine)
