"""What was found upright comes back on the very frames it was seen in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dicom_files import write_dicom
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedMRImageStorage

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import ImageSource, find_inputs, read_image
from medclipsam_monai.io.dicom_seg.overlay_pictures import legend, overlay_pictures, shown_frames
from medclipsam_monai.io.dicom_seg.source_frames import read_source_frames
from medclipsam_monai.phantoms.dicom import (
    OBLIQUE,
    write_phantom_ultrasound,
    write_phantom_volume,
    write_phantom_xray,
)

CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
TURNED = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0)


def frames_of(source: ImageSource, slice_axis: str = "acquired") -> tuple[np.ndarray, list[str]]:
    """What is read upright, put back on the frames, (F, rows, columns, C); and the identifiers of their files."""
    image = read_image(source, slice_axis)
    frames = read_source_frames(source.paths, image.meta["geometry"])
    return frames.stored(image.as_tensor()), [header.SOPInstanceUID for header in frames.headers]


def read_back(folder, slice_axis="acquired"):
    (source,) = find_inputs([folder])
    return frames_of(source, slice_axis)


def pixels_of(path: Path) -> np.ndarray:
    """The rescaled pixels of a file, (rows, columns), as pydicom reads them."""
    dataset = dcmread(path)
    return dataset.pixel_array * float(dataset.get("RescaleSlope", 1)) + float(dataset.get("RescaleIntercept", 0))


def by_identifier(files) -> dict[str, Path]:
    return {dcmread(file, stop_before_pixels=True).SOPInstanceUID: file for file in files}


@pytest.mark.parametrize("directions", [(1.0, 0, 0, 0, 1.0, 0), OBLIQUE, CORONAL, TURNED])
@pytest.mark.parametrize("order", ["forward", "reversed", "shuffled"])
def test_the_slices_of_a_series_come_back_file_by_file(tmp_path, directions, order):
    series = write_phantom_volume(tmp_path, slices=8, directions=directions, order=order, spacing=(1.0, 1.5, 4.0))
    files = by_identifier(series.files)
    for slice_axis in ("acquired", "sagittal"):
        frames, names = read_back(tmp_path, slice_axis)
        assert len(names) == 8
        np.testing.assert_array_equal(frames[..., 0], [pixels_of(files[name]) for name in names])


def test_second_copies_have_no_frame(tmp_path):
    files = write_phantom_volume(tmp_path, slices=4, order="shuffled").files
    again = tmp_path / "again.dcm"
    dataset = dcmread(files[2])
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.save_as(again)
    with pytest.warns(match="copies of another slice"):
        frames, names = frames_of(ImageSource((*files, again), "dicom", "ct"))
    assert len(names) == 4 and "1.2.3" not in names
    np.testing.assert_array_equal(frames[..., 0], [pixels_of(by_identifier(files)[name]) for name in names])


def test_files_that_changed_since_are_refused(tmp_path):
    files = write_phantom_volume(tmp_path, slices=4).files
    geometry = read_image(find_inputs([tmp_path])[0]).meta["geometry"]
    with pytest.raises(InputError, match="have changed since it was read"):
        read_source_frames(files[:3], geometry)


@pytest.mark.parametrize("count", [1, 4])
def test_another_patient_of_the_same_shape_and_place_is_refused(tmp_path, count):
    files = write_phantom_volume(tmp_path, slices=count).files
    meta = read_image(find_inputs([tmp_path])[0]).meta
    assert len(read_source_frames(files[::-1], meta["geometry"], meta["sha256"]).headers) == count
    dataset = dcmread(files[-1])
    dataset.PatientID = "another"
    dataset.save_as(files[-1])
    with pytest.raises(InputError, match="have changed since it was read"):
        read_source_frames(files, meta["geometry"], meta["sha256"])


def test_what_is_not_of_the_image_is_a_mistake_of_the_caller(tmp_path):
    files = write_phantom_volume(tmp_path, slices=4).files
    frames = read_source_frames(files, read_image(find_inputs([tmp_path])[0]).meta["geometry"])
    with pytest.raises(ValueError, match="like their image"):
        frames.stored(np.zeros((192, 256)))


def test_labels_of_an_axial_series_are_not_copied(tmp_path):
    files = write_phantom_volume(tmp_path, slices=4).files
    geometry = read_image(find_inputs([tmp_path])[0]).meta["geometry"]
    label_map = np.zeros(geometry.display_shape, np.uint8)
    assert np.shares_memory(read_source_frames(files, geometry).stored(label_map), label_map)


def test_slices_at_uneven_distances_come_back_file_by_file(tmp_path):
    files = list(write_phantom_volume(tmp_path, slices=7, order="shuffled").files)
    by_place = sorted(files, key=lambda file: dcmread(file).ImagePositionPatient[2])
    for gone in (1, 2, 4):
        by_place[gone].unlink()
    with pytest.warns(match="some may be missing"):
        frames, names = read_back(tmp_path)
    files = by_identifier(tmp_path.iterdir())
    assert len(names) == 4
    np.testing.assert_array_equal(frames[..., 0], [pixels_of(files[name]) for name in names])


def test_pictures_and_cines_come_back_as_they_are_stored(tmp_path):
    (xray,) = write_phantom_xray(tmp_path / "xray").files
    frames, _ = read_back(tmp_path / "xray")
    np.testing.assert_array_equal(frames[0, ..., 0], dcmread(xray).pixel_array)
    (colour,) = write_phantom_ultrasound(tmp_path / "us").files
    frames, _ = read_back(tmp_path / "us")
    np.testing.assert_array_equal(frames[0], dcmread(colour).pixel_array)
    (cine,) = write_phantom_ultrasound(tmp_path / "cine", frames=3).files
    frames, _ = read_back(tmp_path / "cine")
    np.testing.assert_array_equal(frames[..., 0], dcmread(cine).pixel_array)


def test_frames_of_an_enhanced_image_come_back_in_their_own_order(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 500, (4, 16, 20)).astype(np.int16)
    orientation, measures, shared = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing, measures.SliceThickness = [0.5, 0.75], 1
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    groups = []
    for place in (6, 0, 2, 4):
        position, group = Dataset(), Dataset()
        position.ImagePositionPatient = [10, 20, place]
        group.PlanePositionSequence = [position]
        groups.append(group)
    tags = {"SharedFunctionalGroupsSequence": [shared], "PerFrameFunctionalGroupsSequence": groups}
    write_dicom(tmp_path / "a.dcm", pixels, SOPClassUID=EnhancedMRImageStorage, **tags)
    frames, _ = read_back(tmp_path)
    np.testing.assert_array_equal(frames[..., 0], pixels)
    some = read_source_frames([tmp_path / "a.dcm"], read_image(tmp_path / "a.dcm").meta["geometry"])
    assert some.slices == (3, 0, 1, 2)


def test_pictures_show_frames_with_a_mask_spread_evenly():
    labels = np.zeros((10, 4, 4), np.uint8)
    assert shown_frames(labels, 3) == []
    labels[2:6], labels[8] = 1, 2
    assert shown_frames(labels, 9) == [2, 3, 4, 5, 8]
    assert shown_frames(labels, 2) == [3, 5]


def test_a_picture_has_its_frames_pixels_and_the_masks_colour():
    display = np.linspace(0, 1, 12 * 16 * 3, dtype=np.float32).reshape(1, 12, 16, 3)
    labels = np.zeros((1, 12, 16), np.uint8)
    labels[0, 2:10, 3:12] = 2
    pictures = overlay_pictures(display, labels, 2)
    assert pictures.shape == (1, 12, 16, 3) and pictures.dtype == np.uint8
    outside = labels[0] == 0
    np.testing.assert_array_equal(pictures[0][outside], np.rint(display[0] * 255)[outside])
    assert tuple(pictures[0, 2, 3]) == (86, 180, 233)  # the contour: sky blue, as the legend says
    assert legend(["lungs", "heart"]) == "lungs orange, heart sky blue"
