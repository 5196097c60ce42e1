"""Headers of NIfTI, NRRD and MetaImage are checked: a right one is read as ITK reads it, a wrong one is one line."""

from __future__ import annotations

import bz2
import gzip
import os
import random
import resource
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import InputWarning, detached_data, find_inputs, hash_files, read_image, request_key
from medclipsam_monai.io.formats.volumes import read
from medclipsam_monai.io.limits import VARIABLE

VOLUME = np.arange(8 * 9 * 10, dtype="<i2").reshape(8, 9, 10)  # (z, y, x), as ITK has it
BYTES = VOLUME.tobytes()
MHA = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryData": "True",
    "CompressedData": "False",
    "TransformMatrix": "0 1 0 -1 0 0 0 0 1",
    "Offset": "1 2 3",
    "ElementSpacing": "0.5 0.75 2",
    "DimSize": "10 9 8",
    "ElementType": "MET_SHORT",
    "ElementDataFile": "LOCAL",
}
NRRD = {
    "type": "short",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "10 9 8",
    "space directions": "(0,0.5,0) (-0.75,0,0) (0,0,2)",
    "kinds": "domain domain domain",
    "encoding": "raw",
    "endian": "little",
    "space origin": "(1,2,3)",
}
Fields = dict[str, str | None]


def metaimage(path: Path, changes: Fields | None = None, data: bytes = BYTES) -> Path:
    """A MetaImage file; a field that is changed to None is left out."""
    fields = {**MHA, **(changes or {})}
    fields["ElementDataFile"] = fields.pop("ElementDataFile")  # the last of a header
    lines = [f"{key} = {value}\n" for key, value in fields.items() if value is not None]
    path.write_bytes("".join(lines).encode() + data)
    return path


def nrrd(path: Path, changes: Fields | None = None, data: bytes = BYTES) -> Path:
    """An NRRD file; a field that is changed to None is left out."""
    fields = {"space dimension": None, **NRRD, **(changes or {})}  # it stands before the vectors
    lines = [f"{key}: {value}\n" for key, value in fields.items() if value is not None]
    path.write_bytes("".join(["NRRD0004\n", *lines, "\n"]).encode() + data)
    return path


def nifti(path: Path, edit: Callable[[bytearray], None] | None = None, data: np.ndarray = VOLUME.T) -> Path:
    """A NIfTI file with its header's bytes changed; gzipped where its name says so."""
    content = bytearray(nib.Nifti1Image(data, np.diag([-0.5, -0.75, 2, 1])).to_bytes())
    if edit is not None:
        edit(content)
    path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)
    return path


def refusal(path: Path) -> str:
    """The one line that reading the file ends with, without its name."""
    with pytest.raises(InputError) as caught:
        read_image(path)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(str(path))


def assert_read_as_by_itk(path: Path) -> None:
    ours, theirs = read([path], "a"), sitk.ReadImage(str(path))
    np.testing.assert_array_equal(ours.array[..., 0].T, np.squeeze(sitk.GetArrayFromImage(theirs)))
    np.testing.assert_allclose(ours.header["spacing"], theirs.GetSpacing(), rtol=1e-12)
    np.testing.assert_allclose(ours.header["origin"], theirs.GetOrigin(), atol=1e-12)
    np.testing.assert_allclose(ours.header["direction"], theirs.GetDirection(), atol=1e-12)


@pytest.mark.parametrize(
    ("changes", "data"),
    [
        ({}, BYTES),
        ({"CompressedData": "True", "CompressedDataSize": str(len(zlib.compress(BYTES)))}, zlib.compress(BYTES)),
        ({"BinaryDataByteOrderMSB": "True"}, VOLUME.astype(">i2").tobytes()),
        ({"ElementByteOrderMSB": "True"}, VOLUME.astype(">i2").tobytes()),
        ({"ElementType": "MET_DOUBLE"}, VOLUME.astype("<f8").tobytes()),
        ({"ElementType": "MET_LONG"}, VOLUME.astype("<i4").tobytes()),
        ({"ElementType": "MET_ULONG_LONG"}, VOLUME.astype("<u8").tobytes()),
        ({"HeaderSize": "-1"}, b"rest of an old header" + BYTES),
        ({"Offset": None, "Position": "1 2 3"}, BYTES),
        ({"TransformMatrix": None, "Rotation": "0 0 1 1 0 0 0 1 0"}, BYTES),
        ({"ElementSpacing": None, "ElementSize": "2 3 4"}, BYTES),
        ({"ElementSpacing": "0.5 -0.75 2"}, BYTES),
        ({"ElementNumberOfChannels": "1", "CenterOfRotation": "0 0 0", "Comment": "a = b"}, BYTES),
        ({"BinaryData": None}, BYTES),
    ],
)
def test_metaimage_is_read_as_itk_reads_it(tmp_path: Path, changes: Fields, data: bytes) -> None:
    assert_read_as_by_itk(metaimage(tmp_path / "a.mha", changes, data))


TEXT = " ".join(map(str, VOLUME.ravel())).encode()


@pytest.mark.parametrize(
    ("changes", "data"),
    [
        ({}, BYTES),
        ({"encoding": "gzip"}, gzip.compress(BYTES)),
        ({"encoding": "ascii", "endian": None}, TEXT),
        ({"endian": "big"}, VOLUME.astype(">i2").tobytes()),
        ({"type": "unsigned long long"}, VOLUME.astype("<u8").tobytes()),
        ({"type": "float"}, VOLUME.astype("<f4").tobytes()),
        ({"space": "right-anterior-superior"}, BYTES),
        ({"space": "LAS"}, BYTES),
        ({"space": "scanner-xyz"}, BYTES),
        ({"space": None, "space dimension": "3"}, BYTES),
        ({"space": None, "space directions": None, "space origin": None, "spacings": "1 2 3"}, BYTES),
        ({"space": None, "space directions": None, "space origin": None, "spacings": "1 2 nan"}, BYTES),
        ({"byte skip": "5"}, b"skip!" + BYTES),
        ({"byte skip": "-1"}, b"skip!" + BYTES),
        ({"line skip": "2", "byte skip": "1"}, b"one\ntwo\nx" + BYTES),
        ({"kinds": None, "content": "a: b", "measurement frame": "(1,0,0) (0,1,0) (0,0,1)"}, BYTES),
    ],
)
def test_nrrd_is_read_as_itk_reads_it(tmp_path: Path, changes: Fields, data: bytes) -> None:
    assert_read_as_by_itk(nrrd(tmp_path / "a.nrrd", changes, data))


@pytest.mark.parametrize(
    ("changes", "data"),
    [
        ({"encoding": "bzip2"}, bz2.compress(BYTES)),
        ({"encoding": "hex"}, BYTES.hex().encode()),
        ({"encoding": "gzip"}, gzip.compress(BYTES[:500]) + gzip.compress(BYTES[500:])),
        ({"encoding": "gzip", "byte skip": "5"}, gzip.compress(b"skip!" + BYTES)),
    ],
)
def test_nrrd_encodings_that_itk_lacks(tmp_path: Path, changes: Fields, data: bytes) -> None:
    array = read([nrrd(tmp_path / "a.nrrd", changes, data)], "a").array
    np.testing.assert_array_equal(array[..., 0].T, VOLUME)


def test_a_compressed_metaimage_may_leave_out_its_length(tmp_path: Path) -> None:
    array = read([metaimage(tmp_path / "a.mha", {"CompressedData": "True"}, zlib.compress(BYTES))], "a").array
    np.testing.assert_array_equal(array[..., 0].T, VOLUME)


def test_colours_may_be_the_first_or_the_last_axis_of_an_nrrd(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (9, 10, 3), dtype=np.uint8)
    flat: Fields = {"type": "uchar", "space": None, "space directions": None, "space origin": None}
    first = {**flat, "sizes": "3 10 9", "kinds": "RGB-color domain domain"}
    last = {**flat, "sizes": "10 9 3", "kinds": "domain domain vector"}
    for changes, data in ((first, colours), (last, np.moveaxis(colours, -1, 0))):
        image = read_image(nrrd(tmp_path / "a.nrrd", changes, data.tobytes()))
        np.testing.assert_array_equal(image.numpy(), colours.transpose(2, 0, 1))


@pytest.mark.parametrize("kind", ["list", "HSV-color", "XYZ-color", "3-gradient", "3-normal", "covariant-vector"])
def test_three_numbers_a_voxel_that_are_no_colour_are_refused(tmp_path: Path, kind: str) -> None:
    """The layers of a segmentation of 3D Slicer, say, are a list."""
    flat: Fields = {"type": "uchar", "space": None, "space directions": None, "space origin": None}
    path = nrrd(tmp_path / "a.nrrd", {**flat, "sizes": "3 10 9", "kinds": f"{kind} domain domain"}, bytes(270))
    assert f"holds 3 numbers a voxel of the kind '{kind}', which are no colour" in refusal(path)
    grey = {**flat, "sizes": "1 10 9", "kinds": f"{kind} domain domain"}
    assert read_image(nrrd(tmp_path / "b.nrrd", grey, bytes(90))).shape == (1, 9, 10)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"NDims": "-1"}, "must be a 2-D or 3-D image, got NDims -1"),
        ({"NDims": "0"}, "must be a 2-D or 3-D image, got NDims 0"),
        ({"NDims": "100000 100000 100"}, "must be a 2-D or 3-D image, got NDims 100000 100000 100"),
        ({"NDims": "11", "DimSize": " ".join(["1"] * 11)}, "must be a 2-D or 3-D image, got NDims 11"),
        ({"NDims": "three"}, "NDims must be whole numbers, got 'three'"),
        ({"NDims": None}, "its header states no NDims"),
        ({"DimSize": "10 9"}, "DimSize must be 3 numbers, as NDims says, got '10 9'"),
        ({"DimSize": "10 -9 8"}, "must be a 2-D or 3-D image, got size (10, -9, 8)"),
        ({"DimSize": "10 0 8"}, "must be a 2-D or 3-D image, got size (10, 0, 8)"),
        ({"DimSize": "99999999999999999999 9 8"}, "DimSize must be whole numbers"),
        ({"DimSize": "1000000 1000000 1000000"}, "promises 1,000,000 x 1,000,000 x 1,000,000 = "),
        ({"DimSize": "10 9 80"}, "its header promises 14,400 bytes, it holds 1,440"),
        ({"ElementNumberOfChannels": "900000000"}, "promises 10 x 9 x 8 x 900,000,000 = "),
        ({"ElementNumberOfChannels": "-1"}, "must be a 2-D or 3-D image"),
        ({"ElementType": "MET_STRING"}, "ElementType must be one of MET_CHAR, MET_UCHAR"),
        ({"ElementSpacing": "1 1"}, "ElementSpacing must be 3 finite numbers, got '1 1'"),
        ({"ElementSpacing": "1 nan 1"}, "ElementSpacing must be 3 finite numbers"),
        ({"ElementSpacing": "1 0 1"}, "ElementSpacing must not be 0"),
        ({"Offset": "0 inf 0"}, "Offset must be 3 finite numbers"),
        ({"Offset": "0 1e38 0"}, "its affine places voxels beyond a kilometre"),
        ({"TransformMatrix": "1 0 0 0 1 0 0 0"}, "TransformMatrix must be 9 finite numbers"),
        ({"TransformMatrix": "1 0 0 1 0 0 0 0 1"}, "its affine is singular"),
        ({"CompressedData": "True"}, "cannot be read as an NRRD or MetaImage volume"),
        ({"CompressedData": "True", "CompressedDataSize": "9999"}, "its header promises 9,999 bytes, it holds 1,440"),
        ({"CompressedData": "maybe"}, "CompressedData must be True or False, got 'maybe'"),
        ({"HeaderSize": "3"}, "HeaderSize must be -1, 0 or the size of the header, got 3"),
        ({"ObjectType": "Mesh"}, "holds a MetaImage 'Mesh', not an image"),
    ],
)
def test_a_wrong_metaimage_header_is_one_line(tmp_path: Path, changes: Fields, message: str) -> None:
    assert message in refusal(metaimage(tmp_path / "a.mha", changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dimension": "0"}, "sizes must be as many numbers as dimension says (0), got 3"),
        ({"dimension": "4"}, "sizes must be as many numbers as dimension says (4), got 3"),
        ({"dimension": "-3"}, "sizes must be as many numbers as dimension says (-3), got 3"),
        ({"sizes": "10 9 -8"}, "must be a 2-D or 3-D image, got size (10, 9, -8)"),
        ({"sizes": "10 9 x"}, "sizes must be whole numbers, got '10 9 x'"),
        ({"sizes": "10 9 800"}, "its header promises 144,000 bytes, it holds 1,440"),
        ({"sizes": "10 9 800", "encoding": "gzip"}, "cannot be read as an NRRD or MetaImage volume"),
        ({"sizes": "2000 2000 1000", "encoding": "gzip"}, "promises 2,000 x 2,000 x 1,000 = 4,000,000,000 voxels"),
        ({"sizes": "2000 2000 100", "encoding": "gzip"}, "its header promises 800,000,000 bytes, it holds 1,440"),
        ({"type": "block"}, "type must be one of signed char"),
        ({"type": None}, "its header states no type"),
        ({"encoding": "zip"}, "encoding must be one of raw, txt"),
        ({"endian": None}, "its header states no endian"),
        ({"endian": "middle"}, "endian must be little or big, got 'middle'"),
        ({"space": "sideways"}, "space must be one of right-anterior-superior"),
        ({"space": None}, ""),
        ({"space dimension": "2", "space": None}, "has 3 axes in a space of 2 dimensions; they must agree"),
        ({"space directions": "(1,0,0) (0,1,0)"}, "space directions must be 3 vectors, one an axis"),
        ({"space directions": "(1,0,0) (0,nan,0) (0,0,1)"}, "space directions must be 3 finite numbers"),
        ({"space directions": "(1,0,0) (0,0,0) (0,0,1)"}, "space directions must not be zero or infinite"),
        ({"space directions": "(1,0,0) (1,0,0) (0,0,1)"}, "its affine is singular"),
        ({"space directions": "(1e38,0,0) (0,1,0) (0,0,1)"}, "its affine places voxels beyond a kilometre"),
        ({"space origin": "(0,0)"}, "space origin must be 3 finite numbers"),
        ({"space origin": "0 0 0"}, "space origin must be vectors such as (0,0,1)"),
        ({"kinds": "domain domain"}, "kinds must be 3 words, one an axis"),
        ({"kinds": "vector list domain"}, "has 2 axes outside of space"),
        ({"byte skip": "-2"}, "line skip and byte skip must not be negative"),
        ({"byte skip": "99"}, "its header promises 1,440 bytes, it holds 1,341"),
        ({"line skip": "999"}, "its header leaves out more lines than it holds"),
        ({"spade directions": "none"}, "its header holds the field 'spade directions', which NRRD lacks"),
        ({"oldmin": "1", "old min": "2"}, "its header states old min twice"),
    ],
)
def test_a_wrong_nrrd_header_is_one_line(tmp_path: Path, changes: Fields, message: str) -> None:
    if message:
        assert message in refusal(nrrd(tmp_path / "a.nrrd", changes))
    else:
        assert read_image(nrrd(tmp_path / "a.nrrd", changes)).shape[0] == 1


def write_at(place: int, kind: str, *values: float | bytes) -> Callable[[bytearray], None]:
    """Changes a NIfTI header's numbers from a byte on."""

    def edit(content: bytearray) -> None:
        struct.pack_into(f"<{kind}", content, place, *values)

    return edit


DIM, DATATYPE, PIXDIM, VOX_OFFSET, SLOPE, INTER, QCODE, SCODE, SROW = 40, 70, 76, 108, 112, 116, 252, 254, 280


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (write_at(0, "i", 347), "cannot be read as a NIfTI image: its first bytes are another file's"),
        (write_at(344, "4s", b"ni1\0"), "is no NIfTI image in one file"),
        (write_at(344, "4s", b"\0\0\0\0"), "is no NIfTI image in one file"),
        (write_at(DIM, "h", 0), "its header states 0 dimensions"),
        (write_at(DIM, "h", 768), "its header states 768 dimensions"),
        (write_at(DIM + 4, "h", -9), "must be a 2-D or 3-D image, got shape (10, -9, 8)"),
        (write_at(DIM, "4h", 3, 30000, 30000, 30000), "promises 30,000 x 30,000 x 30,000 = 27,000,000,000,000 voxels"),
        (write_at(DIM, "4h", 3, 800, 800, 800), "its header promises 1,024,000,352 bytes"),
        (write_at(DATATYPE, "h", 77), "cannot be read as a NIfTI image"),
        (write_at(VOX_OFFSET, "f", np.nan), "vox_offset must be a whole number from 352"),
        (write_at(VOX_OFFSET, "f", -352), "cannot be read as a NIfTI image"),
        (write_at(VOX_OFFSET, "f", 100), "cannot be read as a NIfTI image"),
        (write_at(VOX_OFFSET, "f", 352.5), "vox_offset must be a whole number from 352"),
        (write_at(VOX_OFFSET, "f", 1e30), "vox_offset must be a whole number from 352"),
        (write_at(VOX_OFFSET, "f", 2e8), "its header promises 200,001,440 bytes"),
        (write_at(SROW + 4, "f", np.nan), "its sform holds NaN or infinity"),
        (write_at(SROW, "f", np.inf), "its sform holds NaN or infinity"),
        (write_at(SROW, "f", 1e38), "its affine places voxels beyond a kilometre"),
        (write_at(SROW + 12, "f", -1e9), "its affine places voxels beyond a kilometre"),
        (write_at(SROW, "4f", 0, 0, 0, 0), "its affine is singular"),
        (write_at(SROW, "12f", 1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0), "its affine is singular"),
        (write_at(SLOPE, "2f", 1, np.nan), "cannot be read as a NIfTI image"),
        (write_at(SLOPE, "f", np.inf), "its scl_slope is infinite"),
        (write_at(SLOPE, "f", 1e38), "holds numbers beyond 3.4e+38"),
    ],
)
def test_a_wrong_nifti_header_is_one_line(
    tmp_path: Path, edit: Callable[[bytearray], None], message: str, suffix: str
) -> None:
    assert message in refusal(nifti(tmp_path / f"a{suffix}", edit))


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_a_pixdim_counts_only_where_there_is_no_sform(tmp_path: Path, value: float) -> None:
    def without_sform(content: bytearray) -> None:
        write_at(QCODE, "2h", 1, 0)(content)
        write_at(PIXDIM + 4, "f", value)(content)

    assert "its pixdim must be positive where there is no sform" in refusal(nifti(tmp_path / "a.nii", without_sform))
    image = read_image(nifti(tmp_path / "b.nii", write_at(PIXDIM + 4, "f", value)))
    assert image.meta["spacing"] == (0.75, 0.5, 2.0)


@pytest.mark.parametrize("slope", [0.0, np.nan])
def test_a_slope_of_0_or_none_scales_nothing(tmp_path: Path, slope: float) -> None:
    image = read_image(nifti(tmp_path / "a.nii", write_at(SLOPE, "2f", slope, 7)))
    np.testing.assert_array_equal(image.numpy()[0], VOLUME.transpose(1, 2, 0))


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", ">i2", ">f4"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_every_nifti_type_of_number_is_scaled(tmp_path: Path, dtype: str, suffix: str) -> None:
    data = (VOLUME % 100).astype(dtype).T
    header = nib.Nifti1Header(endianness=">" if dtype[0] == ">" else "<")
    image = nib.Nifti1Image(data, np.diag([-1.0, -1, 1, 1]), header, dtype=data.dtype.newbyteorder("="))
    image.header.set_slope_inter(2, -3)
    nib.save(image, tmp_path / f"a{suffix}")
    content = (tmp_path / f"a{suffix}").read_bytes()
    stored = nib.load(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(
        read_image(tmp_path / f"a{suffix}").numpy()[0],
        np.asarray(stored.dataobj).transpose(1, 0, 2),
        err_msg=content[:4],
    )


def test_nifti_2_and_a_header_with_extensions_are_read(tmp_path: Path) -> None:
    image = nib.Nifti2Image(VOLUME.T, np.diag([-1.0, -1, 1, 1]))
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 5000))
    nib.save(image, tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_image(tmp_path / "a.nii.gz").numpy()[0], VOLUME.transpose(1, 2, 0))


def test_an_extension_that_never_ends_is_passed_over(tmp_path: Path) -> None:
    def edit(content: bytearray) -> None:
        content[348:352] = b"\1\0\0\0"
        content[352:352] = struct.pack("<2i", 0, 6) + bytes(8)
        write_at(VOX_OFFSET, "f", 368)(content)

    np.testing.assert_array_equal(read_image(nifti(tmp_path / "a.nii", edit)).numpy()[0], VOLUME.transpose(1, 2, 0))


def test_compression_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    nifti(tmp_path / "a.nii.gz").rename(tmp_path / "gzipped.nii")
    nifti(tmp_path / "b.nii").rename(tmp_path / "plain.nii.gz")
    for name in ("gzipped.nii", "plain.nii.gz"):
        np.testing.assert_array_equal(read_image(tmp_path / name).numpy()[0], VOLUME.transpose(1, 2, 0))


def test_a_gzip_checksum_that_does_not_fit_is_one_line(tmp_path: Path) -> None:
    path = nifti(tmp_path / "a.nii.gz")
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)
    assert "CRC check failed" in refusal(path)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.mha", "a.nrrd"])
def test_more_data_than_the_header_promises_is_a_warning(tmp_path: Path, name: str) -> None:
    more = BYTES + b"more"
    makers = {".mha": lambda: metaimage(tmp_path / name, data=more), ".nrrd": lambda: nrrd(tmp_path / name, data=more)}
    path = makers.get(Path(name).suffix, lambda: nifti(tmp_path / name, lambda content: content.extend(b"more")))()
    with pytest.warns(InputWarning, match="holds more data than its header promises; they are not read"):
        assert read_image(path).numel() == VOLUME.size


BOMBS: dict[str, Callable[[Path], None]] = {
    "voxels.nii.gz": lambda path: _bomb(path, (1000, 1000, 1000)),
    "beyond.nii.gz": lambda path: _bomb(path, (10, 9, 8)),
    "a.nrrd": lambda path: nrrd(path, {"sizes": "800 800 800", "encoding": "gzip"}, gzip.compress(bytes(2**20))),
    "a.mha": lambda path: metaimage(path, {"DimSize": "800 800 800", "CompressedData": "True"}, zlib.compress(BYTES)),
}


def _bomb(path: Path, shape: tuple[int, int, int]) -> None:
    """A .nii.gz of a header and 100 million zeros in 100 kilobytes."""
    header = bytearray(nib.Nifti1Image(VOLUME.T, np.eye(4)).to_bytes()[:352])
    write_at(DIM, "4h", 3, *shape)(header)
    with gzip.open(path, "wb", compresslevel=9) as file:
        file.write(header)
        for _ in range(100):
            file.write(bytes(10**6))


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_takes_neither_memory_nor_time(tmp_path: Path, name: str) -> None:
    BOMBS[name](tmp_path / name)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limits = resource.getrlimit(resource.RLIMIT_AS)
    room = pages * os.sysconf("SC_PAGE_SIZE") + 150 * 2**20
    start = time.process_time()
    resource.setrlimit(resource.RLIMIT_AS, (room, limits[1]))
    try:
        if name == "beyond.nii.gz":
            with pytest.warns(InputWarning, match="holds more data than its header promises"):
                assert read_image(tmp_path / name).shape == (1, 9, 10, 8)
        else:
            line = refusal(tmp_path / name)
            assert "promises" in line and "memory" not in line
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    assert time.process_time() - start < 1


def test_the_limit_is_raised_by_its_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = nifti(tmp_path / "a.nii")
    monkeypatch.setenv(VARIABLE, "719")
    assert refusal(path) == (
        ": promises 10 x 9 x 8 = 720 voxels, the limit is 719; if that is right, raise it by --max-voxels 720 or "
        "MEDCLIPSAM_MAX_VOXELS=720"
    )
    monkeypatch.setenv(VARIABLE, "720")
    assert read_image(path).numel() == 720


HEADERS: dict[str, Callable[[Path, str], Path]] = {
    "a.mhd": lambda path, name: metaimage(path, {"ElementDataFile": name}, b""),
    "a.mha": lambda path, name: metaimage(path, {"ElementDataFile": name}, b""),
    "a.nhdr": lambda path, name: nrrd(path, {"data file": name}, b""),
    "a.nrrd": lambda path, name: nrrd(path, {"datafile": name}, b""),
}


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("name", ["a.raw", "./a.raw", "with blanks.raw"])
def test_voxels_beside_their_header_are_read_and_hashed(tmp_path: Path, header: str, name: str) -> None:
    path = HEADERS[header](tmp_path / header, name)
    data = tmp_path / name
    data.write_bytes(BYTES)
    np.testing.assert_array_equal(read([path], "a").array[..., 0].T, VOLUME)
    assert detached_data(path) == data
    (source,) = find_inputs([tmp_path])
    assert source.paths == (path,) and source.files == (path, data)
    keys = []
    for last in (b"", b"x"):
        data.write_bytes(BYTES[: len(BYTES) - len(last)] + last)
        keys.append(request_key({"lungs": ["lungs"]}, "demo", {}, {}, hash_files(source.files)))
    assert keys[0] != keys[1]


def test_a_whole_image_is_its_only_file(tmp_path: Path) -> None:
    for path in (metaimage(tmp_path / "a.mha"), nrrd(tmp_path / "a.nrrd"), nifti(tmp_path / "a.nii")):
        (source,) = find_inputs([path])
        assert source.files == (path,)


@pytest.mark.parametrize("header", HEADERS)
def test_a_file_that_is_only_a_headers_voxels_is_no_image(tmp_path: Path, header: str) -> None:
    path = HEADERS[header](tmp_path / header, "voxels.nii")
    (tmp_path / "voxels.nii").write_bytes(BYTES)
    nifti(tmp_path / "other.nii")
    assert [source.paths[0].name for source in find_inputs([tmp_path])] == [path.name, "other.nii"]
    found = {source.paths[0].name for source in find_inputs([f"{tmp_path}/*.n*", path])}
    assert found == {path.name, "other.nii"}


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("{outside}/secret.raw", "its data file must lie beside it and be named without a folder"),
        ("../outside/secret.raw", "its data file must lie beside it and be named without a folder"),
        ("sub/secret.raw", "its data file must lie beside it and be named without a folder"),
        ("..\\outside\\secret.raw", "its data file must lie beside it and be named without a folder"),
        ("..", "its data file must lie beside it and be named without a folder"),
        ("link.raw", "its data file 'link.raw' is a link to another folder"),
        ("fifo.raw", "cannot be read, its data file 'fifo.raw' is not beside it"),
        ("none.raw", "cannot be read, its data file 'none.raw' is not beside it"),
        ("LIST", "names several data files"),
        ("slice%03d.raw 1 8 1", "names several data files"),
    ],
)
def test_voxels_elsewhere_are_never_read(tmp_path: Path, header: str, name: str, message: str) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in (inside, inside / "sub", outside):
        folder.mkdir()
        (folder / "secret.raw").write_bytes(BYTES)
    (inside / "link.raw").symlink_to(outside / "secret.raw")
    os.mkfifo(inside / "fifo.raw")
    path = HEADERS[header](inside / header, name.format(outside=outside))
    assert message in refusal(path)
    with pytest.raises(InputError):
        detached_data(path)


def test_a_link_within_the_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real.raw").write_bytes(BYTES)
    (tmp_path / "link.raw").symlink_to("real.raw")
    header = HEADERS["a.mhd"](tmp_path / "a.mhd", "link.raw")
    np.testing.assert_array_equal(read([header], "a").array[..., 0].T, VOLUME)


def mutated(whole: bytes, chance: random.Random) -> bytes:
    """A file with a few of its header's bytes, words or lines damaged, or its end cut off."""
    content = bytearray(whole)
    for _ in range(chance.choice([1, 2, 5])):
        place = chance.randrange(min(350, len(content)))
        kind = chance.randrange(4)
        if kind == 0:
            content[place] = chance.randrange(256)
        elif kind == 1:
            content[place : place + 4] = chance.choice([b"-1", b"99999", b"nan", b"1e38", b""])
        elif kind == 2:
            del content[place : place + chance.randrange(1, 30)]
        else:
            del content[chance.randrange(len(content)) :]
        content = content or bytearray(b"x")
    return bytes(content)


VOLUMES: dict[str, Callable[[Path], Path]] = {
    "raw.mha": metaimage,
    "zlib.mha": lambda path: metaimage(path, {"CompressedData": "True"}, zlib.compress(BYTES)),
    "raw.nrrd": nrrd,
    "gzip.nrrd": lambda path: nrrd(path, {"encoding": "gzip"}, gzip.compress(BYTES)),
    "text.nrrd": lambda path: nrrd(path, {"encoding": "text"}, TEXT),
    "a.nii": nifti,
    "a.nii.gz": nifti,
}


@pytest.mark.filterwarnings("ignore:.*holds more data than its header promises")
@pytest.mark.parametrize("name", VOLUMES)
def test_a_damaged_volume_is_an_image_or_one_line(tmp_path: Path, name: str) -> None:
    path, chance = VOLUMES[name](tmp_path / name), random.Random(0)
    whole, refused = path.read_bytes(), 0
    for _ in range(100):
        path.write_bytes(mutated(whole, chance))
        try:
            assert np.isfinite(read_image(path).numpy()).any()
        except InputError as error:
            assert "\n" not in str(error)
            refused += 1
    assert 50 < refused <= 100
