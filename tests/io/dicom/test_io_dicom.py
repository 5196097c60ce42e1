"""DICOM: slices become volumes by their headers, numbers are pydicom's, and what cannot be one image is refused."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pydicom.uid
import pytest
import SimpleITK as sitk
from dicom_files import functional_groups
from PIL import Image

try:
    from pydicom.pixels import apply_modality_lut
except ImportError:  # pydicom 2
    from pydicom.pixel_data_handlers.util import apply_modality_lut

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import ImageSource, InputWarning, find_inputs, read_image, write_mask

VOLUME = np.random.default_rng(0).integers(0, 4000, (4, 9, 10)).astype(np.uint16)
Make = Callable[..., Any]
COS, SIN = float(np.cos(0.3)), float(np.sin(0.3))


@pytest.mark.parametrize(
    "directions",
    [
        (1, 0, 0, 0, 1, 0),
        (-1, 0, 0, 0, -1, 0),
        (1, 0, 0, 0, 0, -1),
        (0, 1, 0, 0, 0, -1),
        (COS, SIN, 0, -SIN, COS, 0),
        (1, 0, 0, 0, COS, -SIN),
    ],
    ids=["axial", "turned", "coronal", "sagittal", "oblique", "tilted"],
)
@pytest.mark.parametrize("step", [2.0, -2.0])
def test_a_voxel_of_a_series_stays_at_its_place_in_the_patient(
    tmp_path: Path, make_series: Make, directions: tuple[float, ...], step: float
) -> None:
    volume = np.zeros((9, 9, 10), np.uint16)
    volume[2, 5, 7] = 1000
    make_series(tmp_path / "ct", volume, directions=directions, step=step)
    image = read_image(tmp_path / "ct")
    row, column = np.array(directions[:3]), np.array(directions[3:])
    normal = np.cross(row, column)
    lps = np.array([10.0, 20.0, 30.0]) + 7 * 0.75 * row + 5 * 0.5 * column + 2 * step * normal
    place = np.argwhere(image.numpy()[0])
    assert len(place) == 1
    np.testing.assert_allclose(image.affine.numpy() @ [*place[0], 1], [-lps[0], -lps[1], lps[2], 1], atol=1e-4)

    mask = nib.load(write_mask(image > 0, image.meta["geometry"], tmp_path / "m"))
    assert mask.shape == (10, 9, 9) and mask.header["qform_code"] == mask.header["sform_code"] == 1
    voxel = np.argwhere(np.asarray(mask.dataobj))[0]
    for affine in (mask.get_sform(), mask.get_qform()):
        np.testing.assert_allclose(affine @ [*voxel, 1], [-lps[0], -lps[1], lps[2], 1], atol=1e-4)


def test_slices_are_ordered_by_position_not_by_name(tmp_path: Path, make_series: Make) -> None:
    paths = make_series(tmp_path / "ct", VOLUME)
    for path, name in zip(paths, ["d", "a", "c", "b"], strict=True):
        path.rename(path.with_name(name))  # without suffixes
    image = read_image(tmp_path / "ct")
    np.testing.assert_array_equal(image.numpy()[0], VOLUME.transpose(1, 2, 0))
    assert image.meta["spacing"] == (0.5, 0.75, 2.0) and image.meta["modality"] == "CT" and image.meta["spatial"]


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("rescale", [{}, {"RescaleSlope": 2, "RescaleIntercept": -1024}, {"RescaleSlope": "0.37"}])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16])
def test_pixels_are_those_of_pydicom_uninverted(
    tmp_path: Path, make_dicom: Make, photometric: str, rescale: dict[str, Any], kind: type
) -> None:
    pixels = (VOLUME[0] % 200).astype(kind) - (100 if kind == np.int16 else 0)
    pixels = pixels.astype(kind)
    if "RescaleSlope" in rescale:
        rescale = {"RescaleIntercept": 5, **rescale}
    path = make_dicom(tmp_path / "a.dcm", pixels, PhotometricInterpretation=photometric, **rescale)
    header = pydicom.dcmread(path)
    image = read_image(path)
    np.testing.assert_allclose(image.numpy()[0], apply_modality_lut(header.pixel_array, header), rtol=1e-6, atol=1e-4)
    assert image.meta["photometric"] == photometric


def test_run_length_encoded_slices_are_decoded(tmp_path: Path, make_series: Make) -> None:
    for path in make_series(tmp_path / "ct", VOLUME):
        header = pydicom.dcmread(path)
        header.compress(pydicom.uid.RLELossless)
        header.save_as(path)
    np.testing.assert_array_equal(read_image(tmp_path / "ct").numpy()[0], VOLUME.transpose(1, 2, 0))


@pytest.mark.parametrize(
    ("compressor", "syntax"),
    [
        ("JPEG", pydicom.uid.JPEGLosslessSV1),
        ("JPEG2000", pydicom.uid.JPEG2000Lossless),
    ],
)
def test_losslessly_compressed_slices_are_decoded(tmp_path: Path, compressor: str, syntax: str) -> None:
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.SetFileName(str(tmp_path / "a.dcm"))
    writer.UseCompressionOn()
    writer.SetCompressor(compressor)
    writer.Execute(sitk.GetImageFromArray(VOLUME[:1]))
    assert pydicom.dcmread(tmp_path / "a.dcm").file_meta.TransferSyntaxUID == syntax
    np.testing.assert_array_equal(read_image(tmp_path / "a.dcm").numpy()[0], VOLUME[0])


def test_the_affine_of_a_series_is_itks(tmp_path: Path, make_series: Make) -> None:
    paths = make_series(tmp_path / "ct", VOLUME, directions=(0.6, 0.64, 0.48, -0.8, 0.48, 0.36))
    geometry = read_image(tmp_path / "ct").meta["geometry"]
    volume = sitk.ReadImage([str(path) for path in paths])
    voxel = (7, 5, 2)
    x, y, z = volume.TransformIndexToPhysicalPoint(voxel)
    np.testing.assert_allclose(geometry.affine @ [*voxel, 1], [-x, -y, z, 1], atol=1e-3)
    np.testing.assert_array_equal(geometry.shape, volume.GetSize())


def test_an_x_ray_without_position_is_a_picture_and_its_mask_a_png(tmp_path: Path, make_dicom: Make) -> None:
    path = make_dicom(
        tmp_path / "chest.dcm",
        VOLUME[0],
        SOPClassUID=pydicom.uid.DigitalXRayImageStorageForPresentation,
        Modality="DX",
        PhotometricInterpretation="MONOCHROME1",
        BitsStored=12,
        PixelSpacing=[0.2, 0.3],
        WindowCenter=[2000, 100],
        WindowWidth=[4000, 50],
    )
    image = read_image(path)
    np.testing.assert_array_equal(image.numpy()[0], VOLUME[0])
    assert image.meta["spacing"] == (0.2, 0.3) and not image.meta["spatial"] and not image.meta["uint8"]
    assert (image.meta["window_center"], image.meta["window_width"]) == (2000.0, 4000.0)
    mask = write_mask(image > 2000, image.meta["geometry"], tmp_path / "m")
    np.testing.assert_array_equal(np.array(Image.open(mask)), VOLUME[0] > 2000)


def test_colour_ultrasound_has_three_channels(tmp_path: Path, make_dicom: Make) -> None:
    colours = np.random.default_rng(1).integers(0, 255, (9, 10, 3), dtype=np.uint8)
    image = read_image(make_dicom(tmp_path / "us.dcm", colours, colour=True, Modality="US"))
    np.testing.assert_array_equal(image.numpy(), colours.transpose(2, 0, 1))
    assert image.meta["uint8"] and image.meta["original_channels"] == 3 and image.meta["spacing"] is None


def test_one_slice_with_a_position_is_a_picture_of_its_plane(tmp_path: Path, make_series: Make) -> None:
    paths = make_series(tmp_path / "ct", VOLUME, directions=(-1, 0, 0, 0, -1, 0))
    image = read_image(paths[1], slice_axis="sagittal")
    np.testing.assert_array_equal(image.numpy()[0], VOLUME[1, ::-1, ::-1])
    mask = nib.load(write_mask(image > 2000, image.meta["geometry"], tmp_path / "m"))
    np.testing.assert_array_equal(np.asarray(mask.dataobj)[..., 0], VOLUME[1].T > 2000)


def test_grey_frames_without_positions_are_a_volume_as_stored(tmp_path: Path, make_dicom: Make) -> None:
    path = make_dicom(tmp_path / "us.dcm", VOLUME, Modality="US")
    with pytest.warns(InputWarning, match="its 4 frames state no positions; its mask counts pixels and frames"):
        image = read_image(path)
    np.testing.assert_array_equal(image.numpy()[0], VOLUME.transpose(1, 2, 0))
    assert not image.meta["spatial"] and image.meta["spacing"] is None
    mask = nib.load(write_mask(image > 2000, image.meta["geometry"], tmp_path / "m"))
    np.testing.assert_array_equal(np.asarray(mask.dataobj), VOLUME.transpose(2, 1, 0) > 2000)


def test_enhanced_frames_are_ordered_by_position(tmp_path: Path, make_dicom: Make) -> None:
    path = make_dicom(
        tmp_path / "a.dcm", VOLUME, SOPClassUID=pydicom.uid.EnhancedMRImageStorage, **functional_groups([6, 0, 2, 4])
    )
    image = read_image(path)
    np.testing.assert_array_equal(image.numpy()[0], VOLUME[[1, 2, 3, 0]].transpose(1, 2, 0))
    assert image.meta["spacing"] == (0.5, 0.75, 2.0) and image.meta["spatial"]
    np.testing.assert_allclose(image.affine.numpy()[:3, 3], [-10, -20, 0])


def test_a_colour_cine_is_refused_with_what_to_do(tmp_path: Path, make_dicom: Make) -> None:
    path = make_dicom(tmp_path / "us.dcm", np.zeros((5, 9, 10, 3), np.uint8), colour=True)
    with pytest.raises(InputError, match="colour sequence of 5 frames; save the frame to segment as a PNG"):
        read_image(path)


def series_of(paths: list[Path]) -> ImageSource:
    return ImageSource(tuple(paths), "dicom", "ct")


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"SeriesInstanceUID": "9.9"}, "holds 2 series"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, "its slices lie at different angles"),
        ({"PixelSpacing": [1, 1]}, "its slices differ in PixelSpacing"),
        ({"ImagePositionPatient": None}, "4 of 8 slices state no ImagePositionPatient"),
        ({}, "4 of 8 slices lie where another one does"),
    ],
)
def test_slices_that_are_no_volume_are_refused(
    tmp_path: Path, make_series: Make, second: dict[str, Any], message: str
) -> None:
    paths = make_series(tmp_path / "a", VOLUME) + make_series(tmp_path / "b", VOLUME[::-1], **second)
    with pytest.raises(InputError, match=message) as caught:
        read_image(series_of(paths))
    assert "\n" not in str(caught.value)


def test_directions_that_are_no_unit_vectors_are_refused(tmp_path: Path, make_series: Make) -> None:
    make_series(tmp_path / "ct", VOLUME, ImageOrientationPatient=[2, 0, 0, 0, 1, 0])
    with pytest.raises(InputError, match="ImageOrientationPatient must be two unit vectors at a right angle"):
        read_image(tmp_path / "ct")


def test_a_header_that_promises_more_pixels_than_the_file_holds_is_refused(tmp_path: Path, make_dicom: Make) -> None:
    path = make_dicom(tmp_path / "a.dcm", VOLUME[0], Rows=65535, Columns=65535)
    with pytest.raises(InputError, match="cut short, or its header promises too many pixels"):
        read_image(path)


def test_slices_of_mixed_size_are_refused(tmp_path: Path, make_series: Make) -> None:
    make_series(tmp_path / "ct", VOLUME)
    (tmp_path / "ct" / "00.dcm").unlink()
    make_series(tmp_path / "ct", np.zeros((1, 20, 30), np.uint16))
    with pytest.raises(InputError, match=r"its slices differ in size \(9 x 10, 20 x 30\)"):
        read_image(tmp_path / "ct")


def test_slices_without_positions_are_no_series(tmp_path: Path, make_dicom: Make) -> None:
    paths = [make_dicom(tmp_path / f"{index}.dcm", VOLUME[index]) for index in range(3)]
    with pytest.raises(InputError, match="give the files one at a time"):
        read_image(series_of(paths))


def test_a_missing_slice_warns_and_even_ones_do_not(tmp_path: Path, make_series: Make) -> None:
    paths = make_series(tmp_path / "ct", np.concatenate([VOLUME, VOLUME]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_image(series_of(paths))
    with pytest.warns(InputWarning, match=r"slices are 2\.00 to 4\.00 mm apart; some may be missing"):
        read_image(series_of(paths[:3] + paths[4:]))


def test_odd_values_in_a_header_are_no_matter_for_the_user(
    tmp_path: Path, make_series: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    for path in make_series(tmp_path / "ct", VOLUME):
        path.write_bytes(path.read_bytes().replace(b"1.2.3.4\0", b"1.02.3,a").replace(b"Somebody", b"Some\xff\xfe\\y"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (source,) = find_inputs([tmp_path / "ct"])
        assert read_image(source).shape == (1, 9, 10, 4)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("sound", "broken", "message"),
    [
        (b"0.5\\0.75", b"x.5\\0.75", "cannot be read as|state no ImageOrientationPatient or PixelSpacing"),
        (b"0.5\\0.75", b"0.5\\0.x5", "cannot be read as|state no ImageOrientationPatient or PixelSpacing"),
    ],
)
def test_spacings_that_are_no_numbers_are_one_line(
    tmp_path: Path, make_series: Make, sound: bytes, broken: bytes, message: str
) -> None:
    for path in make_series(tmp_path / "ct", VOLUME):
        path.write_bytes(path.read_bytes().replace(sound, broken))
    with pytest.raises(InputError, match=message) as caught:
        read_image(tmp_path / "ct")
    assert "\n" not in str(caught.value)


def test_a_series_number_that_is_none_does_not_matter(tmp_path: Path, make_series: Make) -> None:
    for path in make_series(tmp_path / "ct", VOLUME, SeriesNumber=12345678):
        path.write_bytes(path.read_bytes().replace(b"12345678", b"1234567x"))
    assert read_image(tmp_path / "ct").shape == (1, 9, 10, 4)


def test_a_segmentation_is_no_image(tmp_path: Path, make_dicom: Make) -> None:
    path = make_dicom(tmp_path / "seg.dcm", VOLUME[0], Modality="SEG", SOPClassUID=pydicom.uid.SegmentationStorage)
    with pytest.raises(InputError, match="is a DICOM Segmentation Storage, not an image"):
        read_image(path)
