"""A known mask comes back voxel for voxel from the SEG, by highdicom and by dcmqi, however the series lies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_checks import (
    ALGORITHM,
    apart,
    as_labels,
    blobs,
    by_dcmqi,
    dciodvfy_errors,
    dice_by_dcmqi,
    dice_by_highdicom,
    headers,
    needs_dciodvfy,
    points_of,
    real_series,
    save,
)
from highdicom.seg import segread
from pydicom.dataset import Dataset

from medclipsam_monai.io.dicom_seg.segmentation import segmentation_object
from medclipsam_monai.phantoms.dicom import AXIAL, OBLIQUE, write_phantom_volume

ANISOTROPIC = (1.25, 1.75, 4.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
PHANTOMS = {
    "axial": {},
    "oblique": {"directions": OBLIQUE, "spacing": ANISOTROPIC},
    "reversed": {"order": "reversed"},
    "unevenly ordered": {"order": "shuffled", "spacing": ANISOTROPIC},
    "oblique and unevenly ordered": {"order": "shuffled", "directions": OBLIQUE},
    "sagittal": {"modality": "MR", "directions": SAGITTAL, "order": "reversed"},
}
REAL = ("ct_3slice_with_seg", "ct_chest_17", "mr_head")


def check(masks: np.ndarray, sources: Sequence[Dataset], tmp_path) -> None:
    names = [f"class {number}" for number in range(1, len(masks) + 1)]
    path = save(segmentation_object(as_labels(masks), names, sources, ALGORITHM), tmp_path / "seg.dcm")
    for segment, mask in enumerate(masks, start=1):
        points = points_of(mask, sources)
        assert dice_by_highdicom(path, segment, points) == 1.0
        assert dice_by_dcmqi(path, segment, points) == 1.0


@pytest.mark.parametrize("case", PHANTOMS)
def test_phantom_masks_come_back_exactly(case, tmp_path):
    series = write_phantom_volume(tmp_path / "series", slices=5, **PHANTOMS[case])
    truth = list(series.masks.values())
    check(apart([*truth, blobs(truth[0].shape)]), headers(series), tmp_path)


@pytest.mark.parametrize("keep", [[0, 1, 2, 5, 7], [6, 0, 4, 2], [3]], ids=["missing", "every other", "single"])
def test_series_with_missing_slices_keep_their_places(keep, tmp_path):
    series = write_phantom_volume(tmp_path / "series", slices=8)
    sources = [headers(series)[index] for index in keep]
    for source in sources:
        source.SliceThickness = 3  # thinner than the slices' distance of 5 mm: no reader may space them by it
    check(series.masks["lungs"][None, keep], sources, tmp_path)


def test_uneven_slices_lie_each_at_its_own_place(tmp_path):
    """No even grid holds them, so the frames are read one by one."""
    series = write_phantom_volume(tmp_path / "series", slices=8, directions=OBLIQUE)
    keep = [7, 0, 2, 4]
    sources = [headers(series)[index] for index in keep]
    mask = series.masks["lungs"][keep]
    path = save(segmentation_object(mask.astype(np.uint8), ["lungs"], sources, ALGORITHM), tmp_path / "seg.dcm")
    seg = segread(path)
    found = seg.get_pixels_by_source_instance([source.SOPInstanceUID for source in sources])
    np.testing.assert_array_equal(found[..., 0], mask)
    places = {
        group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID: group.PlanePositionSequence[0]
        for group in seg.PerFrameFunctionalGroupsSequence
    }
    assert {uid: place.ImagePositionPatient for uid, place in places.items()} == {
        source.SOPInstanceUID: source.ImagePositionPatient for source in sources
    }


def test_segments_of_few_frames_keep_their_places(tmp_path):
    """Frames without a voxel are left out of a SEG: the readers must still know how far apart the others are."""
    series = write_phantom_volume(tmp_path / "series", slices=8, directions=OBLIQUE)
    masks = apart([series.masks["heart"], series.masks["lungs"]])
    masks[0, [0, 1, 3, 4, 5]] = False
    masks[1, [0, 2, 3, 5, 6, 7]] = False
    check(masks, headers(series), tmp_path)


PLACES = {
    "uneven and thick": ([0, 2.5, 6.1, 7.0], 5),
    "uneven, no thickness": ([0, 2.5, 6.1, 7.0], None),
    "nearly even and thick": ([0, 2.55, 4.95, 7.5, 10.05, 12.5], 5),
    "many, nearly even": ([*(2.5 * number + (0.1 if number % 2 else 0) for number in range(30))], 7),
}


@pytest.mark.parametrize("case", PLACES)
def test_dcmqi_loses_no_slice_of_an_uneven_row(case, tmp_path):
    """It makes an even grid of them: every slice must be in it once, with all its voxels."""
    places, thickness = PLACES[case]
    sources = headers(write_phantom_volume(tmp_path / "series", slices=len(places)))
    for source, place in zip(sources, places, strict=True):
        source.ImagePositionPatient = [0, 0, f"{place:.9g}"]
        source.SliceThickness = thickness
    mask = blobs((len(places), int(sources[0].Rows), int(sources[0].Columns)))
    path = save(segmentation_object(mask.astype(np.uint8), ["lungs"], sources, ALGORITHM), tmp_path / "seg.dcm")
    found = sitk.GetArrayFromImage(by_dcmqi(path, 1)) > 0
    np.testing.assert_array_equal(found[found.any(axis=(1, 2))], mask)
    even = case.endswith("nearly even") or case.startswith("nearly even")
    assert not even or len(found) == len(places)


@pytest.mark.parametrize("thickness", [5, None])
def test_a_tilted_gantry_keeps_the_place_of_each_slice(thickness, tmp_path):
    sources = headers(write_phantom_volume(tmp_path / "series", slices=5))
    for number, source in enumerate(sources):
        source.ImagePositionPatient, source.SliceThickness = [0, 1.25 * number, 2.5 * number], thickness
    mask = blobs((5, int(sources[0].Rows), int(sources[0].Columns)))
    seg = segmentation_object(mask.astype(np.uint8), ["lungs"], sources, ALGORITHM)
    places = [group.PlanePositionSequence[0].ImagePositionPatient for group in seg.PerFrameFunctionalGroupsSequence]
    assert sorted(places, key=lambda place: place[2]) == [source.ImagePositionPatient for source in sources]
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert (measures.SpacingBetweenSlices, measures.SliceThickness) == (2.5, thickness or 2.5)
    found = sitk.GetArrayFromImage(by_dcmqi(save(seg, tmp_path / "seg.dcm"), 1)) > 0
    np.testing.assert_array_equal(found, mask)


@needs_dciodvfy
@pytest.mark.parametrize("digits", [4, 3, 2])
@pytest.mark.parametrize("slices", [1, 4])
def test_rounded_directions_are_stated_as_unit_vectors_at_a_right_angle(digits, slices, tmp_path):
    sources = headers(write_phantom_volume(tmp_path / "series", slices=slices))
    exact = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0][:2].ravel()
    turn(sources, exact, 2.5)
    for source in sources:
        source.ImageOrientationPatient = [str(round(value, digits)) for value in exact]
    mask = blobs((slices, int(sources[0].Rows), int(sources[0].Columns)))
    path = save(segmentation_object(mask.astype(np.uint8), ["lungs"], sources, ALGORITHM), tmp_path / "seg.dcm")
    assert dciodvfy_errors(path) == []
    image = by_dcmqi(path, 1)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image) > 0, mask)
    stated = np.array(image.GetDirection()).reshape(3, 3).T[:2].ravel()
    np.testing.assert_allclose(stated, exact, atol=1.5 * 10.0**-digits)
    np.testing.assert_allclose(image.GetOrigin(), np.array(sources[0].ImagePositionPatient, float), atol=1e-4)


def turn(sources: Sequence[Dataset], directions: Sequence[float], step: float) -> None:
    """Say that a series lies at other angles."""
    normal = np.cross(directions[:3], directions[3:])
    for number, source in enumerate(sources):
        position = np.array([-40.5, 12.25, 300]) + number * step * normal
        source.ImageOrientationPatient = list(directions)
        source.ImagePositionPatient = [f"{value:.9g}" for value in position]


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("kind", ["as it is", "reversed", "unevenly ordered", "oblique", "upside down"])
def test_real_series_come_back_exactly(name, kind, tmp_path):
    sources = real_series(name)
    for source in sources:
        source.Rows, source.Columns = 80, 72  # a corner of each slice: quicker, and not square
    if kind == "oblique":
        turn(sources, OBLIQUE, 2.5)
    elif kind == "upside down":
        turn(sources, [-value for value in AXIAL], -3)
    elif kind == "reversed":
        sources.reverse()
    elif kind == "unevenly ordered":
        sources = [sources[index] for index in np.random.default_rng(3).permutation(len(sources))]
    check(apart(blobs((len(sources), 80, 72), seed) for seed in (0, 1)), sources, tmp_path)


@needs_dciodvfy
@pytest.mark.parametrize("name", REAL)
def test_segmentations_of_real_series_are_valid(name, tmp_path):
    sources = real_series(name)
    mask = np.zeros((len(sources), int(sources[0].Rows), int(sources[0].Columns)), bool)
    mask[1:, 20:60, 10:70] = True
    seg = segmentation_object(mask.astype(np.uint8), ["left lung nodule"], sources, ALGORITHM)
    assert dciodvfy_errors(save(seg, tmp_path / "seg.dcm")) == []
