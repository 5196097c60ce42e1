from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from monai.data import MetaTensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.transforms import CT_WINDOWS, DisplayRange, DisplayRanged, Window, parse_window


def row(*values: float, dtype: str = "float32") -> np.ndarray:
    """A one-row grey image (1, 1, W)."""
    return np.array([[values]], dtype=dtype)


@pytest.mark.parametrize(
    ("window", "image", "expected"),
    [
        ("soft_tissue", row(-2000, -160, 40, 240, 3000), [0, 0, 0.5, 1, 1]),
        ((40, 400), row(-160, -60, 240), [0, 0.25, 1]),
        ([0, 2], row(-1, 0, 1, dtype="int16"), [0, 0.5, 1]),
        ("lung", row(-1350, -600, 150, dtype=">i2"), [0, 0.5, 1]),
        ("full", row(-5, 0, 15), [0, 0.25, 1]),
        ("uint8", row(0, 51, 255, 300), [0, 0.2, 1, 1]),
        ("uint8", row(51, 51, 51), [0.2, 0.2, 0.2]),
        ("percentile:0,100", row(2, 4, 6), [0, 0.5, 1]),
        (Window("range", 0, 10), row(-1, 5, 11), [0, 0.5, 1]),
        (None, row(0, 102, 102, dtype="uint8"), [0, 0.4, 0.4]),
        (None, row(51, 51, dtype="uint8"), [0.2, 0.2]),
        (None, row(7, 7, 7), [0, 0, 0]),
        (None, row(False, True, dtype="bool"), [0, 1]),
        ((0, 2), row(np.nan, np.inf, -np.inf, 0), [0, 1, 0, 0.5]),
        ("full", row(np.nan, np.inf, -np.inf, 2, 4), [0, 1, 0, 0, 1]),
        (None, row(np.nan, np.nan), [0, 0]),
        (None, row(np.inf, -np.inf), [0, 0]),
    ],
)
def test_grey_values_are_mapped_as_the_window_says(window, image, expected):
    out = DisplayRange(window)(image)
    assert isinstance(out, np.ndarray) and out.dtype == np.float32 and out.shape == (3, *image.shape[1:])
    for channel in out:
        np.testing.assert_allclose(channel, [expected], atol=1e-6)


@pytest.mark.parametrize(
    ("meta", "image", "expected"),
    [
        ({"uint8": True}, row(0, 51), [0, 0.2]),
        ({"uint8": False, "mode": "RGB"}, row(0, 51), [0, 0.2]),
        ({"mode": "L"}, row(0, 51), [0, 0.2]),
        ({"mode": "I;16"}, row(0, 51), [0, 1]),
        ({"uint8": False}, row(0, 51), [0, 1]),
        ({"uint8": True}, row(0, 0.5), [0, 1]),  # scaled since it was read
        ({"uint8": True}, row(0, 256), [0, 1]),
        ({"window_center": 40, "window_width": 400}, row(-160, 40, 240), [0, 0.5, 1]),
        ({"window_center": [40.0, 700.0], "window_width": [400.0, 4000.0]}, row(-160, 40, 240), [0, 0.5, 1]),
        ({"window_center": 40, "window_width": 0}, row(0, 10), [0, 1]),
        ({"window_center": None, "window_width": "?"}, row(0, 10), [0, 1]),
        ({"window_center": 40, "window_width": 400, "photometric": "MONOCHROME1"}, row(-160, 140, 240), [1, 0.25, 0]),
        ({"photometric": "MONOCHROME2"}, row(0, 10), [0, 1]),
    ],
)
def test_automatic_range_follows_the_meta_data(meta, image, expected):
    out = DisplayRange(percentiles=(0, 100))(MetaTensor(torch.from_numpy(image), meta=meta))
    np.testing.assert_allclose(out[0].numpy(), [expected], atol=1e-6)


def test_meta_tensor_keeps_its_geometry_and_loses_what_described_the_old_values():
    affine = torch.diag(torch.tensor([2.0, 3.0, 4.0, 1.0], dtype=torch.float64))
    meta = {"filename_or_obj": "ct.nii.gz", "photometric": "MONOCHROME1", "window_center": 1, "window_width": 2}
    image = MetaTensor(torch.rand(1, 4, 5, 6), affine=affine, meta=dict(meta))
    once = DisplayRange()(image)
    assert isinstance(once, MetaTensor) and once.shape == (3, 4, 5, 6)
    assert torch.equal(once.affine, affine) and once.meta["filename_or_obj"] == "ct.nii.gz"
    assert image.meta["window_center"] == 1, "the image that came must not change"
    torch.testing.assert_close(DisplayRange("full")(once).flip(0), DisplayRange("full")(once))
    assert not {"photometric", "window_center", "window_width"} & set(once.meta)


@pytest.mark.parametrize(
    ("channels", "kept"), [(1, [0, 0, 0]), (2, [0, 0, 0]), (3, [0, 1, 2]), (4, [0, 1, 2])], ids=str
)
def test_colour_is_kept_and_alpha_is_dropped(channels, kept):
    image = torch.tensor([10, 20, 30, 255], dtype=torch.uint8)[:channels, None, None].expand(-1, 2, 2)
    out = DisplayRange()(image)
    assert type(out) is torch.Tensor
    torch.testing.assert_close(out[:, 0, 0], torch.tensor([10.0, 20.0, 30.0])[kept] / 255)


def test_alpha_and_other_channels_do_not_stretch_the_range():
    image = np.stack([np.full((2, 2), 5.0), np.full((2, 2), 255.0)])
    image[0, 0, 0] = 0
    np.testing.assert_allclose(DisplayRange("full")(image)[0], [[0, 1], [1, 1]])
    rgb = np.arange(3.0)[:, None, None] * np.ones((3, 1, 2))
    np.testing.assert_allclose(DisplayRange("full")(rgb)[:, 0, 0], [0, 0.5, 1])


def test_percentiles_are_over_the_whole_volume():
    volume = np.stack([np.full((8, 8), value, dtype="float32") for value in (0, 50, 100)], axis=-1)[None]
    np.testing.assert_allclose(DisplayRange()(volume)[0, 0, 0], [0, 0.5, 1])


def test_percentiles_agree_with_numpy():
    image = np.random.default_rng(0).normal(size=(1, 31, 17))
    low, high = np.percentile(image, [5, 90])
    expected = np.clip((image - low) / (high - low), 0, 1)
    np.testing.assert_allclose(DisplayRange("percentile:5,90")(image)[:1], expected, atol=1e-6)
    np.testing.assert_allclose(DisplayRange("percentile", percentiles=(5, 90))(image)[:1], expected, atol=1e-6)


def test_sampled_percentiles_see_every_slice(monkeypatch):
    monkeypatch.setattr("medclipsam_monai.transforms.display.MAX_SAMPLES", 64)
    volume = np.full((1, 16, 16, 8), 100, dtype="float32")
    volume[..., 0] = np.arange(16) // 4 % 2  # a stride of 32 would see this slice only and take 1 for the upper end
    volume[..., 3] = 50
    np.testing.assert_allclose(DisplayRange("percentile:0,100")(volume)[..., 3], 0.5)


def test_an_almost_empty_image_falls_back_to_its_full_range():
    image = np.zeros((1, 50, 50), dtype="float32")
    image[0, 3, 4] = 8
    out = DisplayRange()(image)
    assert out[0, 3, 4] == 1 and out.sum() == 3


DTYPES = ["bool", "uint8", "int16", ">i2", "uint16", "int32", "int64", "uint64", "float16", "float32", ">f8", "float64"]


@settings(max_examples=200, deadline=None)
@given(
    image=st.sampled_from(DTYPES).flatmap(
        lambda dtype: hnp.arrays(dtype, st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 4)))
    ),
    window=st.sampled_from(
        [None, "full", "uint8", "percentile", "lung", "percentile:0,100", (0, 1e-30), (1e300, 1e308)]
    ),
)
def test_any_image_ends_up_finite_and_within_0_and_1(image, window):
    before = image.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # numpy's, of casts that overflow to infinity
        out = DisplayRange(window)(image)
    assert out.shape == (3, *image.shape[1:]) and out.dtype == np.float32
    assert np.isfinite(out).all() and out.min() >= 0 and out.max() <= 1
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize(
    "shape", [(5, 2, 2), (0, 2, 2), (1, 0, 2), (2, 2), (1, 1, 2, 2, 2)], ids=lambda shape: "x".join(map(str, shape))
)
def test_a_shape_that_is_no_image_is_refused(shape):
    with pytest.raises(InputError, match="an image"):
        DisplayRange()(np.zeros(shape))


def test_complex_values_are_refused():
    with pytest.raises(InputError, match="real numbers"):
        DisplayRange()(np.zeros((1, 2, 2), dtype=complex))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lung", Window("range", -1350, 150)),
        (" Soft-Tissue ", Window("range", -160, 240)),
        ("soft tissue", Window("range", -160, 240)),
        ("40,400", Window("range", -160, 240)),
        ("-600, 1500", Window("range", -1350, 150)),
        ("auto", Window("auto", 0.5, 99.5)),
        ("percentile", Window("percentile", 0.5, 99.5)),
        ("percentile:1,99", Window("percentile", 1, 99)),
        ("FULL", Window("full")),
        ("uint8", Window("uint8")),
    ],
)
def test_windows_are_read_as_written_on_a_command_line(text, expected):
    assert parse_window(text) == expected
    assert DisplayRange(text).window == expected


@pytest.mark.parametrize(
    "text", ["", "lnug", "40", "40,400,1", "a,b", "percentile:1", "lung:3", "percentile:a,b", "full:1"]
)
def test_an_unknown_window_names_the_known_ones(text):
    with pytest.raises(InputError, match=r"unknown window.*lung.*soft_tissue") as error:
        parse_window(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "window", ["40,0", "40,-1", "nan,1", "0,inf", (40, 0), (1, 2, 3), "percentile:99,1", "percentile:-1,9"]
)
def test_an_impossible_window_is_refused(window):
    with pytest.raises(InputError):
        DisplayRange(window)


@pytest.mark.parametrize("percentiles", [(99, 1), (0, 101), (50, 50), (1,)])
def test_impossible_percentiles_are_refused(percentiles):
    with pytest.raises(InputError, match="percentiles"):
        DisplayRange(percentiles=percentiles)


def test_every_named_window_has_a_width():
    assert all(width > 0 for _, width in CT_WINDOWS.values())


def test_dictionary_version_maps_its_keys_only():
    data = {"image": row(-160, 240), "other": row(3)}
    out = DisplayRanged("image", window="abdomen")(data)
    np.testing.assert_allclose(out["image"][0], [[0, 1]])
    assert out["other"] is data["other"] and data["image"].shape == (1, 1, 2)
