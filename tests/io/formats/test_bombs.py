"""Small files that promise, or hold within, far more than they say: refused before memory or time is taken."""

from __future__ import annotations

import bz2
import gzip
import io
import struct
import zlib
from pathlib import Path

import imagecodecs
import nibabel as nib
import numpy as np
import pytest
import tifffile
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless, SecondaryCaptureImageStorage, generate_uid

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import read_image
from medclipsam_monai.io.dicom.saving import save_dicom
from medclipsam_monai.io.limits import VARIABLE

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 255, (64, 48), dtype=np.uint8)
LARGE = np.zeros((2000, 2000), np.uint8)


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as raised:
        read_image(path)
    line = str(raised.value)
    assert line.startswith(str(path)) and "\n" not in line
    return line.removeprefix(str(path))


def nrrd(path: Path, encoding: str, data: bytes, skip: int = 0) -> Path:
    fields = ["NRRD0004", "type: uchar", "dimension: 2", "sizes: 48 64", f"encoding: {encoding}", f"byte skip: {skip}"]
    path.write_bytes("\n".join(fields).encode() + b"\n\n" + data)
    return path


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("bzip2", bz2.compress)])
def test_bytes_to_leave_out_are_left_out_and_limited(tmp_path: Path, encoding: str, compress) -> None:
    content = bytes(3_000_000) + GREY.tobytes()
    parts = compress(content[:1_500_000]) + compress(content[1_500_000:])
    image = read_image(nrrd(tmp_path / "a.nrrd", encoding, parts, 3_000_000))
    np.testing.assert_array_equal(image[0].numpy(), GREY)
    assert "its header promises 3,003,073 bytes, it holds 3,003,072" in refusal(
        nrrd(tmp_path / "short.nrrd", encoding, parts, 3_000_001)
    )
    assert ": byte skip must be at most 268435456, got 10000000000" in refusal(
        nrrd(tmp_path / "far.nrrd", encoding, parts, 10**10)
    )


@pytest.mark.parametrize("size", [10**11, 9 * 10**18])
def test_a_compressed_size_beyond_the_file_is_refused_as_such(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.mha"
    head = f"NDims = 2\nDimSize = 48 64\nElementType = MET_UCHAR\nCompressedData = True\nCompressedDataSize = {size}\n"
    path.write_bytes(head.encode() + b"ElementDataFile = LOCAL\n" + zlib.compress(GREY.tobytes()))
    assert f"its header promises {size:,} bytes" in refusal(path)


def test_complex_numbers_are_refused_before_they_are_read(tmp_path: Path) -> None:
    content = bytearray(nib.Nifti1Image(np.zeros((20, 20, 20), np.complex128), np.eye(4)).to_bytes())
    (tmp_path / "a.nii").write_bytes(content[:400])
    assert refusal(tmp_path / "a.nii") == ": holds complex numbers; save their magnitude"


def test_the_colours_of_rgb_volumes_and_of_palettes_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    colours = np.zeros((20, 20, 20), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(colours, np.eye(4)), tmp_path / "a.nii.gz")
    palette = Image.fromarray(GREY).convert("P")
    palette.save(tmp_path / "a.png")
    tifffile.imwrite(
        tmp_path / "a.tif", GREY, photometric="palette", colormap=np.zeros((3, 256), np.uint16), metadata=None
    )
    monkeypatch.setenv(VARIABLE, "24000")
    assert read_image(tmp_path / "a.nii.gz").shape == (3, 20, 20, 20)
    monkeypatch.setenv(VARIABLE, "23999")
    assert "promises 20 x 20 x 20 x 3 = 24,000 voxels" in refusal(tmp_path / "a.nii.gz")
    monkeypatch.setenv(VARIABLE, str(GREY.size * 3 - 1))
    for name in ("a.png", "a.tif"):
        assert "promises 64 x 48 x 3 = 9,216 voxels" in refusal(tmp_path / name)


def test_a_jpeg_of_endless_scans_is_refused(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(GREY).save(file, "JPEG", progressive=True)
    content = file.getvalue()
    (tmp_path / "a.jpg").write_bytes(content)
    last = content.rindex(b"\xff\xda")
    (tmp_path / "many.jpg").write_bytes(content[:last] + content[last:-2] * 600 + content[-2:])
    assert read_image(tmp_path / "a.jpg").shape == (1, 64, 48)
    assert "scans; at most 500 a picture are decoded" in refusal(tmp_path / "many.jpg")


def tiff(path: Path, data: bytes, compression: int, tiled: bool) -> Path:
    """A TIFF of 64 x 48 pixels whose one segment is ``data``."""
    tags = {256: 48, 257: 64, 258: 8, 259: compression, 262: 1, 277: 1}
    tags |= {322: 48, 323: 64, 324: 0, 325: len(data)} if tiled else {273: 0, 278: 64, 279: len(data)}
    tags[324 if tiled else 273] = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    path.write_bytes(b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4) + data)
    return path


@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize(
    ("compression", "encode", "reads"),
    [
        (7, imagecodecs.jpeg8_encode, True),
        (34712, imagecodecs.jpeg2k_encode, True),
        (34933, imagecodecs.png_encode, False),
        (50002, imagecodecs.jpegxl_encode, False),
        (34887, imagecodecs.lerc_encode, False),
        (34934, imagecodecs.jpegxr_encode, False),
    ],
)
def test_a_tiff_segment_is_no_larger_than_its_page(tmp_path: Path, compression, encode, reads, tiled) -> None:
    path = tiff(tmp_path / "large.tif", encode(LARGE), compression, tiled)
    words = "a strip's own size is not the page's" if reads else "which is not read; save it with LZW"
    assert words in refusal(path)
    if reads:
        image = read_image(tiff(tmp_path / "right.tif", encode(GREY), compression, tiled))
        assert np.abs(image[0].numpy() - GREY).max() < 60


@pytest.mark.parametrize("options", [{"planarconfig": "separate"}, {"tile": (32, 32)}, {"rowsperstrip": 16}])
def test_honest_jpeg_segments_are_read(tmp_path: Path, options) -> None:
    ramp = np.tile(np.linspace(0, 255, 48).astype(np.uint8), (64, 1))
    planes = np.stack([ramp] * 3, axis=0 if "planarconfig" in options else -1)
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="rgb", compression="jpeg", **options)
    image = read_image(tmp_path / "a.tif").numpy()
    assert image.shape == (3, 64, 48) and np.abs(image - ramp).max() < 20


def dicom(path: Path, syntax: str, frames: list[bytes]) -> Path:
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = syntax
    header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    header.Rows, header.Columns, header.NumberOfFrames = 64, 48, len(frames)
    header.SamplesPerPixel, header.PhotometricInterpretation, header.Modality = 1, "MONOCHROME2", "OT"
    header.BitsAllocated = header.BitsStored = 8
    header.HighBit, header.PixelRepresentation = 7, 0
    header.PixelData = encapsulate(frames)
    header["PixelData"].is_undefined_length = True
    save_dicom(header, path)
    return path


@pytest.mark.parametrize(
    ("syntax", "encode"),
    [(JPEGLSLossless, imagecodecs.jpegls_encode), (JPEG2000Lossless, lambda a: imagecodecs.jpeg2k_encode(a, level=0))],
)
def test_every_frame_has_the_size_that_the_header_says(tmp_path: Path, syntax: str, encode) -> None:
    image = read_image(dicom(tmp_path / "right.dcm", syntax, [encode(GREY), encode(GREY // 2)]))
    np.testing.assert_array_equal(image[0].numpy(), np.stack([GREY, GREY // 2], axis=-1))
    path = dicom(tmp_path / "large.dcm", syntax, [encode(GREY), encode(LARGE)])
    assert ": promises 64 x 48 pixels (rows x columns), its compressed pixels are 2000 x 2000" in refusal(path)


def test_a_run_length_encoded_frame_is_no_longer_than_encoding_makes_it(tmp_path: Path) -> None:
    header = struct.pack("<16I", 1, 64, *[0] * 14)
    image = read_image(dicom(tmp_path / "right.dcm", RLELossless, [header + b"\x81\x07" * 24]))
    np.testing.assert_array_equal(image[0].numpy(), 7)
    path = dicom(tmp_path / "long.dcm", RLELossless, [header + b"\x81\x07" * 10_000])
    assert ": has a compressed frame of 20,064 bytes for 3,072 bytes of pixels" in refusal(path)
