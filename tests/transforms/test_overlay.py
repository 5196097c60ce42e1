from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medclipsam_monai.transforms import CLASS_COLOURS, Overlay, Overlayd, saliency_picture

ORANGE, BLUE = (list(colour) for colour in CLASS_COLOURS[:2])
GREY = np.full((3, 9, 11), 0.4, dtype="float32")  # 102
SQUARE = np.zeros((1, 9, 11), dtype=bool)
SQUARE[0, 2:7, 3:8] = True


def test_the_picture_is_the_image_pixel_for_pixel():
    image = np.arange(3 * 4 * 5, dtype="float32").reshape(3, 4, 5) / 255
    picture = Overlay()(image, np.zeros((2, 4, 5)))
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, np.arange(60).reshape(3, 4, 5).transpose(1, 2, 0))


def test_fill_is_translucent_and_contour_is_crisp():
    picture = Overlay(alpha=0.5, contour=1)(GREY, SQUARE)
    inner = SQUARE[0].copy()
    inner[[2, 6]], inner[:, [3, 7]] = False, False
    assert (picture[SQUARE[0] & ~inner] == ORANGE).all()
    assert (picture[inner] == np.rint((np.array(ORANGE) + 102) / 2)).all()
    assert (picture[~SQUARE[0]] == 102).all()


@pytest.mark.parametrize(("contour", "pixels"), [(0, 0), (1, 16), (2, 24), (3, 25)])
def test_contour_has_its_width_inside_the_mask(contour, pixels):
    picture = Overlay(alpha=0, contour=contour)(GREY, SQUARE)
    assert (picture == ORANGE).all(axis=-1).sum() == pixels


def test_each_class_has_its_colour():
    masks = np.zeros((8, 1, 8), dtype=bool)
    for i in range(8):
        masks[i, 0, i] = True
    picture = Overlay()(np.zeros((1, 1, 8)), masks)
    assert picture[0].tolist() == [list(CLASS_COLOURS[i % 7]) for i in range(8)]
    assert Overlay(colours=[(1, 2, 3)])(np.zeros((1, 1, 8)), masks)[0].tolist() == [[1, 2, 3]] * 8


def test_boxes_and_points_are_drawn_in_the_colour_of_their_class():
    boxes = [np.zeros((0, 4)), torch.tensor([[1.0, 2.0, 6.0, 5.0]])]
    picture = Overlay()(GREY, boxes=boxes)
    rows, columns = np.nonzero((picture == BLUE).all(axis=-1))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (2, 5, 1, 6) and len(rows) == 16
    marked = Overlay()(GREY, points=[torch.tensor([[[5.0, 4.0]]])])
    assert marked[4, 5].tolist() == ORANGE and (marked[4, 10] == 102).all()


def test_a_small_picture_is_enlarged_by_a_whole_factor():
    picture = Overlay(min_size=30, contour=1, alpha=0)(GREY, SQUARE, boxes=[np.array([[3, 2, 7, 6]])])
    assert picture.shape == (27, 33, 3)
    orange = (picture == ORANGE).all(axis=-1)
    assert orange.sum() == 4 * 14, "contour and box coincide, one pixel of the picture wide"
    assert Overlay(min_size=11)(GREY, SQUARE).shape == (9, 11, 3)


def test_a_legend_is_added_below_and_leaves_the_picture_alone():
    image = np.full((1, 40, 200), 0.4)
    plain = Overlay()(image, np.zeros((2, 40, 200)))
    picture = Overlay(names=["liver", "left kidney"])(image, np.zeros((2, 40, 200)))
    np.testing.assert_array_equal(picture[:40], plain)
    strip = picture[40:]
    assert len(strip) == 20 and (strip == ORANGE).all(axis=-1).sum() == 144 == (strip == BLUE).all(axis=-1).sum()
    narrow = Overlay(names=["liver", "left kidney"])(image[..., :80], np.zeros((2, 40, 80)))
    assert narrow.shape == (80, 80, 3), "names that do not fit beside each other take a line each"


@pytest.mark.parametrize(
    ("depth", "foreground", "grid"),
    [(30, range(4, 13), (3, 3)), (30, range(30), (3, 3)), (30, [5], (1, 1)), (30, [], (3, 3)), (2, [0, 1], (1, 2))],
)
def test_a_volume_becomes_a_montage_of_slices(depth, foreground, grid):
    mask = torch.zeros(1, 40, 50, depth)
    mask[..., list(foreground)] = 1
    picture = Overlay()(torch.zeros(3, 40, 50, depth), mask)
    assert picture.shape == (40 * grid[0], 50 * grid[1], 3)


def test_a_montage_shows_the_slices_with_foreground_in_order():
    volume = np.broadcast_to(np.arange(20) / 255, (1, 40, 50, 20))
    mask = np.zeros((1, 40, 50, 20))
    mask[0, 0, -1, [3, 8, 9, 15]] = 1
    picture = Overlay()(volume, mask)
    assert [int(picture[y, x, 0]) for y in (39, 79) for x in (49, 99)] == [3, 8, 9, 15]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Overlay()(np.zeros((2, 4, 4)), np.zeros((1, 4, 4))), "image must be"),
        (lambda: Overlay()(np.zeros((3, 4, 4)), np.zeros((1, 4, 5))), "mask must be"),
        (lambda: Overlay()(np.zeros((3, 4, 4, 2)), np.zeros((1, 4, 4))), "mask must be"),
        (lambda: Overlay()(np.zeros((3, 4, 4, 2)), np.zeros((1, 4, 4, 2)), boxes=[]), "2-D images only"),
        (lambda: Overlay(alpha=1.5), "alpha must be in"),
        (lambda: Overlay(contour=-1), "contour must be"),
        (lambda: Overlay(colours=[]), "colours must be"),
        (lambda: saliency_picture(np.zeros((4, 5)), np.zeros((3, 4, 4))), "saliency must be"),
        (lambda: saliency_picture(np.zeros((4, 4)), np.zeros((3, 4, 4)), alpha=-1), "alpha must be in"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_saliency_is_drawn_the_stronger_the_more_opaque():
    saliency = torch.tensor([[0.0, 0.5, 1.0, float("nan")]])
    picture = saliency_picture(saliency, np.full((1, 1, 4), 0.4), alpha=1.0)
    assert picture.shape == (1, 4, 3) and picture.dtype == np.uint8
    assert picture[0, 0].tolist() == picture[0, 3].tolist() == [102, 102, 102]
    assert picture[0, 2].tolist() == [252, 255, 164]  # inferno's bright end
    assert len({tuple(pixel) for pixel in picture[0].tolist()}) == 3


def test_inputs_are_left_alone():
    image, mask = GREY.copy(), SQUARE.copy()
    Overlay()(image, mask, boxes=[np.array([[0, 0, 3, 3]])])
    np.testing.assert_array_equal(image, GREY)
    np.testing.assert_array_equal(mask, SQUARE)


def test_dictionary_version_adds_a_picture():
    out = Overlayd("image", "pred", "overlay", alpha=0, contour=0)(
        {"image": MetaTensor(torch.from_numpy(GREY)), "pred": MetaTensor(torch.from_numpy(SQUARE))}
    )
    assert isinstance(out["overlay"], np.ndarray) and (out["overlay"] == 102).all()


def test_the_dictionary_version_hands_every_parameter_on():
    options = {"alpha": 0.5, "contour": 1, "colours": [[1, 2, 3]], "names": ["a"], "min_size": 30}
    out = Overlayd("image", **options)({"image": GREY, "pred": SQUARE})["overlay"]
    np.testing.assert_array_equal(out, Overlay(**options)(GREY, SQUARE))
    with pytest.raises(ValueError, match="alpha must be in"):
        Overlayd("image", alpha=2)


BLOCK = np.zeros((1, 6, 8), dtype=bool)
BLOCK[0, 2:4, 3:6] = True


@pytest.mark.parametrize(
    ("spacing", "shape"),
    [
        (None, (6, 8)),
        ((0.7, 0.7), (6, 8)),
        ((0.7, 0.7005), (6, 8)),
        ((3.0, 1.0), (18, 8)),
        ((1.0, 2.5), (6, 20)),
        ((5.0, 0.8, 0.8), (38, 8)),
        ((0.0, 1.0), (6, 8)),
        ((float("nan"), 1.0), (6, 8)),
        ((1000.0, 1.0), (2048, 3)),
    ],
)
def test_a_millimetre_is_as_long_down_as_across(spacing, shape):
    picture = Overlay()(np.full((3, 6, 8), 0.4), BLOCK, spacing=spacing)
    assert picture.shape == (*shape, 3)


def test_a_coronal_cut_is_stretched_with_its_mask_and_its_box():
    image = np.arange(48, dtype=float).reshape(1, 6, 8) / 255
    picture = Overlay(alpha=0, contour=0)(image, BLOCK, spacing=(3.0, 1.0))
    np.testing.assert_array_equal(picture[..., 0], np.arange(48).reshape(6, 8).repeat(3, axis=0))
    filled = Overlay(alpha=1, contour=0)(image, BLOCK, spacing=(3.0, 1.0))
    np.testing.assert_array_equal((filled == ORANGE).all(axis=-1), BLOCK[0].repeat(3, axis=0))
    boxed = Overlay()(image, boxes=[np.array([[3, 2, 5, 3]])], spacing=(3.0, 1.0))
    rows, columns = np.nonzero((boxed == ORANGE).all(axis=-1))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (6, 11, 3, 5)
    marked = Overlay()(np.zeros((1, 20, 20)), points=[np.array([[[4.0, 10.0]]])], spacing=(3.0, 1.0))
    assert marked[31, 4].tolist() == ORANGE and marked.shape == (60, 20, 3)


@pytest.mark.parametrize("step", [1.3, 1.9, 2.4, 7.1])
def test_boxes_lie_on_their_masks_at_every_proportion(step):
    for spacing in ((step, 1.0), (1.0, step)):
        filled = Overlay(alpha=1, contour=0)(np.zeros((1, 6, 8)), BLOCK, spacing=spacing)
        boxed = Overlay()(np.zeros((1, 6, 8)), boxes=[np.array([[3, 2, 5, 3]])], spacing=spacing)
        ends = [[(hit.min(), hit.max()) for hit in np.nonzero((p == ORANGE).all(-1))] for p in (filled, boxed)]
        assert ends[0] == ends[1]


def test_tiles_of_a_montage_and_saliency_are_stretched_alike():
    assert Overlay()(np.zeros((1, 10, 20, 4)), spacing=(2.0, 1.0, 9.0)).shape == (40, 40, 3)
    heat = saliency_picture(np.zeros((10, 20)), np.zeros((1, 10, 20)), spacing=(2.0, 1.0))
    assert heat.shape == (20, 20, 3)


def test_a_large_picture_of_square_pixels_keeps_them():
    assert Overlay()(np.zeros((1, 2100, 10)), spacing=(0.1, 0.1)).shape == (2100, 10, 3)
    assert Overlay()(np.zeros((1, 2100, 10)), spacing=(0.2, 0.1)).shape == (2100, 5, 3)


def test_dictionary_version_takes_the_spacing_of_its_image():
    data = {"image": MetaTensor(torch.zeros(1, 6, 8), meta={"spacing": (3.0, 1.0)}), "pred": torch.zeros(1, 6, 8)}
    assert Overlayd("image")(data)["overlay"].shape == (18, 8, 3)
