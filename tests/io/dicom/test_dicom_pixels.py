"""DICOM numbers and display: what pydicom decodes is what is read, and tables and windows do what PS3.3 C.11 says."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pydicom.encaps
import pydicom.uid
import pytest
import SimpleITK as sitk
from dicom_files import functional_groups
from pydicom.dataset import Dataset

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import read_image
from medclipsam_monai.io.dicom.pixels import read_pixels
from medclipsam_monai.io.transforms import ReadImage
from medclipsam_monai.transforms import DisplayRange

try:
    from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi, apply_windowing
except ImportError:  # pydicom 2
    from pydicom.pixel_data_handlers.util import apply_color_lut, apply_modality_lut, apply_voi, apply_windowing

Make = Callable[..., Any]
FILES = Path(pydicom.__file__).parent / "data" / "test_files"
RAMP = np.arange(-40, 40, dtype=np.int16).reshape(8, 10)


def decodable() -> list[str]:
    """pydicom's own test images that it decodes without further packages."""
    logging.disable(logging.CRITICAL)
    names = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in sorted(FILES.glob("*.dcm")):
            header = pydicom.dcmread(path, force=True, stop_before_pixels=True)
            syntax = header.file_meta.get("TransferSyntaxUID") if hasattr(header, "file_meta") else None
            plain = syntax and (not syntax.is_compressed or syntax in (pydicom.uid.RLELossless,))
            if "Rows" in header and plain and header.Modality not in ("SEG", "RTDOSE") and "truncated" not in path.name:
                names.append(path.name)
    logging.disable(logging.NOTSET)
    return names


DECODABLE = decodable()


def test_pydicoms_own_files_are_enough_of_a_table() -> None:
    assert len(DECODABLE) >= 15 and "SC_rgb_rle_16bit.dcm" in DECODABLE and "MR_small_bigendian.dcm" in DECODABLE


@pytest.mark.parametrize("name", [*DECODABLE, "JPEG2000.dcm", "MR_small_jp2klossless.dcm"])
def test_pixels_are_pydicoms(name: str) -> None:
    header = pydicom.dcmread(FILES / name)
    expected = header.pixel_array
    if header.PhotometricInterpretation == "PALETTE COLOR":
        expected = apply_color_lut(expected, header)
    elif header.PhotometricInterpretation in ("YBR_FULL", "YBR_FULL_422") and pydicom.__version__ < "3":
        from pydicom.pixel_data_handlers.util import convert_color_space

        expected = convert_color_space(expected, "YBR_FULL", "RGB")
    elif int(header.SamplesPerPixel) == 1:
        expected = apply_modality_lut(expected, header)
    pixels, _ = read_pixels(FILES / name)
    np.testing.assert_array_equal(pixels.reshape(expected.shape), expected.astype(pixels.dtype))


def test_bytes_of_deep_colours_are_not_mixed() -> None:
    image = read_image(FILES / "SC_rgb_rle_16bit.dcm")
    assert image[:, 5, 50].tolist() == [65535, 0, 0]
    shown = np.asarray(DisplayRange()(image))
    assert shown[:, 5, 50].tolist() == [1, 0, 0] and not image.meta["uint8"]
    np.testing.assert_allclose(shown, image.numpy() / 65535, atol=1e-6)  # over the full range, not its percentiles
    deeper = read_image(FILES / "SC_rgb_rle_32bit.dcm")
    np.testing.assert_allclose(np.asarray(DisplayRange()(deeper)), shown, atol=1e-4)


def test_a_jpeg_whose_form_only_gdcm_knows_is_decoded() -> None:
    plain, _ = read_pixels(FILES / "MR_small.dcm")
    np.testing.assert_array_equal(read_pixels(FILES / "MR_small_jpeg_ls_lossless.dcm")[0], plain)


OLD_STREAMS = "693_J2KI J2K_pixelrep_mismatch JPGExtended SC_rgb_jpeg_app14_dcmd SC_rgb_jpeg_gdcm".split()
NEW_STREAMS = "JPEGLSNearLossless_16 SC_rgb_jls_lossy_line examples_jpeg2k examples_ybr_color".split()
brought = pytest.mark.skipif(pydicom.__version__ < "3.0.1", reason="an older pydicom does not bring this file")


@pytest.mark.parametrize("name", [*OLD_STREAMS, *(pytest.param(name, marks=brought) for name in NEW_STREAMS)])
def test_streams_of_the_jpeg_family_become_what_simple_itk_makes_of_them(name: str, tmp_path: Path) -> None:
    header = pydicom.dcmread(FILES / f"{name}.dcm")
    for keyword in ("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"):
        if keyword in header:
            del header[keyword]
    header.save_as(tmp_path / "a.dcm")
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(tmp_path / "a.dcm"))
    expected = sitk.GetArrayFromImage(reader.Execute())
    pixels, _ = read_pixels(tmp_path / "a.dcm")
    assert pixels.dtype == expected.dtype
    np.testing.assert_array_equal(pixels.reshape(expected.shape), expected)


@pytest.mark.parametrize(("kind", "shape"), [(np.int8, (9, 8)), (np.uint16, (9, 8, 3)), (np.int16, (9, 8))])
def test_numbers_that_itk_has_no_image_for_keep_their_type(
    tmp_path: Path, make_dicom: Make, kind: type, shape: tuple[int, ...]
) -> None:
    limits = np.iinfo(kind)
    values = np.random.default_rng(0).integers(limits.min, limits.max, shape, endpoint=True).astype(kind)
    path = make_dicom(tmp_path / "a.dcm", values, colour=len(shape) == 3)
    header = pydicom.dcmread(path)
    stream = imagecodecs.jpeg2k_encode(values, level=0, reversible=True, codecformat="j2k")
    header.PixelData = pydicom.encaps.encapsulate([stream])
    header["PixelData"].is_undefined_length = True
    header.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000Lossless
    header.save_as(path)
    pixels, _ = read_pixels(path)
    assert pixels.dtype == values.dtype
    np.testing.assert_array_equal(np.squeeze(pixels), values)


def test_what_no_decoder_knows_is_named(tmp_path: Path) -> None:
    content = (FILES / "MR_small_RLE.dcm").read_bytes()
    (tmp_path / "a.dcm").write_bytes(content.replace(b"1.2.840.10008.1.2.5\0", b"1.2.840.10008.1.2.4.100"[:20]))
    with pytest.raises(InputError) as caught:
        read_pixels(tmp_path / "a.dcm")
    assert "16 of 16 bits): damaged, or a form that neither GDCM nor pydicom knows" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(
    ("kind", "stored"), [(np.int16, 12), (np.uint16, 10), (np.uint8, 6), (np.int8, 8), (np.uint8, 7), (np.int32, 32)]
)
def test_stored_bits_have_their_sign_and_overlays_beside_them_do_not_count(
    tmp_path: Path, make_dicom: Make, kind: type, stored: int, photometric: str
) -> None:
    signed = np.issubdtype(kind, np.signedinteger)
    least, count = (-(1 << stored - 1) if signed else 0), 1 << stored
    values = least + np.linspace(0, count - 1, 80).astype(np.int64).reshape(8, 10)
    bits = np.iinfo(kind).bits
    cells = values & (count - 1)
    if stored < bits:
        cells = cells | (1 << bits - 1)  # an overlay plane in the highest bit
    path = make_dicom(
        tmp_path / "a.dcm",
        cells.astype(f"u{bits // 8}").view(kind),
        BitsStored=stored,
        PhotometricInterpretation=photometric,
    )
    image = read_image(path)
    np.testing.assert_array_equal(image.numpy()[0], values.astype(np.float32))
    assert image.meta["uint8"] == (kind == np.uint8 and stored == 8)


def table(first: int, entries: list[int], bits: int = 16) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries), first, bits])
    item.add_new("LUTData", "US", entries)
    return item


def test_a_modality_lut_gives_the_images_numbers(tmp_path: Path, make_dicom: Make) -> None:
    entries = (np.arange(50) ** 2).tolist()
    path = make_dicom(tmp_path / "a.dcm", RAMP, ModalityLUTSequence=[table(-20, entries)])
    header = pydicom.dcmread(path)
    expected = apply_modality_lut(header.pixel_array, header)
    assert expected[0, 0] == 0 and expected[-1, -1] == 49**2
    np.testing.assert_array_equal(read_image(path).numpy()[0], expected)


@pytest.mark.parametrize(
    ("data", "bits"),
    [
        (bytes(range(200, 250)), 8),  # a byte an entry
        (np.arange(200, 250, dtype="<u2").tobytes(), 16),  # a word an entry
        (np.arange(200, 250, dtype="<u2").tobytes(), 8),
    ],
)
def test_packed_tables_are_read(tmp_path: Path, make_dicom: Make, data: bytes, bits: int) -> None:
    item = table(0, list(range(50)), bits)
    item.add_new("LUTData", "OW", data)
    path = make_dicom(tmp_path / "a.dcm", np.arange(80, dtype=np.uint16).reshape(8, 10), ModalityLUTSequence=[item])
    np.testing.assert_array_equal(read_image(path).numpy()[0].ravel(), np.clip(np.arange(80), 0, 49) + 200)


def test_a_table_shorter_than_promised_is_refused(tmp_path: Path, make_dicom: Make) -> None:
    item = table(0, list(range(50)))
    item.LUTDescriptor = [4096, 0, 16]
    path = make_dicom(tmp_path / "a.dcm", RAMP, ModalityLUTSequence=[item])
    with pytest.raises(InputError, match="a lookup table has 50 entries, its header promises 4096"):
        read_image(path)


def test_a_voi_lut_shows_the_image_and_leaves_its_numbers(tmp_path: Path, make_dicom: Make) -> None:
    entries = np.minimum((np.arange(60) * 3) ** 2, 4095).tolist()
    tags = {"VOILUTSequence": [table(-30, entries, 12)], "RescaleSlope": 1, "RescaleIntercept": -5}
    path = make_dicom(tmp_path / "a.dcm", RAMP, Modality="CR", PhotometricInterpretation="MONOCHROME1", **tags)
    header = pydicom.dcmread(path)
    modality = apply_modality_lut(header.pixel_array, header)
    image = read_image(path)
    np.testing.assert_array_equal(image.numpy()[0], modality)
    expected = 1 - apply_voi(modality.astype(np.int16), header) / 4095
    np.testing.assert_allclose(np.asarray(DisplayRange()(image))[0], expected, atol=1e-6)
    # through MONAI's loaders too; a window that is asked for comes first
    np.testing.assert_allclose(np.asarray(DisplayRange()(ReadImage()(path)))[0], expected, atol=1e-6)
    np.testing.assert_allclose(
        np.asarray(DisplayRange((0, 40))(image))[0], 1 - np.clip(modality / 40 + 0.5, 0, 1), atol=1e-6
    )


@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("centre", "width"), [(3, 20), (0.5, 1), (-10, 400)])
def test_windows_are_the_standards(
    tmp_path: Path, make_dicom: Make, function: str | None, centre: float, width: float
) -> None:
    tags = {"WindowCenter": [centre, 999], "WindowWidth": [width, 1], "RescaleSlope": 2, "RescaleIntercept": -7}
    if function:
        tags["VOILUTFunction"] = function
    path = make_dicom(tmp_path / "a.dcm", RAMP, BitsStored=16, **tags)
    header = pydicom.dcmread(path)
    modality = apply_modality_lut(header.pixel_array, header)
    mapped = apply_windowing(modality, header)
    low, high = (-32768 * 2 - 7, 32767 * 2 - 7)  # pydicom spreads the result over all values that can be stored
    image = read_image(path)
    np.testing.assert_allclose(np.asarray(DisplayRange()(image))[0], (mapped - low) / (high - low), atol=1e-5)
    assert (image.meta["window_center"], image.meta["window_width"]) == (centre, width)


def test_a_window_comes_before_a_voi_lut_and_an_impossible_one_is_none(tmp_path: Path, make_dicom: Make) -> None:
    tags: dict[str, Any] = {"VOILUTSequence": [table(-40, [0] * 80)], "VOILUTFunction": "LINEAR_EXACT"}
    path = make_dicom(tmp_path / "a.dcm", RAMP, WindowCenter=0, WindowWidth=80, **tags)
    np.testing.assert_allclose(np.asarray(DisplayRange()(read_image(path)))[0], (RAMP + 40) / 80, atol=1e-6)
    path = make_dicom(tmp_path / "b.dcm", RAMP, WindowCenter=0, WindowWidth=0, **tags)
    assert not np.asarray(DisplayRange()(read_image(path))).any()


def frame_groups(slopes: list[float], windows: list[tuple[float, float]], places: list[float]) -> dict[str, Any]:
    tags = functional_groups(places)
    for group, slope, (centre, width) in zip(tags["PerFrameFunctionalGroupsSequence"], slopes, windows, strict=True):
        values, voi = Dataset(), Dataset()
        values.RescaleSlope, values.RescaleIntercept = slope, 1
        voi.WindowCenter, voi.WindowWidth, voi.VOILUTFunction = centre, width, "LINEAR_EXACT"
        group.PixelValueTransformationSequence, group.FrameVOILUTSequence = [values], [voi]
    return tags


@pytest.mark.parametrize("slice_axis", ["acquired", "coronal", "sagittal"])
@pytest.mark.parametrize("step", [2, -2])
def test_frames_have_their_own_slope_window_and_place(
    tmp_path: Path, make_dicom: Make, slice_axis: str, step: int
) -> None:
    volume = np.random.default_rng(0).integers(0, 200, (9, 10, 12)).astype(np.uint16)
    order = [3, 0, 8, 1, 2, 7, 4, 6, 5]  # frame i lies at place order[i]
    slopes = [1.0 + frame for frame in range(9)]
    windows = [(100.0 + 10 * frame, 50.0 + frame) for frame in range(9)]
    groups = frame_groups(slopes, windows, [step * place for place in order])
    path = make_dicom(tmp_path / "a.dcm", volume, SOPClassUID=pydicom.uid.EnhancedMRImageStorage, **groups)
    numbers = volume * np.array(slopes)[:, None, None] + 1
    centre, width = (np.array(part)[:, None, None] for part in zip(*windows, strict=True))
    display = np.clip((numbers - centre) / width + 0.5, 0, 1)
    upright = np.argsort(np.array(order) * step)  # frames from foot to head
    turn = {
        "acquired": lambda v: v.transpose(1, 2, 0),
        "coronal": lambda v: v[::-1].transpose(0, 2, 1),
        "sagittal": lambda v: v[::-1].transpose(0, 1, 2),
    }[slice_axis]
    image = read_image(path, slice_axis)
    shown = np.asarray(DisplayRange()(image))[0]
    if slice_axis == "acquired":
        np.testing.assert_array_equal(image.numpy()[0], turn(numbers[upright]))
        np.testing.assert_allclose(shown, turn(display[upright]), atol=1e-6)
    else:  # the frames run down the picture, head first
        assert np.allclose(np.sort(shown, axis=None), np.sort(display, axis=None), atol=1e-6)
        for row in range(9):
            frame = upright[::-1][row]
            np.testing.assert_allclose(
                np.sort(shown[row], axis=None), np.sort(display[frame], axis=None), atol=1e-6, err_msg=str(row)
            )


def test_slopes_that_differ_by_slice_are_each_slices(tmp_path: Path, make_series: Make) -> None:
    paths = make_series(tmp_path / "pet", np.full((3, 8, 10), 10, np.uint16))
    for path, slope in zip(paths, (0.5, 1, 2), strict=True):
        header = pydicom.dcmread(path)
        header.RescaleSlope, header.RescaleIntercept = slope, 0
        header.save_as(path)
    assert read_image(tmp_path / "pet")[0, 0, 0].tolist() == [5, 10, 20]


COLOURS = np.repeat(
    np.repeat(np.array([[[200, 30, 60], [20, 180, 40]], [[30, 60, 220], [120] * 3]], np.uint8), 16, 0), 16, 1
)


@pytest.mark.parametrize("stated", ["RGB", "YBR_FULL", "YBR_FULL_422"])
@pytest.mark.parametrize("stream", ["ycbcr", "rgb", "jpeg2000"])
def test_a_stream_that_says_its_colours_is_believed_before_the_header(
    tmp_path: Path, make_dicom: Make, stream: str, stated: str
) -> None:
    import imagecodecs
    from pydicom.encaps import encapsulate

    if stream == "jpeg2000":
        syntax = pydicom.uid.JPEG2000Lossless
        data = imagecodecs.jpeg2k_encode(COLOURS, level=0, codecformat="j2k", reversible=True, mct=True)
    else:
        syntax = pydicom.uid.JPEGBaseline8Bit
        data = imagecodecs.jpeg8_encode(COLOURS, level=98, colorspace="rgb", outcolorspace=stream, subsampling="444")
    path = make_dicom(tmp_path / "a.dcm", COLOURS, colour=True, PhotometricInterpretation=stated)
    header = pydicom.dcmread(path)
    header.PixelData = encapsulate([data])
    header["PixelData"].is_undefined_length = True
    header.file_meta.TransferSyntaxUID = syntax
    header.save_as(path)
    difference = np.abs(read_image(path).numpy().transpose(1, 2, 0) - COLOURS)
    assert difference.max() <= (0 if stream == "jpeg2000" else 8)
