"""Layers segmented and corrected without napari: what the command line finds, in its place."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
from fake_layers import FakeLayer

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.geometry import restore_geometry
from medclipsam_monai.napari.corrections import Correction
from medclipsam_monai.napari.layers import layer_matrix, read_layer
from medclipsam_monai.napari.run import Question, Session, sentences
from medclipsam_monai.napari.samples import phantom_picture, phantom_volume
from medclipsam_monai.phantoms.seeds import VOLUMES
from medclipsam_monai.phantoms.volumes import make_phantom_volume
from medclipsam_monai.prompts import TextTarget
from medclipsam_monai.zero_shot.clicks.prompts import SliceClicks
from medclipsam_monai.zero_shot.clicks.segment import segment_clicks

REVERSE = np.eye(4)[[2, 1, 0, 3]]


@pytest.fixture(scope="module")
def question(tiny_preset):
    return Question(("liver",), str(tiny_preset), "cpu")


@pytest.fixture(scope="module")
def session():
    return Session()


@pytest.fixture(scope="module")
def picture():
    array, arguments, _ = phantom_picture()[0]
    return read_layer(FakeLayer(array[::4, ::4], name=arguments["name"]))


def test_an_oblique_volume_is_segmented_as_by_the_command_line(oblique, session, question, run, tmp_path):
    """The labels lie at the same places in the world, whether the layer has nibabel's array or ITK's."""
    file, array, affine = oblique
    code, _, err = run(file, "--text", "liver")
    assert code == 0, err
    mask = nib.load(tmp_path / "out" / "image_mask.nii.gz")
    wanted = np.asarray(mask.dataobj)
    assert wanted.any() and not wanted.all()
    nibabels = FakeLayer(array, affine, metadata={"world_axes": "RAS"})
    lps = REVERSE @ np.diag([-1.0, -1, 1, 1]) @ affine @ REVERSE
    itks = FakeLayer(np.ascontiguousarray(array.T), lps, metadata={"world_axes": "SPL"})
    told = []
    own = session.segment(read_layer(nibabels), question, lambda *step: told.append(step))
    turned = session.segment(read_layer(itks), question)
    assert np.array_equal(own.labels, wanted) and np.array_equal(turned.labels, wanted.T)
    np.testing.assert_allclose(layer_matrix(nibabels), mask.affine, atol=1e-4)
    assert told[0][1] == 0 and all(done <= total for _, done, total in told) and told[-1][1] == told[-1][2]
    record = json.loads((tmp_path / "out" / "image.json").read_text())
    for key in ("classes", "texts", "preset", "weights"):
        assert own.record[key] == record[key]


def test_work_on_a_volume_ends_where_the_one_who_is_told_says_so(oblique, session, question):
    class Enough(Exception):
        pass

    def tell(doing, done, total):
        if done:
            raise Enough

    _, array, affine = oblique
    with pytest.raises(Enough):
        session.segment(read_layer(FakeLayer(array, affine), "RAS"), question, tell)


def test_an_image_stays_open_until_it_changes(picture, session, question):
    first = session.open(picture, question)
    assert session.open(picture, question) is first
    picture.array[0, 0] += 1
    again = session.open(picture, question)
    assert again is not first and session.open(picture, question) is again
    assert session.open(picture, Question(("heart",), question.preset, "cpu", window=(100, 50))) is not again


def test_presence_and_warnings_are_told(picture, session, question):
    found = session.segment(picture, Question(("lungs", "heart"), question.preset, "cpu"))
    assert found.labels.shape == picture.shape and found.labels.dtype == np.uint8
    assert found.features["class"] == ["background", "lungs", "heart"] and found.features["index"] == [0, 1, 2]
    assert [line.partition(":")[0] for line in found.report][:2] == ["lungs", "heart"]
    assert "pixels" in found.report[0] and found.record["input"] == picture.name
    assert sentences(found.record, "heart") == TextTarget("heart", ("heart",))


def test_a_turned_layer_of_an_unknown_world_is_doubted(oblique, session, question):
    _, array, affine = oblique
    found = session.segment(read_layer(FakeLayer(array[:9, :9, :9], affine)), question)
    assert any("it is not known how the world lies in the patient" in line for line in found.report)


def test_an_empty_text_is_refused(picture, session, question):
    with pytest.raises(InputError, match="there is no text"):
        session.segment(picture, Question((), question.preset, "cpu"))


@pytest.mark.parametrize("world", ["RAS", "as shown"])
def test_points_and_boxes_replace_the_label_in_their_slices_alone(oblique, session, question, world):
    """Against the segmenter asked by hand in the slice of the upright picture."""
    _, array, affine = oblique
    image = read_layer(FakeLayer(array, affine), world)
    opened = session.open(image, question)
    labels = np.full(array.shape, 2, np.uint8)
    labels[::2] = 1
    corners = [[8, 10, 5], [8, 25, 5], [30, 25, 5], [30, 10, 5]] if world == "RAS" else [[5, 8, 2], [5, 30, 9]]
    inside = [20, 18, 5] if world == "RAS" else [5, 20, 6]
    correction = Correction(inside=[inside], outside=[corners[0]], boxes=[np.array(corners)])
    ((number, clicked),) = correction.clicks(image, opened.geometry).items()
    column, row = clicked.points[0]
    place = np.zeros(opened.display.shape[1:], bool)
    place[int(row), int(column), number] = True
    marked = np.zeros(array.shape, bool)
    marked[tuple(inside)] = True
    assert np.array_equal(image.restored(restore_geometry(place, opened.geometry)), marked)
    corrected = session.correct(image, question, correction, labels, 1)
    probability, _ = opened.segmenter.network.segmenter.decode(
        opened.encoded(number).embeddings()[0], *(getattr(clicked.prompts(), n) for n in ("boxes", "points", "labels"))
    )
    upright = np.zeros(place.shape, bool)
    upright[..., number] = probability[0, 0] > opened.segmenter.network.settings.threshold
    new = image.restored(restore_geometry(upright, opened.geometry))
    shown = (slice(None), slice(None), 5) if world == "RAS" else (5,)
    wanted = labels.copy()
    wanted[shown] = np.where(new[shown], 1, np.where(labels[shown] == 1, 0, labels[shown]))
    assert new.any() and np.array_equal(corrected, wanted)


def test_a_texts_box_counts_where_none_is_drawn(picture, session, question):
    opened = session.open(picture, question)
    target = TextTarget("lungs", ("lungs",))
    found = opened.segmenter.network.segment(opened.display[None], {"lungs": ["lungs"]})[0].mask[0]
    rows, columns = np.nonzero(found.numpy())
    box = (float(columns.min()), float(rows.min()), float(columns.max()), float(rows.max()))
    by_hand = segment_clicks(opened, {0: SliceClicks([(9.0, 12.0)], [1], box)})
    by_text = segment_clicks(opened, {0: SliceClicks([(9.0, 12.0)], [1])}, target)
    assert by_hand.equal(by_text)
    corrected = session.correct(
        picture, question, Correction(inside=[[12, 9]]), np.zeros(picture.shape, np.uint8), 3, target
    )
    assert np.array_equal(corrected, 3 * by_text.numpy())


@pytest.mark.parametrize(
    ("correction", "message"),
    [
        (Correction(), "there is nothing to correct by"),
        (Correction(inside=[[-3, 4]]), "the point -3.0, 4.0 lies outside of 'phantom X-ray'"),
        (Correction(boxes=[[[500, 500], [600, 600]]]), "the box at 500.0, 500.0 lies outside"),
        (Correction(boxes=[[[5, 5], [5, 30]]]), "has no area in the slices"),
    ],
)
def test_what_cannot_correct_is_refused(picture, session, question, correction, message):
    with pytest.raises(InputError, match=message):
        session.correct(picture, question, correction, np.zeros(picture.shape, np.uint8), 1)


def test_labels_of_another_image_are_refused(picture, session, question):
    with pytest.raises(InputError, match="is not that of 'phantom X-ray'"):
        session.correct(picture, question, Correction(inside=[[3, 4]]), np.zeros((3, 3), np.uint8), 1)


def test_the_sample_volume_lies_upright_where_its_phantom_does():
    array, arguments, kind = phantom_volume()[0]
    matrix = np.diag([*arguments["scale"], 1.0])
    matrix[:3, 3] = arguments["translate"]
    image = read_layer(FakeLayer(array, matrix, units=("millimeter",) * 3, metadata=arguments["metadata"]))
    phantom = make_phantom_volume("chest_abdomen_ct", VOLUMES.first, (96, 96, 48))
    affine = image.to_open()["affine"]
    index = np.array([7, 30, 60, 1.0])
    there = np.linalg.inv(phantom.affine) @ affine @ index
    assert kind == "image" and array[7, 30, 60] == phantom.image[tuple(there[:3].round().astype(int))]
    np.testing.assert_allclose(there[:3], there[:3].round(), atol=1e-6)
