"""A patient is on one side only, whoever else is there; masks are found by their images' names."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.label_maps import find_given
from medclipsam_monai.weak.nnunet.splits import patients_of, split_by_patient


def test_no_patient_is_on_both_sides_and_the_fraction_is_met_as_nearly_as_patients_allow():
    patients = [f"p{n % 13}" for n in range(100)]
    for seed in range(5):
        held = split_by_patient(patients, 0.2, seed)
        sides = [{p for p, h in zip(patients, held, strict=True) if h is side} for side in (True, False)]
        assert not sides[0] & sides[1] and len(sides[0] | sides[1]) == 13
        assert abs(sum(held) - 20) <= 4


@pytest.mark.parametrize(
    ("patients", "fraction", "count"),
    [
        (["a", "b"], 0.01, 1),
        (["a", "b"], 0.99, 1),
        (["a", "a", "a", "b", "c", "d"], 0.0, 0),
        (list("abcdefghij"), 0.3, 3),
    ],
)
def test_at_least_one_patient_is_on_each_side(patients, fraction, count):
    assert sum(split_by_patient(patients, fraction)) == count


def test_a_split_depends_on_names_and_seed_and_hardly_on_who_else_is_there():
    names = [f"p{n}" for n in range(50)]
    held = dict(zip(names, split_by_patient(names, 0.2), strict=True))
    assert dict(zip(names[::-1], split_by_patient(names[::-1], 0.2), strict=True)) == held
    fewer = names[:45]
    changed = [name for name, side in zip(fewer, split_by_patient(fewer, 0.2), strict=True) if side != held[name]]
    assert len(changed) <= 2
    assert split_by_patient(names, 0.2, seed=1) != split_by_patient(names, 0.2)


@pytest.mark.parametrize(
    ("patients", "fraction", "message"),
    [
        (["a"], 0.2, r"at least 2 patients, got 1 \(a, 1 images\).*validation to 0"),
        (["a", "a"], 0.2, r"got 1 \(a, 2 images\)"),
        (["a", "b"], 1.0, r"fraction of the cases in \[0, 1\), got 1.0"),
    ],
)
def test_a_split_that_cannot_be_is_refused(patients, fraction, message):
    with pytest.raises(InputError, match=message):
        split_by_patient(patients, fraction)


def test_patients_come_from_names_or_a_table(tmp_path):
    stems = ["p1_left", "p1_right", "p2_left"]
    assert patients_of(stems) == stems
    assert patients_of(stems, r"^(p\d+)_") == ["p1", "p1", "p2"]
    table = tmp_path / "who.csv"
    table.write_text("image,age,patient\np1_left.nii.gz,3,A\np1_right,3,A\nscans/p2_left.png,4,B\n")
    assert patients_of(stems, table) == ["A", "A", "B"]


@pytest.mark.parametrize(
    ("patient", "message"),
    [
        (r"^(p\d+)_", "finds no patient in 'x'"),
        (r"p\d+", "must have one group, .* got 0"),
        ("(p", "is no regular expression"),
        ("missing.csv", "cannot be read as a table"),
    ],
)
def test_patients_that_cannot_be_told_are_refused(patient, message):
    with pytest.raises(InputError, match=message):
        patients_of(["p1_left", "x"], patient)


@pytest.mark.parametrize(
    ("content", "message"),
    [("image,patient\na,1\n", r"no row for b \(1 of 2"), ("image,who\na,1\n", "a column 'patient'"), ("", "a column")],
)
def test_a_table_that_lacks_something_is_refused(tmp_path, content, message):
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(InputError, match=message):
        patients_of(["a", "b"], tmp_path / "t.csv")


def test_given_masks_are_found_by_name(tmp_path):
    for name in ("a.png", "b_mask.nii.gz", "c_label.png", "other.png", "a_mask.txt"):
        (tmp_path / name).touch()
    found = find_given(tmp_path, ["a", "b", "c", "d"])
    assert {stem: path.name for stem, path in found.items()} == {
        "a": "a.png",
        "b": "b_mask.nii.gz",
        "c": "c_label.png",
    }


def test_given_masks_that_are_unclear_are_refused(tmp_path):
    with pytest.raises(InputError, match="is no folder of masks"):
        find_given(tmp_path / "none", ["a"])
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "x.png")
    with pytest.raises(InputError, match=r"holds no mask of any image; expected names such as a\.png"):
        find_given(tmp_path, ["a"])
    for name in ("a.png", "a_mask.png"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"two masks of a: a\.png and a_mask\.png"):
        find_given(tmp_path, ["a"])


def test_images_of_one_base_name_have_their_own_patients(tmp_path):
    (tmp_path / "who.csv").write_text("image,patient\np1/scan.1.png,ann\np2/scan.1.png,bob\nx.2.nii.gz,eve\n")
    assert patients_of(["p1_scan.1", "p2_scan.1", "x.2"], tmp_path / "who.csv") == ["ann", "bob", "eve"]
    with pytest.raises(InputError, match=r"gives scan\.1 the patients ann and bob; name the images with their folders"):
        patients_of(["scan.1"], tmp_path / "who.csv")


def test_masks_are_found_by_the_whole_name_of_their_image(tmp_path):
    for name in ("1.2.840.1.png", "1.2.840.2_mask.nii.gz", "1.2.840.21.seg.nrrd"):
        (tmp_path / name).touch()
    found = find_given(tmp_path, ["1.2.840.1", "1.2.840.2", "1.2.840.21"])
    assert {stem: path.name for stem, path in found.items()} == {
        "1.2.840.1": "1.2.840.1.png",
        "1.2.840.2": "1.2.840.2_mask.nii.gz",
        "1.2.840.21": "1.2.840.21.seg.nrrd",
    }
