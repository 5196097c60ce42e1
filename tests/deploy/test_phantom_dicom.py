"""Phantoms as DICOM files: valid, the same every time, lying where they say, with masks in the order of their files."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from dicom_checks import dciodvfy_errors, needs_dciodvfy

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import find_inputs, read_image, restore_geometry
from medclipsam_monai.phantoms.dicom import (
    AXIAL,
    OBLIQUE,
    PhantomSeries,
    write_phantom_ultrasound,
    write_phantom_volume,
    write_phantom_xray,
)

WRITERS = {
    "ct": lambda folder: write_phantom_volume(folder, slices=3),
    "mr": lambda folder: write_phantom_volume(folder, "MR", slices=3, directions=OBLIQUE, order="shuffled"),
    "x-ray": write_phantom_xray,
    "inverted x-ray": lambda folder: write_phantom_xray(folder, photometric="MONOCHROME1"),
    "ultrasound": write_phantom_ultrasound,
    "cine": lambda folder: write_phantom_ultrasound(folder, frames=3),
}


@pytest.fixture(scope="module", params=WRITERS)
def written(request, tmp_path_factory) -> tuple[str, PhantomSeries]:
    return request.param, WRITERS[request.param](tmp_path_factory.mktemp("phantom"))


def read(series: PhantomSeries) -> list[pydicom.Dataset]:
    return [pydicom.dcmread(path) for path in series.files]


def test_masks_lie_on_the_frames(written):
    _, series = written
    images = read(series)
    frames = sum(int(image.get("NumberOfFrames", 1)) for image in images)
    assert series.masks
    for mask in series.masks.values():
        assert mask.dtype == bool and mask.shape == (frames, images[0].Rows, images[0].Columns) and mask.any()


def test_no_file_is_of_a_patient(written):
    _, series = written
    for image in read(series):
        assert str(image.PatientName) == "Phantom^No Patient" and image.PatientID.startswith("PHANTOM-")
        assert "no patient" in image.SeriesDescription and not image.PatientBirthDate


@needs_dciodvfy
def test_dciodvfy_finds_no_error_in_a_phantom(written):
    _, series = written
    assert dciodvfy_errors(series.files[-1]) == []


def test_the_same_arguments_give_the_same_bytes(written, tmp_path):
    kind, series = written
    again = WRITERS[kind](tmp_path / "again")
    assert [path.name for path in again.files] == [path.name for path in series.files]
    assert [path.read_bytes() for path in again.files] == [path.read_bytes() for path in series.files]


def test_other_arguments_give_other_series_of_one_study(tmp_path):
    several = [
        write_phantom_volume(tmp_path, slices=2),
        write_phantom_volume(tmp_path, slices=2, order="reversed"),
        write_phantom_volume(tmp_path, slices=2, directions=OBLIQUE),
        write_phantom_volume(tmp_path, "MR", slices=2),
        write_phantom_xray(tmp_path),
        write_phantom_ultrasound(tmp_path),
    ]
    images = [image for series in several for image in read(series)]
    assert len(list(tmp_path.iterdir())) == len(images) == 10
    assert len({image.SOPInstanceUID for image in images}) == 10
    assert len({image.SeriesInstanceUID for image in images}) == 6
    assert len({image.StudyInstanceUID for image in images}) == 1
    other = read(write_phantom_volume(tmp_path, slices=2, seed=5))[0]
    assert other.StudyInstanceUID != images[0].StudyInstanceUID and other.PatientID != images[0].PatientID


@pytest.mark.parametrize("directions", [AXIAL, OBLIQUE])
@pytest.mark.parametrize("order", ["forward", "reversed", "shuffled"])
def test_slices_lie_along_the_normal_in_the_stated_order(directions, order, tmp_path):
    series = write_phantom_volume(tmp_path, slices=6, directions=directions, spacing=(1.25, 1.75, 4), order=order)
    images = read(series)
    normal = np.cross(directions[:3], directions[3:])
    offsets = np.array([image.ImagePositionPatient for image in images]) - [-190.5, -140.25, 1200.5]
    places = np.rint(offsets @ normal / 4).astype(int).tolist()
    np.testing.assert_allclose(offsets, np.outer(places, normal) * 4, atol=1e-4)
    if order == "shuffled":
        assert sorted(places) == list(range(6)) and places not in (list(range(6)), list(range(6))[::-1])
    else:
        assert places == (list(range(6)) if order == "forward" else list(range(6))[::-1])
    assert [image.InstanceNumber for image in images] == [1, 2, 3, 4, 5, 6]
    assert {tuple(image.PixelSpacing) for image in images} == {(1.25, 1.75)}
    assert {tuple(image.ImageOrientationPatient) for image in images} == {directions}
    assert sorted(path.name for path in series.files) != [path.name for path in series.files]
    areas = [int(mask.sum()) for mask in series.masks["lungs"]]
    assert sorted(areas, reverse=True) == [areas[places.index(place)] for place in range(6)], (
        "it shrinks slice by slice"
    )


def test_masks_belong_to_the_pixels_slice_by_slice(tmp_path):
    """Aerated lungs are dark: nearly all of a mask is on its own slice, too little of it on any other one."""
    series = write_phantom_volume(tmp_path, slices=5, order="shuffled", directions=OBLIQUE)
    images = read(series)
    for number, image in enumerate(images):
        hounsfield = image.pixel_array * float(image.RescaleSlope) + float(image.RescaleIntercept)
        dark = [float((hounsfield[mask] < -500).mean()) for mask in series.masks["lungs"]]
        assert dark[number] > 0.99 and all(share < 0.97 for other, share in enumerate(dark) if other != number)
    (source,) = find_inputs([tmp_path])
    volume = read_image(source)
    stored = restore_geometry(volume[0], volume.meta["geometry"]).transpose(2, 1, 0)
    normal = np.cross(OBLIQUE[:3], OBLIQUE[3:])
    order = np.argsort([np.dot(image.ImagePositionPatient, normal) for image in images])
    for plane, mask in zip(stored, series.masks["lungs"][order], strict=True):
        assert (plane[mask] < -500).mean() > 0.99
    assert (volume.meta["window_center"], volume.meta["window_width"]) == (-300, 1400)


def test_an_inverted_x_ray_shows_the_same(tmp_path):
    plain, inverted = (
        read(write_phantom_xray(tmp_path, photometric=kind))[0] for kind in ("MONOCHROME2", "MONOCHROME1")
    )
    assert (plain.BitsAllocated, plain.BitsStored, plain.HighBit) == (16, 12, 11)
    assert np.abs(plain.pixel_array.astype(int) + inverted.pixel_array - 4095).max() <= 1
    assert "FrameOfReferenceUID" not in plain and "ImagePositionPatient" not in plain


def test_an_ultrasound_picture_has_text_burned_in_and_a_cine_moves(tmp_path):
    picture = read(write_phantom_ultrasound(tmp_path))[0]
    assert picture.BurnedInAnnotation == "YES" and picture.pixel_array.shape == (256, 256, 3)
    coloured = np.ptp(picture.pixel_array.astype(int), axis=-1) > 50
    assert coloured[:20].sum() > 50 and not coloured[20:].any()
    series = write_phantom_ultrasound(tmp_path, frames=3)
    cine = read(series)[0]
    assert cine.BurnedInAnnotation == "NO" and cine.pixel_array.shape == (3, 256, 256)
    for frame in (1, 2):
        np.testing.assert_array_equal(cine.pixel_array[frame], np.roll(cine.pixel_array[0], frame, axis=1))
        for mask in series.masks.values():
            np.testing.assert_array_equal(mask[frame], np.roll(mask[0], frame, axis=1))


@pytest.mark.parametrize(
    "arguments",
    [{"modality": "PT"}, {"order": "random"}, {"slices": 0}, {"directions": (1, 0, 0, 1, 0, 0)}],
    ids=str,
)
def test_impossible_volumes_are_refused(arguments, tmp_path):
    with pytest.raises(ValueError, match=r"expected CT or MR|right angle"):
        write_phantom_volume(tmp_path, **arguments)
    assert not list(tmp_path.iterdir())


def test_impossible_pictures_are_refused(tmp_path):
    with pytest.raises(ValueError, match="MONOCHROME1 or MONOCHROME2"):
        write_phantom_xray(tmp_path, photometric="RGB")
    with pytest.raises(ValueError, match="frames must be 1 or more"):
        write_phantom_ultrasound(tmp_path, frames=0)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        write_phantom_xray(tmp_path / "file")
