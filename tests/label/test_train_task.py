"""The training's options, its labels and their weight, without training."""

from __future__ import annotations

import json

import numpy as np
import pytest
from label_server import as_png
from PIL import Image

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.label.server.datastore import CheckedDatastore
from medclipsam_monai.label.tasks.submitted import submitted_labels
from medclipsam_monai.label.tasks.train_task import read_training, training_config
from medclipsam_monai.label.tasks.training_labels import class_numbers, weigh_given, write_given
from medclipsam_monai.weak.folders import WorkFolders
from medclipsam_monai.weak.nnunet.raw_data import Case

CONFIG = training_config("lungs", "demo")
LABELS = np.array([[0, 1, 2], [3, 2, 1]], np.uint8)


def test_options_are_read_as_viewers_send_them():
    settings = read_training({"text": "lungs; heart", "max_epochs": "10", "iterations": 5, "label_weight": 2}, CONFIG)
    assert [target.name for target in settings.targets] == ["lungs", "heart"]
    assert (settings.cyclic.epochs, settings.cyclic.cycles, settings.cyclic.iterations) == (9, 3, 5)
    assert (settings.network_size, settings.label_weight, settings.patient) == ("small", 2, None)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"text": ""}, "there is no text"),
        ({"network_size": "vast"}, "network_size must be one of small"),
        ({"max_epochs": 2}, "max_epochs must be a whole number from 3 to 100,000, got 2"),
        ({"label_weight": "heavy"}, "label_weight must be a whole number from 1 to 1,000, got 'heavy'"),
        ({"seed": 2.5}, "seed must be a whole number from 0 to 2,147,483,648, got 2.5"),
        ({"configuration": "4d"}, "configuration must be one of 2d"),
        ({"window": "none"}, "unknown window"),
    ],
)
def test_bad_options_are_refused(request_, words):
    with pytest.raises(InputError, match=words):
        read_training(request_, CONFIG)


@pytest.mark.parametrize(
    ("info", "names", "expected"),
    [
        (None, ["a", "b", "c"], [[0, 1, 2], [3, 2, 1]]),
        (None, ["a"], [[0, 1, 1], [1, 1, 1]]),
        ([{"name": "Heart", "idx": 2}, {"name": "lungs", "idx": 3}], ["lungs", "heart"], [[0, 0, 2], [1, 2, 0]]),
        ([{"name": "heart", "idx": 1}, {"name": "ribs", "idx": 2}], ["heart"], [[0, 1, 0], [0, 0, 1]]),
        ([{"name": "lungs"}, {"name": "heart"}], ["heart", "lungs"], [[0, 2, 1], [0, 1, 2]]),
    ],
)
def test_labels_get_the_numbers_of_the_classes(info, names, expected):
    np.testing.assert_array_equal(class_numbers(LABELS, info, names), expected)


@pytest.mark.parametrize(
    ("info", "words"),
    [(None, "holds the number 3, the classes are 2"), ([{"name": "ribs", "idx": 1}], "none of the classes to learn")]
    + [
        (wrong, "label_info must be a list such as")
        for wrong in ("heart", {"name": "heart"}, [{}], [["heart"]], [{"name": 3}], [{"name": "heart", "idx": "x"}])
    ]
    + [([{"name": "heart", "idx": wrong}], "label_info must be a list such as") for wrong in (None, [1], 1.5, -1, 1e9)],
)
def test_labels_of_other_classes_are_refused(info, words):
    with pytest.raises(InputError, match=words):
        class_numbers(LABELS, info, ["lungs", "heart"])


@pytest.mark.parametrize(
    ("first", "typed", "names", "expected"),
    [
        (["lungs"], [], ["lungs"], [[0, 1, 1], [1, 1, 1]]),  # left, right and what else may be drawn
        (["Lungs", "heart", "ribs"], [], ["heart", "lungs"], [[0, 2, 1], [0, 1, 2]]),
        (["lungs"], [], ["lungs", "heart", "ribs"], [[0, 1, 2], [3, 2, 1]]),
        ([], [], ["lungs", "heart", "ribs"], [[0, 1, 2], [3, 2, 1]]),
    ],
)
def test_a_label_without_names_is_of_the_servers_text(first, typed, names, expected):
    served = [*first, *typed, *(name for name in names if name not in first)]
    np.testing.assert_array_equal(class_numbers(LABELS, None, names, served, first), expected)


@pytest.mark.parametrize(
    ("first", "typed", "names", "words"),
    [
        (["lungs"], [], ["a", "b", "c"], "holds the number 2, the classes are 3 .a, b, c., those of the server 4"),
        (["lungs"], ["kidney"], ["lungs", "heart", "ribs"], "holds the number 2, .* start the server with --conf text"),
        (["lungs", "heart", "ribs"], [], ["liver"], "the server's own text: 1 lungs, 2 heart, 3 ribs; none of the"),
    ],
)
def test_a_label_without_names_never_means_what_was_typed_meanwhile(first, typed, names, words):
    with pytest.raises(InputError, match=words):
        class_numbers(LABELS, None, names, [*first, *typed, *(name for name in names if name not in first)], first)


def test_a_mask_of_one_unusual_number_is_the_only_class_whatever_was_typed_meanwhile():
    mask = 128 * (LABELS > 1).astype(np.uint8)
    np.testing.assert_array_equal(class_numbers(mask, None, ["lungs"], ["lungs", "kidney"], ["lungs"]), LABELS > 1)
    with pytest.raises(InputError, match="holds the number 128"):
        class_numbers(mask, None, ["kidney"], ["lungs", "kidney"], ["lungs"])


def test_a_labels_error_names_its_image(tmp_path):
    for name, values in (("image", np.zeros((20, 30), np.uint8)), ("label", np.full((20, 30), 3, np.uint8))):
        (tmp_path / f"{name}.png").write_bytes(as_png(values))
    with pytest.raises(InputError, match=r"the label of image\.png cannot be learnt from"):
        write_given(tmp_path / "label.png", tmp_path / "image.png", None, ["lungs", "heart"], tmp_path / "given")


def test_given_labels_train_several_times_and_never_validate(tmp_path):
    folders = WorkFolders(tmp_path)
    rows = [("given", "validation"), ("given", "train"), ("pseudo", "train"), ("pseudo", "validation")]
    cases = [
        Case(f"case_{number}", "", f"image_{number}", "", label, split)
        for number, (label, split) in enumerate(rows, start=1)
    ]
    folders.splits_json.parent.mkdir(parents=True)
    assert weigh_given(folders, cases, 3) == {"case_1": 3, "case_2": 3, "case_3": 1}
    assert json.loads(folders.splits_json.read_text()) == [
        {"train": ["case_1"] * 3 + ["case_2"] * 3 + ["case_3"], "val": ["case_4"]}
    ]
    with pytest.raises(InputError, match="label_weight"):
        weigh_given(folders, cases, 0)


def test_without_pseudo_labels_the_given_ones_validate_too(tmp_path):
    folders = WorkFolders(tmp_path)
    folders.splits_json.parent.mkdir(parents=True)
    weigh_given(folders, [Case("case_1", "", "image", "", "given", "validation")], 2)
    assert json.loads(folders.splits_json.read_text()) == [{"train": ["case_1"] * 2, "val": ["case_1"]}]


def test_final_labels_come_with_what_the_viewer_said(tmp_path):
    for name in ("first", "second"):
        (tmp_path / f"{name}.png").write_bytes(as_png(np.zeros((20, 30), np.uint8)))
    store = CheckedDatastore(str(tmp_path), auto_reload=False)
    said = [{"name": "lungs", "idx": 1}]
    Image.fromarray(np.ones((20, 30), np.uint8)).save(tmp_path / "label_file.png")
    store.save_label("first", str(tmp_path / "label_file.png"), "final", {"label_info": said})
    store.save_label("second", str(tmp_path / "label_file.png"), "original", {})
    (one,) = submitted_labels(store)
    assert one.image == tmp_path / "first.png" and one.label.name == "first.png" and one.label_info == said
