"""Data sets that nnU-Net itself accepts, of every kind of image; and what cannot be one is said before training."""

from __future__ import annotations

import json
import multiprocessing.pool
import types
import warnings

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import write_series
from nnunetv2.experiment_planning import verify_dataset_integrity as integrity
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from PIL import Image
from weak_files import picture, pseudo_label, volume

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import InputWarning
from medclipsam_monai.weak.folders import WorkFolders
from medclipsam_monai.weak.nnunet.dataset import build_dataset
from medclipsam_monai.weak.nnunet.splits import split_by_patient


@pytest.fixture
def folders(tmp_path):
    return WorkFolders(tmp_path / "work")


@pytest.fixture
def accepted(monkeypatch, folders):
    """Let nnU-Net check the data set; with threads in place of processes, which take seconds to start."""
    threads = types.SimpleNamespace(Pool=multiprocessing.pool.ThreadPool)
    monkeypatch.setattr(integrity.multiprocessing, "get_context", lambda kind: threads)

    def check(capsys) -> None:
        integrity.verify_dataset_integrity(str(folders.raw), 1)
        out = capsys.readouterr().out
        assert "Done" in out and "Error" not in out and "Warning" not in out

    return check


def pictures(tmp_path, folders, *shapes: tuple[int, ...], classes: int = 1, suffix: str = ".png"):
    sources = [picture(tmp_path / "in" / f"p{n}{suffix}", shape, n) for n, shape in enumerate(shapes)]
    return [pseudo_label(source, folders.pseudo_labels, classes) for source in sources]


def stored(folders: WorkFolders, case: str) -> np.ndarray:
    return np.asarray(Image.open(folders.labels / f"{case}.png"))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_grey_pictures_of_all_sizes_become_a_data_set(tmp_path, folders, accepted, capsys, suffix):
    labels = pictures(tmp_path, folders, (12, 20), (30, 8), (64, 64), (200, 9), classes=2, suffix=suffix)
    summary = build_dataset(labels, ["lungs", "heart"], folders)
    assert (summary.suffix, summary.channels, summary.absent, summary.reused) == (".png", 1, (), False)
    description = json.loads(folders.dataset_json.read_text())
    assert description["labels"] == {"background": 0, "lungs": 1, "heart": 2}
    assert (description["numTraining"], description["file_ending"]) == (4, ".png")
    assert description["channel_names"] == {"0": "grey"}
    assert set(np.unique(stored(folders, "case_0001"))) == {0, 1, 2}
    accepted(capsys)


def test_one_picture_in_colour_makes_all_rgb(tmp_path, folders, accepted, capsys):
    labels = pictures(tmp_path, folders, (12, 20), (12, 20, 3), (9, 9, 4))
    summary = build_dataset(labels, ["lungs"], folders)
    assert (summary.suffix, summary.channels) == (".png", 3)
    shapes = {np.asarray(Image.open(file)).shape for file in folders.images.iterdir()}
    assert shapes == {(12, 20, 3), (9, 9, 3)}
    assert json.loads(folders.dataset_json.read_text())["channel_names"] == {"0": "R", "1": "G", "2": "B"}
    accepted(capsys)


def test_volumes_of_nifti_and_dicom_become_a_data_set(tmp_path, folders, accepted, capsys):
    values = np.random.default_rng(0).integers(0, 400, (4, 12, 10)).astype(np.int16)
    write_series(tmp_path / "series", values)
    sources = [volume(tmp_path / "a.nii.gz"), volume(tmp_path / "b.nii.gz", (9, 12, 20), 1), tmp_path / "series"]
    labels = [pseudo_label(source, folders.pseudo_labels) for source in sources]
    summary = build_dataset(labels, ["lungs"], folders, window="soft-tissue")
    assert (summary.suffix, summary.channels) == (".nii.gz", 1)
    description = json.loads(folders.dataset_json.read_text())
    assert description["channel_names"] == {"0": "CT"}
    assert (description["medclipsam"]["window"], description["medclipsam"]["slice_axis"]) == ("soft-tissue", "acquired")
    accepted(capsys)
    image, properties = SimpleITKIO().read_images([str(folders.images / "case_0003_0000.nii.gz")])
    np.testing.assert_array_equal(image[0], values)
    np.testing.assert_allclose(properties["spacing"], (2.0, 0.5, 0.75), rtol=1e-6)


def test_the_split_is_by_patient_and_the_cases_say_where_they_came_from(tmp_path, folders):
    sources = [picture(tmp_path / "in" / f"p{n // 2}_{n % 2}.png", seed=n) for n in range(10)]
    labels = [pseudo_label(source, folders.pseudo_labels) for source in reversed(sources)]
    summary = build_dataset(labels, ["lungs"], folders, patient=r"(p\d)_", validation=0.4, seed=3)
    cases = json.loads(folders.cases_json.read_text())
    assert [case["case"] for case in cases] == [f"case_{n:04d}" for n in range(1, 11)]
    assert [case["source"] for case in cases] == [str(source) for source in sources]
    assert [case["patient"] for case in cases] == [f"p{n // 2}" for n in range(10)]
    held = split_by_patient([case["patient"] for case in cases], 0.4, 3)
    assert [case["split"] == "validation" for case in cases] == held and sum(held) == 4
    (split,) = json.loads(folders.splits_json.read_text())
    assert split["val"] == [case["case"] for case, side in zip(cases, held, strict=True) if side]
    assert sorted(split["train"] + split["val"]) == [case.case for case in summary.cases]


@pytest.mark.parametrize(
    ("values", "names", "expected"),
    [
        ([[0, 255], [255, 0]], ["lungs"], [[0, 1], [1, 0]]),
        ([[0, 120], [130, 250]], ["lungs"], [[0, 0], [1, 1]]),
        ([[0, 1], [2, 3]], ["lungs"], [[0, 1], [1, 1]]),
        ([[0, 1], [2, 0]], ["lungs", "heart"], [[0, 1], [2, 0]]),
        ([[0, 0], [0, 0]], ["lungs"], [[0, 0], [0, 0]]),
    ],
)
def test_a_given_mask_wins_over_the_pseudo_label(tmp_path, folders, values, names, expected):
    labels = pictures(tmp_path, folders, (10, 10), (10, 10), classes=len(names))
    given = tmp_path / "given.png"
    Image.fromarray(np.kron(np.array(values), np.ones((5, 5))).astype(np.uint8)).save(given)
    build_dataset(labels, names, folders, given={"p1": given})
    np.testing.assert_array_equal(stored(folders, "case_0002"), np.kron(np.array(expected), np.ones((5, 5))))
    assert [case["label"] for case in json.loads(folders.cases_json.read_text())] == ["pseudo", "given"]


def given_file(path, pixels: np.ndarray):
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize(
    ("pixels", "names", "message"),
    [
        (np.zeros((10, 9), np.uint8), ["lungs"], r"a mask of 10 x 9 for an image of 10 x 10"),
        (np.full((10, 10), 255, np.uint8), ["a", "b"], r"holds the value 255; a mask holds 0 .*, 1 a, 2 b"),
        (np.random.default_rng(0).integers(0, 255, (10, 10, 3), np.uint8), ["a"], "is a colour picture"),
    ],
)
def test_a_given_mask_that_does_not_fit_is_refused(tmp_path, folders, pixels, names, message):
    labels = pictures(tmp_path, folders, (10, 10), (10, 10))
    with pytest.raises(InputError, match=message):
        build_dataset(labels, names, folders, given={"p1": given_file(tmp_path / "given.png", pixels)})
    assert not folders.raw.exists()


def test_a_given_mask_of_no_image_is_refused(tmp_path, folders):
    labels = pictures(tmp_path, folders, (10, 10), (10, 10))
    with pytest.raises(InputError, match="a mask is given for 'p7', which is none of the 2 images"):
        build_dataset(labels, ["lungs"], folders, given={"p7": tmp_path / "p7.png"})


def test_a_class_that_never_occurs_is_told_and_keeps_its_label(tmp_path, folders, accepted, capsys):
    labels = pictures(tmp_path, folders, (10, 10), (10, 10))
    with pytest.warns(InputWarning, match="heart, liver: in none of the 2 masks"):
        summary = build_dataset(labels, ["lungs", "heart", "liver"], folders)
    assert summary.absent == ("heart", "liver")
    assert json.loads(folders.dataset_json.read_text())["labels"]["liver"] == 3
    accepted(capsys)


def test_masks_that_are_all_empty_are_refused(tmp_path, folders):
    labels = pictures(tmp_path, folders, (10, 10), (10, 10), classes=0)
    with pytest.raises(InputError, match="all 2 masks are empty: no pixel is lungs or heart; try other texts"):
        build_dataset(labels, ["lungs", "heart"], folders)


def test_one_image_needs_validation_on_itself(tmp_path, folders, accepted, capsys):
    labels = pictures(tmp_path, folders, (10, 10))
    with pytest.raises(InputError, match="at least 2 patients, got 1"):
        build_dataset(labels, ["lungs"], folders)
    with pytest.warns(InputWarning, match="validation is 0: the training images validate"):
        build_dataset(labels, ["lungs"], folders, validation=0)
    assert json.loads(folders.splits_json.read_text()) == [{"train": ["case_0001"], "val": ["case_0001"]}]
    accepted(capsys)


def test_pictures_and_volumes_together_are_refused_with_one_of_each(tmp_path, folders):
    labels = pictures(tmp_path, folders, (10, 10), (10, 10))
    labels.append(pseudo_label(volume(tmp_path / "v.nii.gz"), folders.pseudo_labels))
    with pytest.raises(InputError, match=r"p0\.png is a 2-D picture and \S+v\.nii\.gz a volume"):
        build_dataset(labels, ["lungs"], folders)
    assert not folders.raw.exists()


@pytest.mark.parametrize(("names", "message"), [(["ignore"], "may not be called 'ignore'"), ([], "no class to learn")])
def test_names_that_nnunet_has_a_meaning_for_are_refused(tmp_path, folders, names, message):
    with pytest.raises(InputError, match=message):
        build_dataset(pictures(tmp_path, folders, (10, 10), (10, 10)), names, folders)


def test_no_image_is_refused(folders):
    with pytest.raises(InputError, match="there is no image to train on"):
        build_dataset([], ["lungs"], folders)


def test_a_finished_data_set_is_left_alone_and_a_changed_one_built_anew(tmp_path, folders):
    labels = pictures(tmp_path, folders, (10, 10), (10, 10), (10, 10))
    build_dataset(labels, ["lungs"], folders, window=(100.0, 50.0))
    image = folders.images / "case_0001_0000.png"
    before = image.stat().st_mtime_ns
    folders.splits_json.unlink()
    assert build_dataset(labels, ["lungs"], folders, window=(100.0, 50.0)).reused
    assert image.stat().st_mtime_ns == before and folders.splits_json.is_file()
    assert not build_dataset(labels, ["lungs"], folders).reused
    assert not build_dataset(labels[:2], ["lungs"], folders).reused
    assert len(list(folders.images.iterdir())) == len(list(folders.labels.iterdir())) == 2
    given = {"p0": given_file(tmp_path / "given.png", np.eye(10, dtype=np.uint8))}
    assert not build_dataset(labels[:2], ["lungs"], folders, given=given).reused
    Image.fromarray(np.zeros((10, 10), np.uint8)).save(labels[0].source)
    assert not build_dataset(labels[:2], ["lungs"], folders, given=given).reused


@pytest.mark.parametrize(
    "lost", ["cases.json", "dataset.json", "imagesTr/case_0002_0000.png", "labelsTr/case_0001.png"]
)
def test_a_half_made_folder_is_built_anew_and_nothing_else_is_deleted(tmp_path, folders, lost):
    labels = pictures(tmp_path, folders, (10, 10), (10, 10))
    build_dataset(labels, ["lungs"], folders)
    (folders.raw / lost).unlink()
    (folders.images / "case_0009_0000.png").write_bytes(b"of an earlier run")
    (folders.raw / "notes.txt").write_text("mine")
    assert not build_dataset(labels, ["lungs"], folders).reused
    assert (folders.raw / lost).is_file() and (folders.raw / "notes.txt").is_file()
    assert not (folders.images / "case_0009_0000.png").exists()


def test_damaged_descriptions_are_no_finished_data_set(tmp_path, folders):
    labels = pictures(tmp_path, folders, (10, 10), (10, 10))
    for content in ("", "{", "[]", "[{}]"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            build_dataset(labels, ["lungs"], folders)
        folders.cases_json.write_text(content)
        assert not build_dataset(labels, ["lungs"], folders).reused


def test_dicom_slices_go_with_pictures_and_nrrd_with_nifti(tmp_path, folders, accepted, capsys):
    values = np.random.default_rng(0).integers(0, 400, (2, 12, 10)).astype(np.int16)
    flat = write_series(tmp_path / "slices", values, Modality="MR")[0]
    sources = [flat, picture(tmp_path / "p.png")]
    build_dataset([pseudo_label(source, folders.pseudo_labels) for source in sources], ["lungs"], folders)
    assert stored(folders, "case_0001").shape == (12, 10)
    accepted(capsys)
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((1.0, 2.0, 3.0))
    sitk.WriteImage(image, str(tmp_path / "v.nrrd"))
    sources = [tmp_path / "v.nrrd", volume(tmp_path / "w.nii.gz")]
    summary = build_dataset([pseudo_label(source, folders.pseudo_labels) for source in sources], ["lungs"], folders)
    assert summary.suffix == ".nii.gz" and not list(folders.images.glob("*.png"))
    accepted(capsys)


@pytest.mark.parametrize(("modality", "name"), [("CT", "CT"), ("MR", "grey")])
def test_dicom_says_whether_its_numbers_are_hounsfield_units(tmp_path, folders, modality, name):
    values = np.random.default_rng(0).integers(0, 400, (3, 12, 10)).astype(np.int16)
    sources = [write_series(tmp_path / name, values, Modality=modality)[0].parent for name in "ab"]
    build_dataset([pseudo_label(source, folders.pseudo_labels) for source in sources], ["lungs"], folders)
    assert json.loads(folders.dataset_json.read_text())["channel_names"] == {"0": name}


def test_volumes_in_colour_have_a_file_a_channel(tmp_path, folders, accepted, capsys):
    pixels = np.random.default_rng(0).integers(0, 256, (10, 12, 9, 3), dtype=np.uint8)
    colours = pixels.view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    nib.save(nib.Nifti1Image(colours, np.eye(4)), tmp_path / "c.nii.gz")
    sources = [tmp_path / "c.nii.gz", volume(tmp_path / "g.nii.gz")]
    labels = [pseudo_label(source, folders.pseudo_labels) for source in sources]
    assert build_dataset(labels, ["lungs"], folders).channels == 3
    assert len(list(folders.images.iterdir())) == 6
    accepted(capsys)
    assert build_dataset(labels, ["lungs"], folders).reused
