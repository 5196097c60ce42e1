"""PNG, JPEG and BMP pictures come upright, with all their bits; the mask lies on the pixels as they are stored."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from picture_files import pack, png_chunk, write_png
from PIL import Image, ImageOps

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import InputWarning, read_image, restore_geometry, write_mask
from medclipsam_monai.io.formats.stored import StoredImage
from medclipsam_monai.io.readers import show_upright
from medclipsam_monai.transforms import DisplayRange

RAMP = np.arange(8 * 12, dtype=np.uint8).reshape(8, 12)
COLOURS = np.stack([RAMP, RAMP + 50, 255 - RAMP], axis=-1)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".TIFF"])
def test_grey_pictures_keep_rows_and_columns(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(RAMP).save(tmp_path / f"a{suffix}")
    image = read_image(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(image.numpy(), RAMP[None].astype(np.float32))
    assert image.meta["uint8"] and not image.meta["spatial"] and image.meta["spacing"] is None
    assert image.meta["filename"] == f"a{suffix}" and image.meta["original_channels"] == 1
    np.testing.assert_array_equal(image.affine, np.eye(4))


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg"])
def test_jpeg_is_read_within_its_loss(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(RAMP).save(tmp_path / f"a{suffix}", quality=100)
    image = read_image(tmp_path / f"a{suffix}")
    assert image.shape == (1, 8, 12) and np.abs(image.numpy()[0] - RAMP).max() <= 3


def picture_of(mode: str) -> tuple[Image.Image, np.ndarray]:
    """A picture of a mode, and the array (C, H, W) that reading it should give."""
    opaque = np.full_like(RAMP, 255)
    clear = np.where(RAMP < 40, 0, 255).astype(np.uint8)
    deep = RAMP.astype(np.uint16) * 600
    colours = COLOURS.transpose(2, 0, 1)
    table: dict[str, tuple[Image.Image, np.ndarray]] = {
        "1": (Image.fromarray(RAMP > 50), np.where(RAMP > 50, 255, 0)[None]),
        "I;16": (Image.fromarray(deep), deep[None]),
        "P": (Image.fromarray(RAMP), COLOURS.transpose(2, 0, 1)),
        "LA": (Image.fromarray(np.stack([RAMP, opaque], -1), "LA"), RAMP[None]),
        "LA clear": (Image.fromarray(np.stack([RAMP + 9, clear], -1), "LA"), np.where(RAMP < 40, 0, RAMP + 9)[None]),
        "RGB": (Image.fromarray(COLOURS), colours),
        "RGBA": (Image.fromarray(np.dstack([COLOURS, opaque])), colours),
        "RGBA clear": (Image.fromarray(np.dstack([COLOURS, clear])), np.where(RAMP < 40, 0, colours)),
    }
    picture, expected = table[mode]
    if mode == "P":
        palette = [value for grey in range(256) for value in (grey, (grey + 50) % 256, 255 - grey)]
        picture.putpalette(palette)
    return picture, expected


@pytest.mark.filterwarnings("ignore:'mode' parameter")
@pytest.mark.parametrize("mode", ["1", "I;16", "P", "LA", "LA clear", "RGB", "RGBA", "RGBA clear"])
def test_every_mode_of_png(tmp_path: Path, mode: str) -> None:
    picture, expected = picture_of(mode)
    picture.save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(image.numpy(), expected.astype(np.float32))
    assert image.meta["uint8"] == (mode != "I;16")
    assert image.meta["photometric"] == ("RGB" if len(expected) == 3 else "MONOCHROME2")


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_deep_tiff_keeps_its_numbers(tmp_path: Path, kind: type) -> None:
    deep = RAMP.astype(kind) * 600
    Image.fromarray(deep).save(tmp_path / "a.tif")
    image = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.numpy()[0], deep.astype(np.float32))
    assert not image.meta["uint8"]


def test_a_tiff_of_pages_is_refused_with_their_number(tmp_path: Path) -> None:
    page = Image.fromarray(RAMP)
    page.save(tmp_path / "a.tif", save_all=True, append_images=[page, page])
    with pytest.raises(InputError, match="holds 3 pages"):
        read_image(tmp_path / "a.tif")


def trns(*values: int) -> bytes:
    return png_chunk(b"tRNS", struct.pack(f">{len(values)}H", *values))


def values(path: Path) -> np.ndarray:
    array = read_image(path).numpy()
    return array[0] if len(array) == 1 else np.moveaxis(array, 0, -1)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("clear", [False, True])
def test_grey_png_of_every_depth_with_and_without_a_transparent_grey(tmp_path: Path, bits: int, clear: bool) -> None:
    stored = RAMP.astype(int) * 600 if bits == 16 else RAMP.astype(int) % 2**bits
    path = write_png(tmp_path / "a.png", stored, bits, 0, [trns(int(stored[0, 1]))] if clear else [])
    seen = np.where(stored == stored[0, 1], 0, stored) if clear else stored
    np.testing.assert_array_equal(values(path), seen * (255 // (2**bits - 1) if bits < 8 else 1))
    assert read_image(path).meta["uint8"] == (bits < 16)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("clear", [False, True])
def test_colour_png_keeps_all_its_bits(tmp_path: Path, bits: int, clear: bool) -> None:
    stored = COLOURS.astype(int) * (1 if bits == 8 else 250)
    path = write_png(tmp_path / "a.png", stored, bits, 2, [trns(*map(int, stored[2, 3]))] if clear else [])
    seen = stored.copy()
    seen[2, 3] = 0 if clear else seen[2, 3]
    np.testing.assert_array_equal(values(path), seen)


@pytest.mark.parametrize(("bits", "most"), [(8, 255), (16, 65535)])
@pytest.mark.parametrize("colour_type", [4, 6])
def test_png_with_alpha_is_laid_on_black(tmp_path: Path, bits: int, most: int, colour_type: int) -> None:
    colours = (COLOURS if colour_type == 6 else RAMP[..., None]).astype(int) * (1 if bits == 8 else 200)
    alpha = np.linspace(0, most, 96).astype(int).reshape(8, 12, 1)
    path = write_png(tmp_path / "a.png", np.concatenate([colours, alpha], -1), bits, colour_type)
    np.testing.assert_array_equal(values(path), np.rint(colours * (alpha / most)).squeeze())


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palette_png_of_every_depth_gives_its_colours(tmp_path: Path, bits: int) -> None:
    table = np.arange(3 * 2**bits).reshape(-1, 3) % 256
    stored = RAMP.astype(int) % 2**bits
    chunks = [png_chunk(b"PLTE", table.astype(np.uint8).tobytes()), png_chunk(b"tRNS", b"\xff\0")]
    expected = table[stored]
    expected[stored == 1] = 0
    np.testing.assert_array_equal(values(write_png(tmp_path / "a.png", stored, bits, 3, chunks)), expected)


def test_gamma_is_not_applied(tmp_path: Path) -> None:
    path = write_png(tmp_path / "a.png", RAMP, 8, 0, [png_chunk(b"gAMA", struct.pack(">I", 100000))])
    np.testing.assert_array_equal(values(path), RAMP)


def test_deep_colour_is_shown_with_its_whole_contrast(tmp_path: Path) -> None:
    twelve_bits = np.stack([RAMP, RAMP, RAMP], -1).astype(int) * 43  # 0..4085 of 65535
    shown = np.asarray(DisplayRange()(read_image(write_png(tmp_path / "a.png", twelve_bits, 16, 2))))
    assert shown.min() == 0 and shown.max() == 1 and abs(shown.mean() - 0.5) < 0.02


@pytest.mark.parametrize("kind", ["png", "gif", "webp"])
def test_an_animation_is_refused(tmp_path: Path, kind: str) -> None:
    frames = [Image.fromarray(RAMP + shift) for shift in (0, 9, 50)]
    frames[0].save(tmp_path / f"a.{kind}", save_all=True, append_images=frames[1:])
    (tmp_path / f"a.{kind}").rename(tmp_path / "a.png")
    with pytest.raises(InputError, match="holds 3 pages"):
        read_image(tmp_path / "a.png")


FLAT = np.full((16, 16, 3), (200, 80, 40), np.uint8)


def test_jpeg_colours_come_within_its_loss(tmp_path: Path) -> None:
    Image.fromarray(FLAT).save(tmp_path / "a.jpg", quality=100, subsampling=2)
    assert np.abs(values(tmp_path / "a.jpg") - FLAT).max() <= 2


@pytest.mark.parametrize("by_adobe", [True, False])
def test_jpeg_of_four_inks_is_inverted_only_where_adobe_wrote_it(tmp_path: Path, by_adobe: bool) -> None:
    inks = np.full((16, 16, 4), (0, 255, 255, 51), np.uint8)  # red, a fifth of it black
    path = tmp_path / "a.jpg"
    Image.fromarray(inks if by_adobe else 255 - inks, "CMYK").save(path, quality=100)  # Pillow writes them inverted
    if not by_adobe:
        content = path.read_bytes()
        marker = content.index(b"\xff\xee")
        length = int.from_bytes(content[marker + 2 : marker + 4], "big")
        path.write_bytes(content[:marker] + content[marker + 2 + length :])
    assert np.abs(values(path) - (204, 0, 0)).max() <= 2


def test_jpeg_of_12_bits_is_refused_by_its_bits(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(imagecodecs.jpeg8_encode(RAMP.astype(np.uint16) * 40, bitspersample=12))
    with pytest.raises(InputError, match="cannot handle 12-bit layers"):
        read_image(tmp_path / "a.jpg")


def write_bmp(path: Path, bits: int, rows: list[bytes], palette: bytes = b"", masks: bytes = b"") -> Path:
    body = b"".join(row.ljust(-(-len(row) // 4) * 4, b"\0") for row in reversed(rows))
    start = 14 + 40 + len(masks) + len(palette)
    info = struct.pack("<IiiHHIIiiII", 40, 12, 8, 1, bits, 3 if masks else 0, len(body), 0, 0, len(palette) // 4, 0)
    path.write_bytes(struct.pack("<2sIHHI", b"BM", start + len(body), 0, 0, start) + info + masks + palette + body)
    return path


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_bmp_with_a_palette_gives_its_colours(tmp_path: Path, bits: int) -> None:
    table = np.stack([np.arange(2**bits), 255 - np.arange(2**bits), np.full(2**bits, 7), np.zeros(2**bits)], -1)
    stored = RAMP.astype(int) % 2**bits
    palette = table.astype(np.uint8)[:, [2, 1, 0, 3]].tobytes()
    path = write_bmp(tmp_path / "a.bmp", bits, [pack(row, bits) for row in stored], palette)
    np.testing.assert_array_equal(values(path), table[stored][..., :3])


@pytest.mark.parametrize(
    ("bits", "masks", "widths"),
    [
        (16, b"", (5, 5, 5)),
        (16, struct.pack("<III", 0xF800, 0x7E0, 0x1F), (5, 6, 5)),
        (24, b"", (8, 8, 8)),
        (32, b"", (8, 8, 8)),
    ],
)
def test_bmp_of_true_colours(tmp_path: Path, bits: int, masks: bytes, widths: tuple[int, int, int]) -> None:
    stored = np.stack([RAMP.astype(int) % 2**width for width in widths], -1).astype(np.int64)
    whole = (stored[..., 0] << widths[1] + widths[2]) | (stored[..., 1] << widths[2]) | stored[..., 2]
    rows = [b"".join(int(value).to_bytes(bits // 8, "little") for value in row) for row in whole]
    path = write_bmp(tmp_path / "a.bmp", bits, rows, masks=masks)
    assert np.abs(values(path) - stored * 255 / (2 ** np.array(widths) - 1)).max() < 1


BLOCKS = np.kron(np.arange(6, dtype=np.uint8).reshape(2, 3) * 50, np.ones((8, 8), np.uint8))  # 16 x 24, none alike
UPRIGHT = {
    1: BLOCKS,
    2: BLOCKS[:, ::-1],
    3: BLOCKS[::-1, ::-1],
    4: BLOCKS[::-1],
    5: BLOCKS.T,
    6: np.rot90(BLOCKS, -1),
    7: BLOCKS[::-1, ::-1].T,
    8: np.rot90(BLOCKS),
}
"""By EXIF's definition: which side of the picture the stored first row and first column are."""


@pytest.mark.parametrize("kind", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_a_turned_picture_is_shown_upright_and_its_mask_lies_on_the_stored_pixels(
    tmp_path: Path, turn: int, kind: str
) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    options = {"lossless": True} if kind == "webp" else {"quality": 100} if kind == "jpg" else {}
    Image.fromarray(BLOCKS).save(tmp_path / f"a.{kind}", exif=exif, **options)
    name = (tmp_path / f"a.{kind}").rename(tmp_path / "a.png")  # what a file is, its name does not tell
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        image = read_image(name)
    told = [str(warning.message) for warning in caught if warning.category is InputWarning]
    says = f"{name}: is turned by its EXIF tag: segmented upright, the mask lies on the file's own pixels"
    assert told == ([says] if turn > 1 else [])
    if kind != "tif":  # of which Pillow turns some by itself
        with Image.open(name) as picture:
            assert np.array_equal(np.asarray(ImageOps.exif_transpose(picture).convert("L")) > 120, UPRIGHT[turn] > 120)
    assert np.abs(image.numpy() - UPRIGHT[turn]).max() <= 1
    image = image[:1]  # WebP knows no grey
    back = restore_geometry(image, image.meta["geometry"])
    assert back.shape == (16, 24) and np.abs(back - BLOCKS).max() <= 1
    path = write_mask((image > 120).to(torch.uint8), image.meta["geometry"], tmp_path / "m")
    np.testing.assert_array_equal(np.asarray(Image.open(path)), BLOCKS > 120)


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_is_none_is_ignored(tmp_path: Path, value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    Image.fromarray(RAMP).save(tmp_path / "a.png", exif=exif)
    tifffile.imwrite(tmp_path / "a.tif", RAMP, extratags=[(274, 3, 1, value, True)], metadata=None)
    for name in ("a.png", "a.tif"):
        np.testing.assert_array_equal(values(tmp_path / name), RAMP)


def test_exif_data_that_are_damaged_are_ignored(tmp_path: Path) -> None:
    path = write_png(tmp_path / "a.png", RAMP, 8, 0, [png_chunk(b"eXIf", b"MM\0*\xff\xff\xff\xff junk")])
    np.testing.assert_array_equal(values(path), RAMP)


def test_a_turned_picture_has_its_spacing_turned_too() -> None:
    orientation = ((1, -1), (0, 1), (2, 1))
    for turned, expected in ((orientation, (3.0, 2.0)), (None, (2.0, 3.0))):
        stored = StoredImage(RAMP[..., None], "picture", spacing=(2.0, 3.0), spatial=False, orientation=turned)
        assert show_upright(stored, "axial", "a", "a").meta["spacing"] == expected


@pytest.mark.parametrize("kind", ["png", "jpg", "bmp", "tif", "webp"])
def test_the_limit_is_this_packages_and_holds_for_every_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    Image.fromarray(COLOURS).save(tmp_path / f"a.{kind}")
    (tmp_path / f"a.{kind}").rename(tmp_path / "a.png")
    if kind != "webp":  # Pillow looks at its own limit, of 179 million pixels, before it lets WebP be opened
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    monkeypatch.setenv("MEDCLIPSAM_MAX_VOXELS", "288")
    assert read_image(tmp_path / "a.png").shape == (3, 8, 12)
    monkeypatch.setenv("MEDCLIPSAM_MAX_VOXELS", "287")
    with pytest.raises(InputError, match="promises 8 x 12 x 3 = 288 voxels, the limit is 287"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_a_png_whose_text_or_profile_swells_is_refused(tmp_path: Path, kind: bytes) -> None:
    start = {b"zTXt": b"Comment\0\0", b"iTXt": b"Comment\0\1\0\0\0", b"iCCP": b"profile\0\0"}[kind]
    path = write_png(tmp_path / "a.png", RAMP, 8, 0, [png_chunk(kind, start + zlib.compress(bytes(1 << 25)))])
    with pytest.raises(InputError, match=r"(?i)decompressed data too large"):
        read_image(path)
