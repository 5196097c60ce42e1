"""Where slices lie: uneven rows, tilted gantries, headers that round, copies, and files that promise too much."""

from __future__ import annotations

import shutil
import time
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pydicom.uid
import pytest
from dicom_files import functional_groups
from pydicom.dataset import Dataset

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import ImageSource, InputWarning, find_inputs, read_image
from medclipsam_monai.io.dicom.reader import read_dicom
from medclipsam_monai.io.formats.stored import StoredImage

Make = Callable[..., Any]
NORMAL = np.array([0, 0, 1.0])


def read_at(tmp_path: Path, make_dicom: Make, points: list[Any], **tags: Any) -> StoredImage:
    """A series whose slice i holds the number i and lies at points[i] (mm from foot to head, or a whole position)."""
    paths = []
    for number, point in enumerate(points):
        position = [10.0, 20.0, float(point)] if np.ndim(point) == 0 else list(map(float, point))
        placed = {
            "ImagePositionPatient": position,
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "PixelSpacing": [0.5, 0.75],
            **tags,
        }
        paths.append(make_dicom(tmp_path / f"{number:03}.dcm", np.full((8, 9), number, np.uint16), **placed))
    return read_dicom(paths, "ct")


@pytest.mark.parametrize(
    ("places", "step", "said"),
    [
        ([0, 2, 4, 27, 29], 2, "2.00 to 23.00 mm apart"),  # a hole of 23 mm
        ([0, 5, 10, 12.5, 15], 2.5, "2.50 to 5.00 mm apart"),  # two parts
        ([29, 0, 27, 4, 2], 2, "2.00 to 23.00 mm apart"),
        ([*range(20), 21], 1, "1.00 to 2.00 mm apart"),
        ([*range(100), *(99 + 1.04 * i for i in range(1, 100))], 1, "1.00 to 1.04 mm apart"),  # 2 mm off in the middle
    ],
)
def test_uneven_slices_keep_their_distances(
    tmp_path: Path, make_dicom: Make, places: list[float], step: float, said: str
) -> None:
    with pytest.warns(InputWarning, match=said):
        stored = read_at(tmp_path, make_dicom, places)
    order = np.argsort(places)
    np.testing.assert_allclose(stored.slice_positions, np.array(places)[order] - min(places), atol=1e-6)
    np.testing.assert_allclose(stored.affine[:3, 2], step * NORMAL, rtol=0.03)
    np.testing.assert_allclose(stored.affine[:3, 3], [-10, -20, min(places)])
    assert stored.array[0, 0, :, 0].tolist() == order.tolist()


@pytest.mark.parametrize("places", [[0, 2, 4, 6], [0, 1.99, 4.01, 6], [0, 2], [0.004, 2, 3.996, 6], [0, -3, -6, -9]])
def test_even_slices_have_none(tmp_path: Path, make_dicom: Make, places: list[float]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stored = read_at(tmp_path, make_dicom, places)
    assert stored.slice_positions is None
    assert stored.affine[2, 2] == pytest.approx((max(places) - min(places)) / (len(places) - 1))


def test_distances_reach_the_geometry_of_a_read_image(tmp_path: Path, make_dicom: Make) -> None:
    with pytest.warns(InputWarning, match="a mask file with even slices has one every 2.00 mm"):
        read_at(tmp_path / "ct", make_dicom, [0, 2, 4, 27])
    with pytest.warns(InputWarning):
        image = read_image(tmp_path / "ct")
    assert image.meta["geometry"].slice_positions == (0, 2, 4, 27)


def test_a_hole_that_no_grid_can_hold_is_refused(
    tmp_path: Path, make_dicom: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDCLIPSAM_MAX_VOXELS", "1000")
    with pytest.warns(InputWarning), pytest.raises(InputError, match=r"promises 9 x 8 x 26 = 1,872 voxels"):
        read_at(tmp_path, make_dicom, [0, 1, 25])


@pytest.mark.parametrize(("shift", "sheared"), [(0.002, False), (1.5, True), (-3.0, True)])
def test_a_tilted_gantry_is_a_shear_and_rounding_is_none(
    tmp_path: Path, make_dicom: Make, shift: float, sheared: bool
) -> None:
    stored = read_at(tmp_path, make_dicom, [(10, 20 + shift * i, 5 * i) for i in range(4)])
    expected = np.diag([-1, -1, 1]) @ [0, shift if sheared else 0, 5]
    np.testing.assert_allclose(stored.affine[:3, 2], expected, atol=1e-9)
    assert stored.slice_positions is None


def test_uneven_slices_of_a_tilted_gantry_are_measured_along_their_row(tmp_path: Path, make_dicom: Make) -> None:
    with pytest.warns(InputWarning, match="5.00 to 10.00 mm"):
        stored = read_at(tmp_path, make_dicom, [(10, 20 + 3 * i, 4 * i) for i in (0, 1, 3)])
    assert stored.slice_positions == pytest.approx((0, 5, 15))
    np.testing.assert_allclose(stored.affine[:3, 2], [0, -3, 4], atol=1e-9)


def test_slices_beside_their_row_are_said(tmp_path: Path, make_dicom: Make) -> None:
    with pytest.warns(InputWarning, match=r"do not lie in one straight row; some are 8\.00 mm aside"):
        read_at(tmp_path, make_dicom, [(10, 20, 0), (18, 20, 2), (10, 20, 4), (10, 20, 6)])


def test_cosines_that_round_are_orthonormal(tmp_path: Path, make_dicom: Make) -> None:
    rounded = [0.9994, 0.0349, 0.0, -0.0341, 0.9994, 0.0035]
    stored = read_at(tmp_path, make_dicom, [0], ImageOrientationPatient=rounded)
    axes = stored.affine[:3, :3] / np.linalg.norm(stored.affine[:3, :3], axis=0)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-12)
    nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), stored.affine).set_qform(stored.affine, strip_shears=False)


def test_spacings_that_differ_by_rounding_are_one(tmp_path: Path, make_dicom: Make) -> None:
    tags = [{"PixelSpacing": ["0.488281", "0.488281"]}, {"PixelSpacing": ["0.48828125", "0.48828125"]}]
    common = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
    for number in range(4):
        tag = {**common, **tags[number % 2], "ImagePositionPatient": [0, 0, 2 * number]}
        make_dicom(tmp_path / "ct" / f"{number}.dcm", np.full((8, 9), number, np.uint16), **tag)
    assert read_image(tmp_path / "ct").meta["spacing"] == pytest.approx((0.488281, 0.488281, 2), abs=1e-6)


@pytest.mark.parametrize("resend", [False, True])
def test_a_copy_of_a_slice_is_used_once_and_said(tmp_path: Path, make_series: Make, resend: bool) -> None:
    volume = np.random.default_rng(0).integers(0, 99, (4, 8, 9)).astype(np.uint16)
    paths = make_series(tmp_path / "ct", volume)
    copy = tmp_path / "ct" / "01 (1).dcm"
    shutil.copy(paths[1], copy)
    if resend:  # the same slice under another name
        header = pydicom.dcmread(copy)
        header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        header.save_as(copy)
    with pytest.warns(InputWarning, match=r"1 of 5 files are copies of another slice and left out: 01"):
        image = read_image(tmp_path / "ct")
    np.testing.assert_array_equal(image.numpy()[0], volume.transpose(1, 2, 0))


def test_one_identifier_for_all_slices_does_not_make_them_copies(tmp_path: Path, make_series: Make) -> None:
    volume = np.arange(4 * 72, dtype=np.uint16).reshape(4, 8, 9)
    make_series(tmp_path / "ct", volume, SOPInstanceUID="1.2.3.9")
    np.testing.assert_array_equal(read_image(tmp_path / "ct").numpy()[0], volume.transpose(1, 2, 0))


def test_enhanced_objects_of_one_frame_are_one_volume(tmp_path: Path, make_dicom: Make) -> None:
    volume = np.arange(5 * 72, dtype=np.uint16).reshape(5, 8, 9)
    for number, plane in enumerate(volume):
        tags = {"SOPClassUID": pydicom.uid.EnhancedCTImageStorage, **functional_groups([-2.0 * number])}
        make_dicom(tmp_path / "ct" / f"{number}.dcm", plane[None], **tags)
    image = read_image(tmp_path / "ct")
    np.testing.assert_array_equal(image.numpy()[0], volume[::-1].transpose(1, 2, 0))
    assert image.meta["spacing"] == (0.5, 0.75, 2) and find_inputs([tmp_path / "ct"])[0].stem == "ct"


def test_a_series_is_cut_in_its_own_plane(tmp_path: Path, make_series: Make) -> None:
    volume = np.random.default_rng(0).integers(0, 99, (3, 20, 30)).astype(np.uint16)
    make_series(tmp_path / "mr", volume, directions=(0, 1, 0, 0, 0, -1), step=4)
    image = read_image(tmp_path / "mr")
    assert image.meta["plane"] == "sagittal" and image.shape == (1, 20, 30, 3)
    assert {tuple(plane.ravel()) for plane in image.numpy()[0].transpose(2, 0, 1)} == {tuple(p.ravel()) for p in volume}
    with pytest.raises(InputError, match="is 30 x 3 pixels"):
        read_image(tmp_path / "mr", "axial")


def refused_at_once(path: Path, message: str) -> None:
    start = time.process_time()
    with pytest.raises(InputError, match=message):
        read_dicom([path], str(path))
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"NumberOfFrames": 10**7}, "its header promises too many pixels"),
        ({"Rows": 65535, "Columns": 65535}, "its header promises too many pixels"),
        ({"NumberOfFrames": 10**7, "RLE": True}, "its header promises too many pixels"),
        ({"Rows": 65535, "Columns": 65535, "RLE": True}, "its header promises too many pixels"),
        ({"BitsStored": 17}, "states 17 of 16 bits"),
        ({"NumberOfFrames": -3}, "states -3 frames"),
        ({"Columns": 0}, "states 1 x 8 x 0 pixels"),
        ({"SamplesPerPixel": 7}, "of 7 samples"),
    ],
)
def test_promises_are_refused_from_the_header(
    tmp_path: Path, make_dicom: Make, tags: dict[str, Any], message: str
) -> None:
    path = make_dicom(tmp_path / "a.dcm", np.zeros((8, 9), np.uint16))
    header = pydicom.dcmread(path)
    if tags.pop("RLE", False):
        header.compress(pydicom.uid.RLELossless)
    for name, value in tags.items():
        setattr(header, name, value)
    header.save_as(path)
    refused_at_once(path, message)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("MR_small_jp2klossless.dcm", "64 x 64"),
        ("MR_small_jpeg_ls_lossless.dcm", "64 x 64"),
        ("JPGExtended.dcm", "1024 x 256"),
        ("SC_rgb_jpeg_dcmtk.dcm", "100 x 100"),
    ],
)
def test_compressed_pixels_have_the_size_that_the_header_states(tmp_path: Path, name: str, size: str) -> None:
    header = pydicom.dcmread(Path(pydicom.__file__).parent / "data" / "test_files" / name)
    header.Rows = 20000
    header.save_as(tmp_path / "a.dcm")
    refused_at_once(tmp_path / "a.dcm", rf"promises 20000 x \d+ pixels .* its compressed pixels are {size}")


def test_a_deflated_bomb_is_refused_before_it_is_in_memory(
    tmp_path: Path, make_dicom: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDCLIPSAM_MAX_VOXELS", str(10**6))
    path = make_dicom(tmp_path / "a.dcm", np.zeros((8, 9), np.uint16))
    header = pydicom.dcmread(path)
    header.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    header.save_as(path)
    assert read_dicom([path], "a").array.shape == (8, 9, 1)
    content = path.read_bytes()
    meta = pydicom.filereader.read_file_meta_info(path)
    start = 132 + 12 + int(meta.FileMetaInformationGroupLength)
    inside = zlib.decompress(content[start:], -zlib.MAX_WBITS)
    squeeze = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    path.write_bytes(content[:start] + squeeze.compress(inside + bytes(2 * 10**6)) + squeeze.flush())
    assert path.stat().st_size < 10_000
    refused_at_once(path, "the limit is 1,000,000")


def test_sequences_nested_deep_are_one_line(tmp_path: Path, make_dicom: Make) -> None:
    inner = b""
    for _ in range(3000):  # undefined lengths, each item in the one before
        inner = b"\x40\x00\x75\x02SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" + inner
    path = make_dicom(tmp_path / "a.dcm", np.zeros((8, 9), np.uint16))
    content = path.read_bytes()
    at = content.index(b"\xe0\x7f\x10\x00")
    path.write_bytes(content[:at] + inner + content[at:])
    start = time.process_time()
    with pytest.raises(InputError) as caught:
        read_dicom([path], str(path))
    assert "\n" not in str(caught.value) and time.process_time() - start < 5


def test_a_series_larger_than_the_limit_is_refused(
    tmp_path: Path, make_series: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDCLIPSAM_MAX_VOXELS", "200")
    make_series(tmp_path / "ct", np.zeros((3, 8, 9), np.uint16))
    with pytest.raises(InputError, match="promises 3 x 8 x 9 = 216 voxels"):
        read_image(tmp_path / "ct")


@pytest.mark.parametrize("form", ["implicit", "explicit", "meta"])
@pytest.mark.parametrize("name", ["a.dcm", "1.2.840.113619.2.55", "IM1"])
def test_a_file_without_preamble_is_read(tmp_path: Path, make_dicom: Make, form: str, name: str) -> None:
    pixels = np.arange(72, dtype=np.uint16).reshape(8, 9)
    path = make_dicom(tmp_path / "whole.dcm", pixels)
    if form == "meta":  # the file meta information without the preamble in front
        content = path.read_bytes()[132:]
    else:
        header = pydicom.dcmread(path)
        bare = Dataset({element.tag: element for element in header})
        from pydicom.filebase import DicomBytesIO
        from pydicom.filewriter import write_dataset

        file = DicomBytesIO()
        file.is_little_endian, file.is_implicit_VR = True, form == "implicit"
        write_dataset(file, bare)
        content = file.getvalue()
    path.unlink()
    (tmp_path / name).write_bytes(content)
    (source,) = find_inputs([tmp_path])
    np.testing.assert_array_equal(read_image(source).numpy()[0], pixels)


def test_a_random_file_does_not_become_dicom(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    starts = [b"\x08\x00\x05\x00", b"\x08\x00\x16\x00UI", b"\x02\x00\x00\x00UL\x04\x00", b"", b"\x00\x08\x00\x05CS"]
    for number in range(50):
        (tmp_path / f"data{number}").write_bytes(starts[number % 5] + generator.bytes(3000))
    with pytest.raises(InputError, match="no image in this folder"):
        find_inputs([tmp_path])


def test_a_source_made_by_hand_is_checked_like_one_that_was_found(tmp_path: Path, make_dicom: Make) -> None:
    path = make_dicom(tmp_path / "a.dcm", np.zeros((8, 9), np.uint16), Modality="SEG")
    with pytest.raises(InputError, match="is a DICOM CT Image Storage, not an image to segment"):
        read_image(ImageSource((path,), "dicom", "a"))


def test_other_pixels_in_one_place_are_no_copy_whatever_their_identifier(tmp_path: Path, make_series: Make) -> None:
    volume = np.arange(4 * 72, dtype=np.uint16).reshape(4, 8, 9)
    for folder in ("early", "late"):  # as of an anonymiser that gives all files one identifier
        make_series(tmp_path / "ct" / folder, volume + (folder == "late"), SOPInstanceUID="1.2.3.9")
    (source,) = find_inputs([tmp_path / "ct"])
    with pytest.raises(InputError, match="4 of 8 slices lie where another one does"):
        read_image(source)


def test_a_picture_has_the_spacing_of_its_functional_groups(tmp_path: Path, make_dicom: Make) -> None:
    groups = functional_groups([0.0])
    del groups["PerFrameFunctionalGroupsSequence"], groups["SharedFunctionalGroupsSequence"][0].PlaneOrientationSequence
    tags = {"SOPClassUID": pydicom.uid.EnhancedXAImageStorage, "NumberOfFrames": 1, **groups}
    image = read_image(make_dicom(tmp_path / "xa.dcm", np.zeros((8, 9), np.uint16), **tags))
    assert image.shape == (1, 8, 9) and image.meta["spacing"] == (0.5, 0.75)


@pytest.mark.parametrize("apart", [3.0, -3.0])
def test_a_tomography_of_nuclear_medicine_lies_where_its_detector_says(
    tmp_path: Path, make_dicom: Make, apart: float
) -> None:
    detector, volume = Dataset(), np.arange(5 * 72, dtype=np.uint16).reshape(5, 8, 9)
    detector.ImagePositionPatient, detector.ImageOrientationPatient = [10, 20, 30], [1, 0, 0, 0, 0, -1]
    tags = {
        "SOPClassUID": pydicom.uid.NuclearMedicineImageStorage,
        "ImageType": ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"],
        "DetectorInformationSequence": [detector],
        "SliceVector": [2, 1, 3, 4, 5],
        "SpacingBetweenSlices": apart,
        "PixelSpacing": [0.5, 0.75],
    }
    stored = read_dicom([make_dicom(tmp_path / "nm.dcm", volume, **tags)], "nm")
    for frame, place in enumerate((1, 0, 2, 3, 4)):  # coronal, so the normal runs to the patient's back: +y in LPS
        (index,) = (i for i in range(5) if np.array_equal(stored.array[:, :, i, 0].T, volume[frame]))
        np.testing.assert_allclose((stored.affine @ [0, 0, index, 1])[:3], [-10, -(20 + apart * place), 30])
