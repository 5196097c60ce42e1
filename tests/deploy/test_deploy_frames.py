"""What was found upright comes back on the very frames it was seen in."""

from __future__ import annotations

import numpy as np
import pytest
from dicom_files import write_dicom
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedMRImageStorage

from medclipsam_monai.deploy.study import find_series
from medclipsam_monai.io import read_image
from medclipsam_monai.io.dicom_seg.stored_frames import frame_order, legend, overlay_frames, shown_frames, to_frames
from medclipsam_monai.phantoms.dicom import (
    OBLIQUE,
    write_phantom_ultrasound,
    write_phantom_volume,
    write_phantom_xray,
)

CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
TURNED = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0)


def read_back(folder):
    """The pixels of a folder's one image, read upright and put back on its frames; and its files."""
    (series,) = find_series(folder)
    image = read_image(series.source)
    headers = [dcmread(path, stop_before_pixels=True) for path in series.source.paths]
    geometry = image.meta["geometry"]
    return to_frames(image.as_tensor(), geometry, frame_order(headers, geometry)), series.source.paths


@pytest.mark.parametrize("directions", [(1.0, 0, 0, 0, 1.0, 0), OBLIQUE, CORONAL, TURNED])
@pytest.mark.parametrize("order", ["forward", "reversed", "shuffled"])
def test_the_slices_of_a_series_come_back_file_by_file(tmp_path, pixels_of, directions, order):
    write_phantom_volume(tmp_path, slices=5, directions=directions, order=order, spacing=(1.0, 1.5, 4.0))
    frames, files = read_back(tmp_path)
    np.testing.assert_array_equal(frames[0], [pixels_of(file) for file in files])


def test_slices_at_uneven_distances_come_back_file_by_file(tmp_path, pixels_of):
    files = list(write_phantom_volume(tmp_path, slices=7, order="shuffled").files)
    by_place = sorted(files, key=lambda file: dcmread(file).ImagePositionPatient[2])
    for gone in (1, 2, 4):
        by_place[gone].unlink()
    with pytest.warns(match="some may be missing"):
        frames, kept = read_back(tmp_path)
    np.testing.assert_array_equal(frames[0], [pixels_of(file) for file in kept])


def test_pictures_and_cines_come_back_as_they_are_stored(tmp_path):
    (xray,) = write_phantom_xray(tmp_path / "xray").files
    frames, _ = read_back(tmp_path / "xray")
    np.testing.assert_array_equal(frames[0, 0], dcmread(xray).pixel_array)
    (colour,) = write_phantom_ultrasound(tmp_path / "us").files
    frames, _ = read_back(tmp_path / "us")
    np.testing.assert_array_equal(frames[:, 0], dcmread(colour).pixel_array.transpose(2, 0, 1))
    (cine,) = write_phantom_ultrasound(tmp_path / "cine", frames=3).files
    frames, _ = read_back(tmp_path / "cine")
    np.testing.assert_array_equal(frames[0], dcmread(cine).pixel_array)


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
    np.testing.assert_array_equal(frames[0], pixels)


def test_pictures_show_frames_with_a_mask_spread_evenly(tmp_path):
    masks = np.zeros((2, 10, 4, 4), bool)
    assert shown_frames(masks, 3) == []
    masks[0, 2:6] = masks[1, 8] = True
    assert shown_frames(masks, 9) == [2, 3, 4, 5, 8]
    assert shown_frames(masks, 2) == [3, 5]


def test_a_picture_has_its_frames_pixels_and_the_masks_colour():
    display = np.linspace(0, 1, 3 * 2 * 12 * 16, dtype=np.float32).reshape(3, 2, 12, 16)
    masks = np.zeros((1, 2, 12, 16), bool)
    masks[0, 1, 2:10, 3:12] = True
    pictures = overlay_frames(display, masks, [1])
    assert pictures.shape == (1, 12, 16, 3) and pictures.dtype == np.uint8
    outside = ~masks[0, 1]
    np.testing.assert_array_equal(pictures[0][outside], np.rint(display[:, 1].transpose(1, 2, 0) * 255)[outside])
    assert tuple(pictures[0, 2, 3]) == (230, 159, 0)  # the contour: orange, as the legend says
    assert legend(["lungs", "heart"]) == "lungs orange, heart sky blue"
