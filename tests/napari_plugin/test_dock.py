"""The dock in napari: layers in, labels in their place out, and what it says meanwhile."""

from __future__ import annotations

import napari
import nibabel as nib
import numpy as np
import pytest
from napari.components import ViewerModel
from npe2 import PluginManifest
from npe2.manifest.utils import import_python_name

import medclipsam_monai.napari.dock as dock_module
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.napari.corrections import Correction
from medclipsam_monai.napari.dock import SegmentByText
from medclipsam_monai.napari.layers import layer_matrix, read_layer
from medclipsam_monai.napari.samples import phantom_picture, phantom_volume
from medclipsam_monai.prompts import TextTarget

WAIT = 300_000  # ms
REVERSE = np.eye(4)[[2, 1, 0, 3]]


@pytest.fixture
def viewer():
    """Layers without a canvas, which a machine without OpenGL has not."""
    return ViewerModel()


@pytest.fixture
def dock(qtbot, viewer, tiny_preset, monkeypatch):
    monkeypatch.setattr(dock_module, "preset_names", lambda: [str(tiny_preset), "small"])
    monkeypatch.setattr(dock_module, "DEFAULT_PRESET", str(tiny_preset))
    dock = SegmentByText(viewer)
    dock.device.value = "cpu"
    qtbot.addWidget(dock.native)
    yield dock
    if dock.work.running:
        with qtbot.waitSignal(dock.work.ended, timeout=WAIT):
            dock.work.cancel()


def press(qtbot, dock, button):
    with qtbot.waitSignal(dock.work.ended, timeout=WAIT) as ended:
        button.native.click()
    return ended.args


def corners(layer):
    """World places of the first and the last voxel, and between."""
    shape = np.array(layer.data.shape)
    return np.array([layer.data_to_world(at) for at in (np.zeros(len(shape)), (shape - 1) / 2, shape - 1)])


def command_mask(run, tmp_path, file):
    code, _, err = run(file, "--text", "liver")
    assert code == 0, err
    mask = nib.load(tmp_path / "out" / "image_mask.nii.gz")
    assert np.asarray(mask.dataobj).any()
    return mask


def test_the_labels_of_an_oblique_volume_lie_where_the_command_line_puts_its_mask(
    qtbot, dock, viewer, oblique, run, tmp_path
):
    file, array, affine = oblique
    mask = command_mask(run, tmp_path, file)
    viewer.add_image(array, affine=affine, name="ct", units=("mm",) * 3)
    dock.texts.value, dock.world.value = "liver", "RAS"
    press(qtbot, dock, dock.run)
    labels = viewer.layers["ct: liver"]
    assert np.array_equal(labels.data, np.asarray(mask.dataobj))
    np.testing.assert_allclose(layer_matrix(labels), mask.affine, atol=1e-4)
    for index in np.argwhere(labels.data)[::50]:
        np.testing.assert_allclose(labels.data_to_world(index), nib.affines.apply_affine(mask.affine, index), atol=1e-3)
    assert labels.units == viewer.layers["ct"].units


def test_scale_rotation_shear_and_translation_are_the_images(qtbot, dock, viewer, oblique, run, tmp_path):
    """The same places by the other half of a layer's transform, on an array of the other order."""
    file, array, affine = oblique
    mask = command_mask(run, tmp_path, file)
    itk = REVERSE @ np.diag([-1.0, -1, 1, 1]) @ affine @ REVERSE
    scale = np.linalg.norm(itk[:3, :3], axis=0)
    placed = {"scale": scale, "rotate": itk[:3, :3] / scale, "translate": itk[:3, 3]}
    image = viewer.add_image(np.ascontiguousarray(array.T), name="ct", metadata={"world_axes": "SPL"}, **placed)
    np.testing.assert_allclose(layer_matrix(image), itk, atol=1e-6)
    dock.texts.value = "liver"
    press(qtbot, dock, dock.run)
    labels = viewer.layers["ct: liver"]
    assert np.array_equal(labels.data, np.asarray(mask.dataobj).T)
    np.testing.assert_allclose(corners(labels), corners(image), atol=1e-6)


@pytest.mark.parametrize("colours", [False, True])
def test_a_picture_gets_named_labels_and_a_report(qtbot, dock, viewer, colours):
    array = phantom_picture()[0][0][::4, ::4]
    array = np.stack([array] * 3, axis=-1) if colours else array
    viewer.add_image(array, name="chest", scale=(0.5, 0.7), translate=(3, 4), rotate=20)
    dock.texts.value = "lungs; heart=the heart on a chest X-ray"
    press(qtbot, dock, dock.run)
    labels = viewer.layers["chest: lungs, heart"]
    assert labels.data.shape == array.shape[:2]
    assert list(labels.features["class"]) == ["background", "lungs", "heart"]
    np.testing.assert_allclose(layer_matrix(labels), layer_matrix(viewer.layers["chest"]))
    assert dock.report.value.startswith("lungs: ") and "\nheart: " in dock.report.value
    np.testing.assert_allclose(labels.colormap.color_dict[1][:3], np.array([230, 159, 0]) / 255, atol=1e-6)
    assert dock.labelled.value is labels and dock.image.value is viewer.layers["chest"]
    assert [name for name, _ in dock._classes()] == ["lungs", "heart"]
    assert dock.run.enabled and not dock.cancel.enabled


def test_always_and_the_layers_own_greys_are_asked_for(dock, viewer):
    viewer.add_image(np.zeros((20, 20)), contrast_limits=(-100, 300))
    dock.always.value, dock.window.value = True, "as the layer is shown"
    assert dock.question().always and dock.question().window == (100, 400)


def test_points_and_boxes_correct_a_class_whatever_the_layers_transforms(qtbot, dock, viewer):
    array = phantom_picture()[0][0][::4, ::4]
    image = viewer.add_image(array, name="chest", scale=(0.5, 0.5), translate=(10, -20))
    dock.texts.value = "lungs"
    press(qtbot, dock, dock.run)
    labels = viewer.layers["chest: lungs"]
    before = labels.data.copy()
    dock.new_layers.native.click()
    assert [layer.mode for layer in viewer.layers[-3:]] == ["add", "add", "add_rectangle"]
    dock.by["inside"].value.add([30, 20])
    plain = viewer.add_shapes([[[15, -15], [15, 5], [28, 5], [28, -15]]], name="in the world")  # scale 1
    dock.by["boxes"].value = plain
    press(qtbot, dock, dock.correct)
    drawn = Correction(inside=[[30, 20]], boxes=[np.array([[10, 10], [36, 50]])])
    target = TextTarget("lungs", ("lungs",))
    wanted = dock.session.correct(read_layer(image), dock.question(), drawn, before, 1, target)
    assert np.array_equal(labels.data, wanted) and not np.array_equal(wanted, before)
    assert "corrected: " in dock.report.value


def test_a_run_can_be_cancelled_and_leaves_no_layer(qtbot, dock, viewer, oblique):
    _, array, affine = oblique
    viewer.add_image(array, affine=affine, metadata={"world_axes": "RAS"})
    dock.texts.value = "liver"
    with qtbot.waitSignal(dock.work.ended, timeout=WAIT) as ended:
        dock.work.told.connect(lambda *_: dock.cancel.native.click())
        dock.run.native.click()
    assert ended.args == [True] and len(viewer.layers) == 1
    assert dock.report.value == "cancelled" and dock.run.enabled


def test_what_cannot_be_done_is_said_in_a_line(qtbot, dock, viewer):
    dock.run.native.click()
    assert dock.report.value.startswith("there is no image layer") and not dock.work.running
    viewer.add_image(np.zeros((2, 3, 20, 20)), name="film")
    dock.run.native.click()
    assert dock.report.value.startswith("layer 'film' has 4 axes")
    viewer.layers.clear()
    viewer.add_image(np.zeros((20, 20), np.uint8))
    dock.texts.value = " ; "
    press(qtbot, dock, dock.run)
    assert dock.report.value.startswith("there is no text")
    dock.correct.native.click()
    assert dock.report.value.startswith("there are no labels to correct")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (InputError("give another one"), "give another one"),
        (MemoryError(), "there is not enough memory"),
        (RuntimeError("from torch"), "an internal error: RuntimeError: from torch"),
    ],
)
def test_no_error_of_the_thread_is_lost(qtbot, dock, viewer, monkeypatch, error, said):
    def fail(*_):
        raise error

    viewer.add_image(np.zeros((20, 20), np.uint8))
    monkeypatch.setattr(dock.session, "segment", fail)
    press(qtbot, dock, dock.run)
    assert dock.report.value.startswith(said) and dock.run.enabled


def test_the_manifest_is_valid_and_what_it_names_is_there(qtbot):
    from importlib.metadata import entry_points

    (point,) = [one for one in entry_points(group="napari.manifest") if one.name == "medclipsam-monai"]
    assert point.value == "medclipsam_monai.napari:napari.yaml"
    manifest = PluginManifest.from_distribution("medclipsam-monai")
    manifest.validate_imports()
    functions = {command.id: import_python_name(command.python_name) for command in manifest.contributions.commands}
    kinds = {one.key: functions[one.command]()[0][2] for one in manifest.contributions.sample_data}
    assert kinds == {"picture": "image", "volume": "image"}
    for data in (phantom_picture, phantom_volume):
        array, arguments, _ = data()[0]
        assert napari.layers.Image(array, **arguments).name == arguments["name"]
