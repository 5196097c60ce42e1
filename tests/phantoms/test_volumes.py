"""Phantom volumes: true masks in the right place, the same patient on every grid and in every file format."""

from __future__ import annotations

import itertools
import json
import re
from functools import cache

import nibabel as nib
import numpy as np
import pytest
from pydicom import dcmread
from scipy import ndimage

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import read_image
from medclipsam_monai.phantoms.seeds import VOLUMES
from medclipsam_monai.phantoms.volumes import (
    CT_WINDOW,
    VOLUME_TARGETS,
    VOLUME_TASKS,
    PhantomVolume,
    make_phantom_volume,
    save_phantom_volume,
    write_phantom_volume_series,
)

CT, MR = VOLUME_TASKS
SHAPE = (64, 64, 24)
SEEDS = VOLUMES.seeds(3)
each_volume = pytest.mark.parametrize(("task", "seed"), list(itertools.product(VOLUME_TASKS, SEEDS)))
each_task = pytest.mark.parametrize("task", VOLUME_TASKS)


@cache
def volume_of(
    task: str, seed: int = VOLUMES.first, oblique: bool = False, without: tuple[str, ...] = ()
) -> PhantomVolume:
    return make_phantom_volume(task, seed, SHAPE, oblique=oblique, without=without)


def centroid(mask: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """RAS millimetres."""
    return affine[:3, :3] @ np.argwhere(mask).mean(0) + affine[:3, 3]


def slices_with(mask: np.ndarray) -> np.ndarray:
    return np.flatnonzero(mask.any((0, 1)))


@each_task
def test_one_seed_gives_one_volume(task):
    first, second = volume_of(task), make_phantom_volume(task, VOLUMES.first, SHAPE)
    np.testing.assert_array_equal(first.image, second.image)
    assert first.masks.keys() == second.masks.keys()
    for name, mask in first.masks.items():
        np.testing.assert_array_equal(mask, second.masks[name])
    assert not np.array_equal(first.image, volume_of(task, VOLUMES.first + 1).image)


@each_volume
def test_masks_are_disjoint_and_within_the_body(task, seed):
    volume = volume_of(task, seed)
    assert tuple(volume.masks) == VOLUME_TARGETS[task]
    outer = volume.parts["body" if task == CT else "brain"]
    for mask in volume.masks.values():
        assert mask.shape == SHAPE and mask.dtype == bool and mask.any()
        assert not (mask & ~outer).any()
    assert sum(mask.astype(int) for mask in volume.masks.values()).max() == 1
    if task == CT:
        assert not any((mask & volume.parts["spine"]).any() for mask in volume.masks.values())
    else:
        assert not (outer & ~volume.parts["head"]).any()


@each_volume
def test_targets_are_in_one_run_of_slices_and_in_none_at_the_foot(task, seed):
    for name, mask in volume_of(task, seed).masks.items():
        found = slices_with(mask)
        assert (np.diff(found) == 1).all(), name
        assert 3 <= len(found) <= 20 and found[0] > 3 and found[-1] < SHAPE[2] - 1, (name, found)


@pytest.mark.parametrize("seed", SEEDS)
def test_organs_of_the_trunk_lie_as_in_a_patient(seed):
    volume = volume_of(CT, seed)
    right, front, up = {}, {}, {}
    for name, mask in {**volume.masks, **volume.parts}.items():
        right[name], front[name], up[name] = centroid(mask, volume.affine)
    assert right["liver"] > right["body"] + 20 and right["spleen"] < right["body"] - 40
    assert right["heart"] < right["body"] - 5 and abs(right["kidneys"] - right["body"]) < 20
    assert up["lungs"] > up["heart"] > up["liver"] > up["kidneys"]
    assert front["heart"] > front["aorta"] > front["spine"]
    lungs, liver = slices_with(volume.masks["lungs"]), slices_with(volume.masks["liver"])
    assert lungs[0] < liver[-1] < lungs[-1]


@pytest.mark.parametrize("seed", SEEDS)
def test_both_kidneys_and_both_lungs_are_there(seed):
    volume = volume_of(CT, seed)
    for name in ("kidneys", "lungs"):
        parts, count = ndimage.label(volume.masks[name], np.ones((3, 3, 3)))
        sizes = np.sort(np.bincount(parts.ravel())[1:])[::-1]
        assert count >= 2 and sizes[1] > 0.3 * sizes[0] and sizes[2:].sum() < 0.02 * sizes.sum(), (name, sizes)
        if name == "kidneys":
            assert count == 2


@pytest.mark.parametrize("seed", SEEDS)
def test_the_ct_is_in_hounsfield_units(seed):
    volume = volume_of(CT, seed)
    assert volume.image.dtype == np.int16 and volume.image.min() >= -1000
    means = {name: volume.image[mask].mean() for name, mask in {**volume.masks, **volume.parts}.items()}
    assert -950 < means["lungs"] < -500
    assert 50 < means["liver"] < 120 and 70 < means["spleen"] < 130
    assert 90 < means["heart"] < 140 and 110 < means["kidneys"] < 220 and means["spine"] > 120
    assert volume.image[~volume.parts["body"]].mean() < -900


@pytest.mark.parametrize("seed", SEEDS)
def test_the_mr_shows_dark_ventricles_and_bright_lesions(seed):
    volume = volume_of(MR, seed)
    assert volume.image.dtype == np.float32 and 0 <= volume.image.min() < volume.image.max() <= 1
    brain = volume.image[volume.parts["brain"]].mean()
    means = {name: volume.image[mask].mean() for name, mask in volume.masks.items()}
    assert means["ventricles"] < 0.7 * brain < 1.1 * brain < min(means["brain tumour"], means["haematoma"])
    middle = slices_with(volume.parts["brain"])
    ventricles = slices_with(volume.masks["ventricles"])
    assert middle[0] + 2 < ventricles[0] and ventricles[-1] < middle[-1] - 2


@pytest.mark.parametrize(("task", "name"), [(task, name) for task in VOLUME_TASKS for name in VOLUME_TARGETS[task]])
def test_what_is_left_out_is_not_drawn(task, name):
    whole, without = volume_of(task), volume_of(task, without=(name,))
    assert tuple(without.masks) == tuple(other for other in VOLUME_TARGETS[task] if other != name)
    gone = whole.masks[name] & ~np.logical_or.reduce(list(without.masks.values()))
    # a window that shows the difference of an organ from the fat or fluid in its place
    change = np.abs(whole.image[gone].astype(float) - without.image[gone]).mean()
    assert change > (60 if task == CT else 0.15)
    far = slices_with(~whole.masks[name].any((0, 1))[None, None])
    near = slices_with(whole.masks[name])
    far = far[(far < near[0] - 6) | (far > near[-1] + 6)]
    np.testing.assert_array_equal(whole.image[..., far], without.image[..., far])


@each_task
def test_a_patient_has_one_size_on_every_grid(task):
    coarse = volume_of(task)
    fine = make_phantom_volume(task, VOLUMES.first, (96, 96, 32))
    for name, mask in coarse.masks.items():
        volumes = [one.sum() * abs(np.linalg.det(v.affine)) for one, v in ((mask, coarse), (fine.masks[name], fine))]
        assert volumes[1] == pytest.approx(volumes[0], rel=0.15), name
        apart = centroid(mask, coarse.affine) - centroid(fine.masks[name], fine.affine)
        assert np.abs(apart).max() < 7, name  # a third of a slice
    part = make_phantom_volume(task, VOLUMES.first, (32, 32, 12), spacing=(4.0, 5.0, 3.0))
    np.testing.assert_allclose(np.linalg.norm(part.affine[:3, :3], axis=0), (4, 5, 3))


@pytest.mark.parametrize("oblique", [False, True])
def test_the_affine_turns_and_scales(oblique):
    volume = volume_of(CT, oblique=oblique)
    spacing = np.linalg.norm(volume.affine[:3, :3], axis=0)
    np.testing.assert_allclose(spacing, (6.4, 6.4, 20))
    turn = volume.affine[:3, :3] / spacing
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1)
    assert np.allclose(turn, np.eye(3)) is not oblique
    assert nib.aff2axcodes(volume.affine) == ("R", "A", "S")
    np.testing.assert_array_equal(volume.image, volume_of(CT).image)


@pytest.mark.parametrize("oblique", [False, True])
@each_task
def test_every_reader_finds_a_target_at_the_same_place(tmp_path, task, oblique):
    """The NIfTI as nibabel, ITK and this project read it, the DICOM series as ITK and this project do."""
    itk = pytest.importorskip("itk")
    volume = volume_of(task, oblique=oblique)
    name = VOLUME_TARGETS[task][0]
    place = centroid(volume.masks[name], volume.affine)
    image_path, label_path, names_path = save_phantom_volume(volume, tmp_path / "nifti")
    series = write_phantom_volume_series(volume, tmp_path / "dicom")
    record = json.loads(names_path.read_text())
    assert record["labels"] == {name: n for n, name in enumerate(VOLUME_TARGETS[task], 1)}

    labels = nib.load(label_path)
    np.testing.assert_allclose(centroid(np.asarray(labels.dataobj) == 1, labels.affine), place, atol=1e-3)
    for number, one in enumerate(VOLUME_TARGETS[task], 1):
        np.testing.assert_array_equal(np.asarray(labels.dataobj) == number, volume.masks[one])

    headers = [dcmread(file, stop_before_pixels=True) for file in series.files]
    assert [header.InstanceNumber for header in headers] == list(range(1, SHAPE[2] + 1))
    reader = itk.ImageSeriesReader[itk.Image[itk.F, 3]].New(
        ImageIO=itk.GDCMImageIO.New(), FileNames=[str(file) for file in series.files]
    )
    reader.Update()
    for image, mask in (
        (itk.imread(str(image_path), itk.F), volume.masks[name].transpose(2, 1, 0)),
        (reader.GetOutput(), series.masks[name]),
    ):
        points = [image.TransformIndexToPhysicalPoint(index.tolist()) for index in np.argwhere(mask)[:, ::-1]]
        np.testing.assert_allclose(np.mean(points, axis=0) * (-1, -1, 1), place, atol=1e-2)
    np.testing.assert_array_equal(
        itk.array_from_image(reader.GetOutput()),
        np.round(volume.image[::-1, ::-1].transpose(2, 1, 0) * (1 if task == CT else 1000)),
    )

    shown = [read_image(path) for path in (image_path, tmp_path / "dicom", label_path)]
    np.testing.assert_allclose(shown[0].affine, shown[1].affine, atol=1e-2)
    upright = np.stack([mask.transpose(1, 2, 0) for mask in (series.masks[name],)])
    np.testing.assert_array_equal(shown[2].numpy() == 1, upright)
    np.testing.assert_allclose(centroid(upright[0], np.array(shown[1].affine)), place, atol=1e-2)
    if task == CT:
        np.testing.assert_array_equal(shown[0].numpy(), shown[1].numpy())
        assert (shown[1].meta["window_center"], shown[1].meta["window_width"]) == CT_WINDOW


def test_slices_are_shown_as_the_phantom_pictures_are(tmp_path):
    """The liver, on the patient's right, is at the left of the picture, and the spine is low in it."""
    volume = volume_of(CT)
    _, labels, _ = save_phantom_volume(volume, tmp_path)
    shown = read_image(labels).numpy()[0]
    numbers = {name: n for n, name in enumerate(VOLUME_TARGETS[CT], 1)}
    places = {name: np.argwhere(shown == number).mean(0) for name, number in numbers.items()}
    assert places["liver"][1] < 30 < 34 < places["spleen"][1]
    assert places["aorta"][0] > places["heart"][0]
    assert places["kidneys"][2] < places["lungs"][2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "chest_ct"}, "task must be one of chest_abdomen_ct, head_mr, got 'chest_ct'"),
        ({"seed": -1}, "seed must be zero or positive, got -1"),
        ({"shape": (64, 64)}, "shape must be three whole numbers of at least 8, got (64, 64)"),
        ({"shape": (64, 64, 7)}, "shape must be three whole numbers of at least 8, got (64, 64, 7)"),
        ({"shape": (64, 64.5, 24)}, "shape must be three whole numbers of at least 8, got (64, 64.5, 24)"),
        ({"spacing": (1.0, 1.0)}, "spacing must be three positive numbers of millimetres, got (1.0, 1.0)"),
        ({"spacing": (1.0, 0, 1.0)}, "spacing must be three positive numbers of millimetres, got (1.0, 0, 1.0)"),
        ({"spacing": (1.0, float("nan"), 1.0)}, "spacing must be three positive numbers of millimetres"),
        ({"without": ("spine",)}, "without must list some of lungs, heart, liver, spleen, kidneys, aorta"),
        ({"without": "liver"}, "without must list some of lungs, heart, liver, spleen, kidneys, aorta, got 'liver'"),
    ],
)
def test_bad_input_is_one_line(change, message):
    with pytest.raises(InputError, match=re.escape(message)) as error:
        make_phantom_volume(**{"task": CT, "seed": 0, "shape": SHAPE, **change})
    assert "\n" not in str(error.value)
