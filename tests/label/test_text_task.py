"""Text and clicks without a server: what they answer, and where clicks land."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from PIL import Image

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import read_image
from medclipsam_monai.label.models import ServedModels
from medclipsam_monai.label.options import split_texts
from medclipsam_monai.label.tasks.click_task import ClickSegmentation
from medclipsam_monai.label.tasks.clicks import read_clicks
from medclipsam_monai.label.tasks.text_task import TextSegmentation, largest_components
from medclipsam_monai.phantoms.seeds import VOLUMES
from medclipsam_monai.phantoms.volumes import make_phantom_volume
from medclipsam_monai.prompts import parse_targets

SLICER = {"client_id": "user-xyz", "result_extension": ".nrrd", "result_dtype": "uint8"}
"""What the plugin of 3D Slicer adds to each request."""
OWN_CLIENT = {"client_id": None}
"""What MONAI Label's own Python client adds."""


@pytest.fixture
def models(tmp_path):
    return ServedModels(tmp_path / "model", "cpu")


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return str(tmp_path / "picture.png")


def test_methods_and_presets_share_weights(models):
    plain, other = models.text_segmenter("demo"), models.text_segmenter("demo", "gradcam")
    assert plain is models.text_segmenter("demo") and plain is not other
    assert plain.network.encoder is other.network.encoder and plain.network.segmenter is other.network.segmenter
    assert other.preset.settings.saliency["method"] == "gradcam"
    with pytest.raises(InputError, match="unknown saliency method"):
        models.text_segmenter("demo", "magic")


def test_texts_are_separated_by_semicolons():
    assert split_texts("lungs; heart=a big heart ;") == ["lungs", "heart=a big heart"]
    assert split_texts({"lungs": "both lungs"}) == {"lungs": "both lungs"}


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SPL"])
def test_ohif_gets_plain_16_bit_nrrd_at_the_same_place(models, tmp_path, codes):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 25, 26)).astype(np.float32)
    affine = nib.orientations.inv_ornt_aff(nib.orientations.axcodes2ornt(codes), pixels.shape) @ np.diag([1, 2, 3, 1])
    nib.save(nib.Nifti1Image(pixels, affine), tmp_path / "volume.nii.gz")
    request = {"image": str(tmp_path / "volume.nii.gz"), "roi": [5, 5, 20, 20, 3, 12]}
    plain, _ = ClickSegmentation(models, "demo")(request)
    ohif = {"result_extension": ".nrrd", "result_dtype": "uint16", "result_compress": False}
    nrrd, _ = ClickSegmentation(models, "demo")({**request, **ohif})
    images = [sitk.ReadImage(file) for file in (plain, nrrd)]
    assert images[1].GetPixelIDTypeAsString() == "16-bit unsigned integer"
    assert b"encoding: raw" in Path(nrrd).read_bytes()[:500]
    masks = [sitk.GetArrayFromImage(image) for image in images]
    assert masks[0].any() and (masks[0] == masks[1]).all()
    for get in (sitk.Image.GetOrigin, sitk.Image.GetDirection, sitk.Image.GetSpacing):
        np.testing.assert_allclose(get(images[0]), get(images[1]), atol=1e-5)


@pytest.mark.parametrize("upside_down", [False, True])
def test_a_client_is_told_the_slices_of_a_volume_as_the_file_counts_them(models, tmp_path, upside_down):
    (seed,) = VOLUMES.seeds(1)
    drawn = make_phantom_volume("chest_abdomen_ct", seed, (96, 96, 12))
    image = nib.Nifti1Image(drawn.image, drawn.affine)
    if upside_down:
        image = image.slicer[..., ::-1]
    nib.save(image, tmp_path / "volume.nii.gz")
    file, told = TextSegmentation(models, "small")({"image": str(tmp_path / "volume.nii.gz"), "text": "lungs"})
    shown = np.flatnonzero(sitk.GetArrayFromImage(sitk.ReadImage(file)).any(axis=(1, 2)))
    (entry,) = told["classes"]
    counted = [number for first, last in entry["slices"]["runs"] for number in range(first, last + 1)]
    assert counted == shown.tolist() != []
    assert entry["slices"]["count"] == len(shown) < 12 == entry["slices"]["of"]


def test_a_form_that_does_not_fit_is_refused(models, tmp_path, picture):
    nib.save(nib.Nifti1Image(np.eye(16)[..., None].repeat(3, -1).astype(np.float32), np.eye(4)), tmp_path / "v.nii.gz")
    request = {"image": str(tmp_path / "v.nii.gz"), "roi": [2, 2, 9, 9]}
    with pytest.raises(InputError, match="is for pictures"):
        ClickSegmentation(models, "demo")({**request, "result_extension": ".png"})
    with pytest.raises(InputError, match="result_extension must be one of"):
        ClickSegmentation(models, "demo")({"image": picture, "roi": [2, 2, 9, 9], "result_extension": ".exe"})


def test_the_largest_component_of_each_class_stays():
    labels = torch.tensor([[1, 0, 1, 1], [2, 0, 0, 0], [2, 0, 2, 0]], dtype=torch.uint8)
    kept = torch.tensor([[0, 0, 1, 1], [2, 0, 0, 0], [2, 0, 0, 0]], dtype=torch.uint8)
    torch.testing.assert_close(largest_components(labels, 2), kept)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SPL"])
def test_clicks_in_the_files_index_land_on_the_same_voxel(tmp_path, codes):
    values = np.random.default_rng(1).permutation(9 * 10 * 11).reshape(9, 10, 11).astype(np.float32)
    orientation = nib.orientations.axcodes2ornt(codes)
    affine = nib.orientations.inv_ornt_aff(orientation, values.shape)
    nib.save(nib.Nifti1Image(values, affine), tmp_path / "volume.nii.gz")
    image = read_image(tmp_path / "volume.nii.gz")
    point = [2, 7, 4]
    ((number, clicked),) = read_clicks({"foreground": [point]}, image.meta["geometry"]).items()
    column, row = map(int, clicked.points[0])
    assert float(image[0, row, column, number]) == values[2, 7, 4]


def test_a_pictures_clicks_are_columns_first(picture):
    geometry = read_image(picture).meta["geometry"]
    (clicked,) = read_clicks({"foreground": [[59, 0]], "roi": [50, 30, 10, 5]}, geometry).values()
    assert clicked.points == [(59.0, 0.0)] and clicked.box == (10.0, 5.0, 50.0, 30.0)
    with pytest.raises(InputError, match="outside"):
        read_clicks({"foreground": [[0, 59]]}, geometry)


@pytest.mark.parametrize(
    ("request_", "box"),
    [
        ({"roi": [10, 5, 50, 30]}, (10, 5, 50, 30)),
        ({"roi": [10, 5, 50, 30, -4, 9]}, (10, 5, 50, 30)),
        ({"roi": [10, 5, 50, 30, 7, 9]}, (10, 5, 50, 30)),
        ({"roi": [-10, -5, 500, 40]}, (0, 0, 59, 39)),
        ({"roi": [10, 50, 5, 30, -4, 9], "roi_order": "axes"}, (10, 5, 50, 30)),
        ({"roi": [10, 50, 5, 30], "roi_order": "axes"}, (10, 5, 50, 30)),
        ({"roi": [10, 50, 5, 30, -4, 9], **SLICER}, (10, 5, 50, 30)),
        ({"roi": [10, 5, 50, 30, -4, 9], **SLICER, "roi_order": "corners"}, (10, 5, 50, 30)),
        ({"roi": [10, 5, 50, 30, -4, 9], **OWN_CLIENT}, (10, 5, 50, 30)),
        ({"roi": [10, 5, 50, 30, -4, 9], "client_id": "script"}, (10, 5, 50, 30)),
        ({"roi": [10, 5, 50, 30, -4, 9], **SLICER, "restore_label_idx": False}, (10, 5, 50, 30)),
    ],
)
def test_a_box_is_read_in_its_order_and_cut_to_the_picture(picture, request_, box):
    (clicked,) = read_clicks(request_, read_image(picture).meta["geometry"]).values()
    assert clicked.box == box


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SPL"])
def test_a_box_is_cut_to_the_volume(tmp_path, codes):
    shape = (9, 10, 11)
    affine = nib.orientations.inv_ornt_aff(nib.orientations.axcodes2ornt(codes), shape)
    nib.save(nib.Nifti1Image(np.zeros(shape, np.float32), affine), tmp_path / "volume.nii.gz")
    geometry = read_image(tmp_path / "volume.nii.gz").meta["geometry"]
    cut, whole = ({"roi": roi} for roi in ([-7, 2, 90, 80, -1, 30], [0, 2, 8, 9, 0, 10]))
    assert read_clicks(cut, geometry) == read_clicks(whole, geometry)
    for roi in ([20, 2, 30, 5, 0, 3], [2, -9, 5, -1, 0, 3], [2, 2, 5, 5, 11, 30]):
        with pytest.raises(InputError, match="lies outside the image, whose size is 9 x 10 x 11"):
            read_clicks({"roi": roi}, geometry)


def test_a_box_that_leaves_less_than_a_pixel_is_refused(picture):
    with pytest.raises(InputError, match=r"leaves less than a pixel of the image, whose size is 60 x 40"):
        read_clicks({"roi": [59, 3, 80, 9]}, read_image(picture).meta["geometry"])


def test_a_clicked_mask_has_the_number_of_its_class(models, picture):
    models.classes.numbers(parse_targets(["lungs", "heart"]))
    asked = {"image": picture, "roi": [5, 5, 40, 30]}
    for request, names in (
        ({}, {"object": 1}),
        ({"text": "HEART"}, {"heart": 2}),
        ({"label": "Heart"}, {"heart": 2}),
        ({"label": "Segment_1", **SLICER}, {"object": 1}),
        ({"text": "heart", **OWN_CLIENT}, {"heart": 2}),
        ({"text": "heart", "client_id": "script"}, {"heart": 2}),
        ({"label": "heart", **SLICER}, {"heart": 1}),
    ):
        file, said = ClickSegmentation(models, "demo")({**asked, **request})
        mask = sitk.GetArrayFromImage(sitk.ReadImage(file))
        assert said["label_names"] == names and set(np.unique(mask)) == {0, *names.values()}
    assert models.classes.names() == ["lungs", "heart"]
