"""Every form of TIFF is read with the values that it states, or refused by a line that names the form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from picture_files import pack, tiff_tags, write_tiff

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import read_image
from medclipsam_monai.transforms import DisplayRange

RAMP = np.arange(8 * 12).reshape(8, 12)
RGB = np.stack([RAMP, 95 - RAMP, RAMP % 7], axis=-1)
HALF = np.where(RAMP < 48, 0, 1)


def tiff(folder: Path, array: np.ndarray, **options: Any) -> Path:
    tifffile.imwrite(folder / "a.tif", array, **{"metadata": None, **options})
    return folder / "a.tif"


def values(path: Path) -> np.ndarray:
    """The image as (rows, columns) or (rows, columns, 3)."""
    array = read_image(path).numpy()
    return array[0] if len(array) == 1 else np.moveaxis(array, 0, -1)


def shown(path: Path) -> np.ndarray:
    return np.asarray(DisplayRange("full")(read_image(path)))[0]


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize(
    "kind", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", ">u2", ">i4", ">f4", ">f8"]
)
def test_grey_of_every_sample_type_is_shown_with_the_polarity_the_file_states(
    tmp_path: Path, kind: str, photometric: str
) -> None:
    signed = np.dtype(kind).kind in "if"
    array = (RAMP - 40 if signed else RAMP).astype(kind)
    path = tiff(tmp_path, array, photometric=photometric, byteorder=">" if kind.startswith(">") else "<")
    white_is_zero = photometric == "miniswhite"
    np.testing.assert_allclose(shown(path), (95 - RAMP if white_is_zero else RAMP) / 95, atol=1e-6)
    if not white_is_zero:
        np.testing.assert_array_equal(values(path), array.astype(np.float32))
    assert read_image(path).meta["uint8"] == (kind == "u1")


@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 15, 16])
def test_grey_of_every_number_of_bits(tmp_path: Path, bits: int, photometric: int) -> None:
    most = 2**bits - 1
    stored = np.minimum(RAMP * 3, most) if bits >= 8 else RAMP % (most + 1)
    data = b"".join(row.astype("<u2").tobytes() if bits == 16 else pack(row, bits) for row in stored)
    path = write_tiff(tmp_path / "a.tif", data, tiff_tags(8, 12, photometric, [bits]))
    bright = stored if photometric else most - stored
    np.testing.assert_array_equal(values(path), np.rint(bright * (255 / most)) if bits < 8 else bright)
    assert read_image(path).meta["uint8"] == (bits <= 8)
    display = shown(path)
    assert (np.corrcoef(display.ravel(), stored.ravel())[0, 1] > 0) == (photometric == 1)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize(("kind", "factor"), [("u1", 2), ("u2", 600), (">u2", 600), ("f4", 0.01), ("i2", -300)])
def test_colour_keeps_all_its_bits(tmp_path: Path, kind: str, factor: float, planar: str) -> None:
    array = (RGB * factor).astype(kind)
    stored = np.moveaxis(array, -1, 0) if planar == "separate" else array
    path = tiff(
        tmp_path, stored, photometric="rgb", planarconfig=planar, byteorder=">" if kind.startswith(">") else "<"
    )
    np.testing.assert_array_equal(values(path), array.astype(np.float32))
    assert read_image(path).meta["photometric"] == "RGB"


def test_colour_of_4_bits_a_sample_is_spread_over_8(tmp_path: Path) -> None:
    data = b"".join(pack(row, 4) for row in RGB % 16)
    path = write_tiff(tmp_path / "a.tif", data, tiff_tags(8, 12, 2, [4, 4, 4]))
    np.testing.assert_array_equal(values(path), RGB % 16 * 17)


@pytest.mark.parametrize("scale", [1, 257])
@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_palette_gives_its_colours_whether_its_table_holds_8_or_16_bits(tmp_path: Path, kind: str, scale: int) -> None:
    entries = 2 ** (8 * np.dtype(kind).itemsize)
    table = np.stack([np.arange(entries) % 256, 255 - np.arange(entries) % 256, np.full(entries, 9)]) * scale
    path = tiff(tmp_path, RAMP.astype(kind), photometric="palette", colormap=table.astype(np.uint16))
    np.testing.assert_array_equal(values(path), np.stack([RAMP, 255 - RAMP, np.full_like(RAMP, 9)], -1))
    assert read_image(path).meta["uint8"]


@pytest.mark.parametrize(("kind", "most"), [("u1", 255), ("u2", 65535)])
def test_cmyk_is_turned_into_rgb(tmp_path: Path, kind: str, most: int) -> None:
    inks = np.zeros((8, 12, 4), dtype=kind)
    inks[:2, :, 0] = most  # cyan
    inks[2:4, :, 1] = most  # magenta
    inks[4:6, :, 3] = most // 5 * 2  # grey
    expected = np.full((8, 12, 3), most)
    expected[:2, :, 0], expected[2:4, :, 1], expected[4:6] = 0, 0, most // 5 * 3
    np.testing.assert_array_equal(values(tiff(tmp_path, inks, photometric="separated")), expected)


def test_ycbcr_in_jpeg_is_turned_into_rgb(tmp_path: Path) -> None:
    flat = np.full((16, 16, 3), (200, 80, 40), np.uint8)
    path = tiff(tmp_path, flat, photometric="rgb", compression="jpeg", compressionargs={"level": 100})
    with tifffile.TiffFile(path) as file:
        assert file.pages[0].photometric.name == "YCBCR"
    assert np.abs(values(path) - flat).max() <= 2


@pytest.mark.parametrize("extra", ["unassalpha", "assocalpha", "unspecified"])
@pytest.mark.parametrize(("kind", "most"), [("u1", 255), ("u2", 65535), ("f4", 1)])
def test_alpha_lays_colours_on_black_once(tmp_path: Path, kind: str, most: int, extra: str) -> None:
    colours = (RGB / 96 * most).astype(kind)
    array = np.concatenate([colours, (HALF * most).astype(kind)[..., None]], axis=-1)
    path = tiff(tmp_path, array, photometric="rgb", extrasamples=[extra])
    expected = colours * HALF[..., None] if extra == "unassalpha" else colours
    np.testing.assert_array_equal(values(path), expected.astype(np.float32))


def test_half_transparent_grey_of_12_bits_counts_4095_as_opaque(tmp_path: Path) -> None:
    stored = np.stack([np.full((8, 12), 4000), HALF * 2048], axis=-1)
    data = b"".join(pack(row, 12) for row in stored)
    path = write_tiff(tmp_path / "a.tif", data, tiff_tags(8, 12, 1, [12, 12], t338=("H", [2])))
    np.testing.assert_array_equal(values(path), np.rint(HALF * 4000 * 2048 / 4095))


def test_white_is_zero_with_alpha_is_turned_before_it_is_laid_on_black(tmp_path: Path) -> None:
    array = np.stack([RAMP, HALF * 255], axis=-1).astype(np.uint8)
    path = tiff(tmp_path, array, photometric="miniswhite", planarconfig="contig", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(values(path), (255 - RAMP) * HALF)


LAYOUTS: dict[str, dict[str, Any]] = {
    "big TIFF": {"bigtiff": True},
    "big-endian big TIFF": {"bigtiff": True, "byteorder": ">"},
    "strips": {"rowsperstrip": 3},
    "tiles": {"tile": (16, 16)},
    "deflate": {"compression": "zlib"},
    "LZW with predictor": {"compression": "lzw", "predictor": True},
    "packbits": {"compression": "packbits"},
    "LZMA": {"compression": "lzma"},
    "zstd tiles": {"compression": "zstd", "tile": (16, 16)},
    "lossless JPEG 2000": {"compression": "jpeg2000"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_and_compression_gives_the_same_numbers(tmp_path: Path, layout: str) -> None:
    array = np.kron(RAMP, np.ones((3, 3), int)).astype(np.uint16) * 600
    np.testing.assert_array_equal(values(tiff(tmp_path, array, photometric="minisblack", **LAYOUTS[layout])), array)


def test_floats_with_their_predictor(tmp_path: Path) -> None:
    array = (RAMP / 7).astype(np.float32)
    path = tiff(tmp_path, array, photometric="minisblack", compression="zlib", predictor=3)
    np.testing.assert_array_equal(values(path), array)


@pytest.mark.parametrize("where", ["sub", "chain"])
def test_smaller_copies_of_a_picture_are_no_pages(tmp_path: Path, where: str) -> None:
    array = RAMP.astype(np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(array, photometric="minisblack", subifds=1 if where == "sub" else None, metadata=None)
        writer.write(array[::2, ::2], photometric="minisblack", subfiletype=1, metadata=None)
    np.testing.assert_array_equal(values(tmp_path / "a.tif"), array)


STACK = np.zeros((5, 8, 12), np.uint8)
PAGES: dict[str, dict[str, Any]] = {
    "pages": {},
    "ImageJ": {"imagej": True, "metadata": {"axes": "ZYX"}},
    "one described page": {"metadata": {"axes": "ZYX"}, "compression": None, "contiguous": True},
}


@pytest.mark.parametrize("form", PAGES)
def test_several_pages_are_refused_with_their_number(tmp_path: Path, form: str) -> None:
    path = tiff(tmp_path, STACK, photometric="minisblack", **PAGES[form])
    with pytest.raises(InputError, match="holds 5 pages; save the one to segment"):
        read_image(path)


def test_an_imagej_stack_behind_one_directory_is_refused(tmp_path: Path) -> None:
    path = tiff(tmp_path, RAMP.astype(np.uint8), photometric="minisblack", description="ImageJ=1.54\nimages=7\n")
    with pytest.raises(InputError, match="holds 7 pages"):
        read_image(path)


def grey(bits: int, photometric: int | None, **tags: Any) -> Callable[[Path], Path]:
    data = bytes(8 * 12 * bits // 8)
    return lambda folder: write_tiff(folder / "a.tif", data, tiff_tags(8, 12, photometric, [bits], **tags))


def colours(photometric: int, samples: int = 3, **tags: Any) -> Callable[[Path], Path]:
    data = bytes(8 * 12 * samples)
    return lambda folder: write_tiff(folder / "a.tif", data, tiff_tags(8, 12, photometric, [8] * samples, **tags))


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "mask": (grey(1, 4), "is a transparency mask; save it as grey or RGB"),
    "CIELab": (colours(8), "holds CIELab colours; save it as grey or RGB"),
    "ICCLab": (colours(9), "holds ICCLab colours"),
    "ITULab": (colours(10), "holds ITULab colours"),
    "CFA": (grey(16, 32803), "a camera's raw colour filter array"),
    "LogLuv": (colours(32845), "LogLuv"),
    "LogL": (grey(16, 32844), "LogL"),
    "unknown photometric": (grey(8, 777), "has the photometric interpretation 777"),
    "no photometric": (grey(8, None), "does not say what its numbers mean"),
    "raw YCbCr": (colours(6, t530=("H", [1, 1])), "holds YCbCr colours that are not JPEG"),
    "subsampled YCbCr": (colours(6), "holds YCbCr colours that are not JPEG"),
    "inks": (colours(5, 4, t332=("H", [2])), "holds inks other than CMYK"),
    "two greys": (colours(1, 2, t338=("H", [0])), "holds 2 samples a pixel, of which 1 are expected"),
    "five channels": (colours(1, 5, t338=("H", [0] * 4)), "holds 5 samples a pixel, of which 1 are expected"),
    "palette without a table": (grey(8, 3), "holds numbers that its palette has no colour for"),
    "void": (grey(16, 1, t339=("H", [4])), "16 bits in the format VOID"),
    "complex integers": (grey(32, 1, t339=("H", [5])), "holds complex numbers"),
    "24 bits": (grey(24, 1), "holds samples of 24 bits in the format UINT; save it as 8 or 16 bits"),
    "floats of 24 bits": (grey(24, 1, t339=("H", [3])), "holds samples of 24 bits in the format IEEEFP"),
    "signed 4 bits": (grey(4, 1, t339=("H", [2])), "holds samples of 4 bits in the format INT"),
    "mixed samples": (
        lambda folder: write_tiff(folder / "a.tif", bytes(999), tiff_tags(8, 12, 2, [8, 8, 8], t339=("H", [1, 2, 3]))),
        "cannot be read as a picture",
    ),
}


@pytest.mark.parametrize("form", REFUSED)
def test_what_has_no_clear_meaning_is_refused_by_its_name(tmp_path: Path, form: str) -> None:
    write, message = REFUSED[form]
    with pytest.raises(InputError, match=message) as refusal:
        read_image(write(tmp_path))
    assert "\n" not in str(refusal.value) and str(refusal.value).startswith(str(tmp_path / "a.tif"))


@pytest.mark.parametrize("kind", [np.complex64, np.complex128])
def test_complex_numbers_are_refused(tmp_path: Path, kind: type) -> None:
    with pytest.raises(InputError, match="holds complex numbers; save their magnitude"):
        read_image(tiff(tmp_path, RAMP.astype(kind), photometric="minisblack"))


def test_a_signed_opacity_is_refused(tmp_path: Path) -> None:
    array = np.dstack([RGB, RAMP]).astype(np.int16)
    with pytest.raises(InputError, match="an opacity of signed numbers"):
        read_image(tiff(tmp_path, array, photometric="rgb", extrasamples=["unassalpha"]))


@pytest.mark.parametrize(
    "numbers", [RAMP * 1e300, RAMP * 1e-300, 1e9 + RAMP / 95, (RAMP + 2**32 - 200).astype(np.uint32)]
)
def test_numbers_that_single_precision_cannot_tell_apart_are_refused(tmp_path: Path, numbers: np.ndarray) -> None:
    with pytest.raises(InputError, match="single precision"):
        read_image(tiff(tmp_path, numbers, photometric="minisblack"))


def test_floats_between_0_and_1_as_other_programs_write_them(tmp_path: Path) -> None:
    path = tiff(tmp_path, RAMP / 95, photometric="minisblack")
    np.testing.assert_allclose(values(path), RAMP / 95, atol=1e-7)


@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
@pytest.mark.parametrize("layout", [{"rowsperstrip": 2}, {"tile": (16, 16)}])
def test_a_file_that_was_cut_short_is_refused(tmp_path: Path, compression: str | None, layout: dict[str, Any]) -> None:
    array = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    path = tiff(tmp_path, array, photometric="minisblack", compression=compression, **layout)
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(InputError, match="cannot be read as a picture"):
        read_image(path)


@pytest.mark.parametrize(
    ("sides", "more"), [((60000, 60000), {}), ((8, 12), {"t322": ("I", [65536]), "t323": ("I", [65536])})]
)
def test_a_promise_of_too_many_pixels_is_refused_before_memory_is_taken(
    tmp_path: Path, sides: tuple[int, int], more: dict[str, Any]
) -> None:
    tags = tiff_tags(*sides, 1, [8], **more)
    if more:  # tiles in place of strips
        tags |= {324: ("I", [8]), 325: ("I", [96])}
    with pytest.raises(InputError, match=r"promises .* the limit is 536,870,912"):
        read_image(write_tiff(tmp_path / "a.tif", bytes(96), tags))
