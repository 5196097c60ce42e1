"""Pictures come upright and pixel for pixel as they are stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medclipsam_monai.errors import InputError
from medclipsam_monai.io import read_image, write_mask

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


def test_exif_orientation_is_left_alone_so_the_mask_lies_on_the_stored_pixels(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to look at it
    Image.fromarray(RAMP).save(tmp_path / "a.png", exif=exif)
    image = read_image(tmp_path / "a.png")
    assert image.shape == (1, 8, 12)
    path = write_mask(image > 50, image.meta["geometry"], tmp_path / "m")
    np.testing.assert_array_equal(np.array(Image.open(path)), RAMP > 50)


def test_a_tiff_of_pages_is_refused_with_their_number(tmp_path: Path) -> None:
    page = Image.fromarray(RAMP)
    page.save(tmp_path / "a.tif", save_all=True, append_images=[page, page])
    with pytest.raises(InputError, match="holds 3 pages"):
        read_image(tmp_path / "a.tif")


def test_more_pixels_than_pillow_trusts_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(RAMP).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    with pytest.raises(InputError, match="has more than 80 pixels"):
        read_image(tmp_path / "a.png")
