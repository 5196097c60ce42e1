"""What OHIF and 3D Slicer show and submit, see viewers.py, and what is learned of it; the server began with lungs.

The server is started again in the middle, so that the tests run in this order.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from label_server import LabelServer, write_phantoms
from monailabel.client import MONAILabelClient
from PIL import Image
from viewers import Ohif, Slicer

from medclipsam_monai import TextSegmenter
from medclipsam_monai.label.served_classes import ServedClasses
from medclipsam_monai.label.server.datastore import CheckedDatastore
from medclipsam_monai.label.tasks.submitted import submitted_labels
from medclipsam_monai.label.tasks.training_labels import class_numbers

SLICES = 2
WINDOW = {"window": "full"}


@pytest.fixture(scope="module")
def studies(tmp_path_factory) -> Path:
    """Two small volumes of the same chest phantom, scan_a and scan_b."""
    folder = tmp_path_factory.mktemp("viewers")
    write_phantoms(folder / "pictures", 1)
    with Image.open(folder / "pictures" / "image_0.png") as picture:
        pixels = np.asarray(picture).T
    (folder / "studies").mkdir()
    for name in ("scan_a", "scan_b"):
        volume = np.repeat(pixels[..., None], SLICES, axis=-1)
        nib.save(nib.Nifti1Image(volume, np.diag([-1.0, -1.0, 3.0, 1.0])), folder / "studies" / f"{name}.nii.gz")
    return folder / "studies"


@pytest.fixture(scope="module")
def server(studies, tmp_path_factory):
    app = tmp_path_factory.mktemp("app") / "app"
    running = {"now": LabelServer(app, studies, preset="demo")}
    yield running
    running["now"].stop()


@pytest.fixture(scope="module")
def truth(studies) -> dict[str, np.ndarray]:
    """Masks by text without any server, as the file holds them and flat in its order."""
    segmenter = TextSegmenter.from_preset("demo", "cpu")
    found = segmenter(studies / "scan_a.nii.gz", ["lungs", "heart"], window="full").stored_mask()
    alone = {
        name: segmenter(studies / "scan_a.nii.gz", name, window="full").stored_mask() > 0 for name in ("lungs", "heart")
    }
    assert all(mask.any() for mask in alone.values()) and {1, 2} <= set(np.unique(found))
    return {"both": found, **alone}


def flat(mask: np.ndarray) -> np.ndarray:
    return mask.flatten(order="F")


def learned(server: LabelServer, image: str, names: list[str]) -> np.ndarray:
    """What a training on these classes would see of a submitted label, upright."""
    classes = ServedClasses(file=server.app / "model" / "classes.json")
    store = CheckedDatastore(str(server.studies), auto_reload=False, classes=classes)
    (one,) = [one for one in submitted_labels(store) if one.image.name == f"{image}.nii.gz"]
    stored = np.asarray(nib.load(one.label).dataobj).astype(np.uint8)
    return class_numbers(stored, one.label_info, names, classes.names())


def test_ohif_shows_what_was_typed_under_no_other_name(server, truth):
    ohif = Ohif(server["now"], "scan_a", SLICES)
    assert ohif.info["data"]["labels"] == ["lungs"]
    ohif.options["text"] = {"text": "heart", **WINDOW}
    ohif.auto_segmentation("text")
    assert not ohif.shown("lungs").any()


def test_a_new_word_is_listed_and_shown_once_ohif_connects_again(server, truth):
    ohif = Ohif(server["now"], "scan_a", SLICES)
    assert ohif.info["data"]["labels"] == ["lungs", "heart"]
    for task in ohif.info["data"]["models"].values():
        assert task["labels"] == ["lungs", "heart"]
    ohif.options["text"] = {"text": "heart", **WINDOW}
    ohif.auto_segmentation("text")
    np.testing.assert_array_equal(ohif.shown("heart"), flat(truth["heart"]))
    assert not ohif.shown("lungs").any()
    ohif.options["text"] = {"text": "HEART ; Lungs", **WINDOW}
    ohif.auto_segmentation("text")
    for number, name in ((1, "lungs"), (2, "heart")):
        assert (ohif.shown(name) & flat(truth[name])).sum() > 0.8 * flat(truth["both"] == number).sum() > 0


def test_two_clients_with_other_texts_read_the_same_numbers(server, truth):
    first, second = (Ohif(server["now"], image, SLICES) for image in ("scan_a", "scan_b"))
    first.options["text"] = {"text": "heart", **WINDOW}
    second.options["text"] = {"text": "organ=lungs", **WINDOW}
    first.auto_segmentation("text")
    second.auto_segmentation("text")
    np.testing.assert_array_equal(first.shown("heart"), flat(truth["heart"]))
    assert not second.shown("lungs").any()  # what it typed is a class of its own, called organ
    second.reload_page()
    second.options["text"] = {"text": "organ=lungs", **WINDOW}
    second.auto_segmentation("text")
    np.testing.assert_array_equal(second.shown("organ"), flat(truth["lungs"]))


def test_class_prompts_ask_for_the_classes_that_are_ticked(server, truth):
    ohif = Ohif(server["now"], "scan_a", SLICES)
    ohif.options["text"] = dict(WINDOW)
    ohif.class_prompts("text", ["heart"])
    np.testing.assert_array_equal(ohif.shown("heart"), flat(truth["heart"]))
    assert not ohif.shown("lungs").any()


def test_points_change_the_segment_and_slice_that_are_chosen(server, truth):
    ohif = Ohif(server["now"], "scan_a", SLICES)
    ohif.options |= {"text": {"text": "lungs", **WINDOW}, "clicks": dict(WINDOW)}
    ohif.auto_segmentation("text")
    before = ohif.shown("lungs")
    x, y = np.argwhere(truth["heart"][..., 0])[100]
    ohif.point_prompts("heart", [[int(x), int(y), 1]])
    half = len(before) // SLICES
    assert ohif.shown("heart")[half:].any() and not ohif.shown("heart")[:half].any()
    np.testing.assert_array_equal(ohif.shown("lungs")[:half], before[:half])
    assert ohif.shown("heart")[flat(np.indices(truth["heart"].shape)[2] == 1)].sum() > 20


def test_a_mask_without_names_means_what_the_answer_meant(server, truth):
    answer = server["now"].infer("text", "scan_a", output="image", text="heart", **WINDOW)
    assert server["now"].save_label("scan_a", answer.content, "heart.nii.gz").status_code == 200
    np.testing.assert_array_equal(learned(server["now"], "scan_a", ["lungs", "heart"]) == 2, truth["heart"])
    assert not (learned(server["now"], "scan_a", ["lungs", "heart"]) == 1).any()
    np.testing.assert_array_equal(learned(server["now"], "scan_a", ["Heart"]), truth["heart"])


@pytest.mark.parametrize("client_id", [None, "script"])
def test_monai_labels_own_client_submits_what_it_was_answered(server, truth, tmp_path, client_id):
    """It gives no names, and sends a client_id as 3D Slicer does, see MONAILabelClient._update_client_id."""
    client = MONAILabelClient(server["now"].url, str(tmp_path), client_id)
    mask, said = client.infer("text", "scan_b", {"text": "heart", **WINDOW})
    assert said["label_names"] == {"heart": 2}
    np.testing.assert_array_equal(np.asarray(nib.load(mask).dataobj), 2 * truth["heart"])
    client.save_label("scan_b", mask)
    np.testing.assert_array_equal(learned(server["now"], "scan_b", ["heart"]), truth["heart"])
    assert not (learned(server["now"], "scan_b", ["lungs", "heart"]) == 1).any()


def test_slicer_shows_and_submits_under_the_names_that_were_typed(server, truth, studies, tmp_path):
    slicer = Slicer(server["now"], tmp_path)
    answer = slicer.upload("2: CT Body (1)", studies / "scan_a.nii.gz")
    assert answer.status_code == 200, answer.text
    slicer.run("text", text="lungs", **WINDOW)
    slicer.run("text", text="heart", **WINDOW)  # leaves the lungs that are there as they are
    for name in ("lungs", "heart"):
        np.testing.assert_array_equal(slicer.segments[name].T, truth[name])
    slicer.run("text", text="heart; lungs", **WINDOW)
    np.testing.assert_array_equal(slicer.segments["heart"].T, truth["both"] == 2)
    np.testing.assert_array_equal(slicer.segments["lungs"].T, truth["both"] == 1)
    assert slicer.submit().status_code == 200
    np.testing.assert_array_equal(learned(server["now"], "2: CT Body (1)", ["lungs", "heart"]), truth["both"])


def test_slicers_box_is_in_its_own_order_and_cut_to_the_image(server, tmp_path, truth):
    slicer = Slicer(server["now"], tmp_path)
    slicer.image = "scan_a"
    slicer.smart_edit("heart", roi=[20, 50, 14, 60, -3, 9], foreground=[], **WINDOW)
    ours = server["now"].infer("clicks", "scan_a", output="image", roi=[20, 14, 50, 60, 0, 1], **WINDOW)
    expected = nib.Nifti1Image.from_bytes(gzip.decompress(ours.content))
    np.testing.assert_array_equal(slicer.segments["heart"].T, np.asarray(expected.dataobj) > 0)
    assert slicer.segments["heart"].any(axis=(1, 2)).all()


def test_slicer_edits_a_segment_whose_name_no_server_knows(server, tmp_path):
    """Its module sends the name of the segment that is chosen, which Slicer made up, and goes by the name alone."""
    slicer = Slicer(server["now"], tmp_path)
    slicer.image = "scan_a"
    for segment in ("Segment_1", "heart"):
        slicer.smart_edit(segment, roi=[20, 50, 14, 60, 0, 1], foreground=[], **WINDOW)
    np.testing.assert_array_equal(slicer.segments["Segment_1"], slicer.segments["heart"])
    assert slicer.segments["heart"].any() and "Segment_1" not in server["now"].info()["labels"]


def test_a_restart_keeps_the_numbers_of_labels_and_forgets_other_words(server, truth):
    before = server["now"]
    assert before.infer("text", "scan_a", text="kidney", **WINDOW).json()["label_names"] == {"kidney": 4}
    assert before.info()["labels"] == ["lungs", "heart", "organ", "kidney"]
    before.stop()
    server["now"] = LabelServer(before.app, before.studies, preset="demo")
    assert server["now"].info()["labels"] == ["lungs", "heart"]
    ohif = Ohif(server["now"], "scan_a", SLICES)
    ohif.options["text"] = {"text": "heart", **WINDOW}
    ohif.auto_segmentation("text")
    np.testing.assert_array_equal(ohif.shown("heart"), flat(truth["heart"]))
    np.testing.assert_array_equal(learned(server["now"], "scan_a", ["heart"]), truth["heart"])
