"""The bundles in MONAI Label's own monaibundle app: what a client downloads is the mask of the command line.

The answers are compared by SimpleITK at points of the patient, and no file of a request stays on the server.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import time
from importlib.metadata import distribution
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import requests
import SimpleITK as sitk
import torch
from dicom_files import write_series
from label_server import LabelServer, as_png, write_phantoms
from monailabel.tasks.infer.bundle import BundleInferTask
from PIL import Image
from requests_toolbelt.multipart.decoder import MultipartDecoder

from medclipsam_monai import TextSegmenter
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.finetune import ContrastiveCLIP
from medclipsam_monai.phantoms import make_phantom
from medclipsam_monai.weak.ensemble.checkpoint_ensemble import CheckpointEnsemble

pytestmark = pytest.mark.minutes
BUNDLES = Path(__file__).parents[2] / "bundles"
FINETUNE, WEAK, ZERO_SHOT = NAMES = (
    "medclipsam_finetune",
    "medclipsam_weak_segmentation",
    "medclipsam_zeroshot_segmentation",
)
TILT = np.array([[np.cos(0.3), 0, np.sin(0.3)], [0, 1, 0], [-np.sin(0.3), 0, np.cos(0.3)]])
AXES = {
    "axial": np.diag([-1.5, -1.25, 4.0]),
    "flipped": np.diag([1.5, 1.25, -4.0]),
    "oblique": TILT @ np.diag([-1.5, -1.25, 4.0]),
    "sagittal": np.array([[0, 0, 4.0], [-1.5, 0, 0], [0, -1.25, 0]]),
}
"""Of a volume's columns, rows and slices, in RAS millimetres."""


def stock_app() -> Path:
    """Where the wheel's app lies: some installers unpack its data folder, some leave it among the packages."""
    packages = Path(str(distribution("monailabel").locate_file("")))
    places = [Path(sys.prefix), *packages.glob("monailabel-*.data/data")]
    return next(path for place in places if (path := place / "monailabel" / "sample-apps" / "monaibundle").is_dir())


def _slices() -> np.ndarray:
    """A chest CT phantom (columns, rows, 4): no slice like another, none like its mirror image."""
    levels = make_phantom("chest_ct", 3_300_000).image
    levels = (levels[..., 0] if levels.ndim == 3 else levels)[::3, ::3][8:, :]
    return np.stack([np.roll(levels, 2 * number, axis=1).T for number in range(4)], axis=-1)


def write_images(folder: Path) -> None:
    """One image of each kind that the datastore serves, two of a colour and two that are not square among them."""
    write_phantoms(folder, 6)
    numbers = (1400 * _slices() - 1000).round().astype(np.int16)
    for name, axes in AXES.items():
        affine = np.eye(4)
        affine[:3, :3], affine[:3, 3] = axes, (5, -4, 7)
        image = nib.Nifti1Image(numbers, affine)
        image.header.set_slope_inter(*((2, -24) if name == "oblique" else (1, 0)))
        nib.save(image, folder / f"{name}.nii.gz")
    nib.save(nib.Nifti1Image(numbers[..., 1], np.diag([-1.5, -1.25, 4.0, 1])), folder / "plane.nii")
    scan = sitk.GetImageFromArray(numbers.T)
    scan.SetSpacing((1.5, 1.25, 4))
    scan.SetOrigin((3, 4, 5))
    scan.SetDirection(TILT.ravel().tolist())
    sitk.WriteImage(scan, str(folder / "scan.nrrd"))
    with Image.open(folder / "image_0.png") as picture:
        grey = np.asarray(picture)[:, 5:53]
    for name in ("colour.png", "photo.jpg", "page.tif"):
        Image.fromarray(np.stack([grey] * 3, axis=-1)).save(folder / name, **({"quality": 95} if "jpg" in name else {}))


@pytest.fixture(scope="module")
def stock(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stock")
    shutil.copytree(stock_app(), folder / "app")
    for name in NAMES:
        shutil.copytree(BUNDLES / name, folder / "app" / "model" / name, ignore=shutil.ignore_patterns("eval"))
    _train_shortly(folder / "app" / "model" / WEAK / "configs" / "train.json")
    use_demo_weights(folder / "app" / "model" / ZERO_SHOT)
    export(folder / "app" / "model" / ZERO_SHOT)
    write_images(folder / "studies")
    # any source but the default one, which asks the model zoo
    started = LabelServer(folder / "app", folder / "studies", models=",".join(NAMES), zoo_source="local", sam2="false")
    yield started
    started.stop()


def use_demo_weights(bundle: Path) -> None:
    """Make the quick demo weights, which know phantoms, the zero-shot bundle's default."""
    path = bundle / "configs" / "inference.json"
    config = path.read_text()
    assert "@preset or DEFAULT_PRESET" in config
    path.write_text(config.replace("@preset or DEFAULT_PRESET", "@preset or 'demo'"))


def export(bundle: Path) -> None:
    """models/model.pt of the zero-shot bundle, by its own command."""
    command = ["-m", "monai.bundle", "run", "export", "--config_file", "configs/inference.json"]
    subprocess.run([sys.executable, *command], cwd=bundle, check=True)


def _train_shortly(path: Path) -> None:
    """A schedule and a network that take seconds."""
    config = json.loads(path.read_text())
    config["network_size"] = "tiny"
    config["cyclic"] |= {"epochs": 2, "cycles": 2, "per_cycle": 1, "iterations": 1, "validation_iterations": 1}
    path.write_text(json.dumps(config))


@pytest.fixture(scope="module")
def commanded(stock, tmp_path_factory) -> Path:
    """What the command line makes of all images, by text."""
    out = tmp_path_factory.mktemp("commanded")
    command = [sys.executable, "-m", "medclipsam_monai", "segment", str(stock.studies), "--text", "lungs"]
    subprocess.run([*command, "--preset", "demo", "--device", "cpu", "--output", str(out)], check=True)
    return out


def download(stock: LabelServer, model: str, image: str, folder: Path, **params: object) -> Path:
    """The file of ``output=image``, under the name that the server gave it."""
    answer = stock.infer(model, image, output="image", device="cpu", **params)
    assert answer.status_code == 200, answer.text
    name = answer.headers["content-disposition"].split('filename="')[1].rstrip('"')
    path = folder / f"answer{name[name.index('.') :]}"
    path.write_bytes(answer.content)
    assert not any((stock.app / "model" / one / "eval").exists() for one in (ZERO_SHOT, WEAK)), "a second file"
    return path


def check_same_place(answer: Path, expected: Path) -> None:
    """At the points of the expected mask's voxels the answer has its labels; it has no other voxels."""
    found, wanted = sitk.ReadImage(str(answer)), sitk.ReadImage(str(expected))
    if wanted.GetDimension() == 2 and found.GetDimension() == 3:
        found = found[:, :, 0]
    placed = sitk.Resample(found, wanted, sitk.Transform(), sitk.sitkNearestNeighbor, 77.0)
    labels = sitk.GetArrayFromImage(wanted)
    assert 0.01 < (labels > 0).mean() < 0.8
    np.testing.assert_array_equal(sitk.GetArrayFromImage(placed), labels)
    assert found.GetSize() == wanted.GetSize()
    for name in ("GetOrigin", "GetSpacing", "GetDirection"):
        np.testing.assert_allclose(getattr(found, name)(), getattr(wanted, name)(), atol=1e-4)


def test_all_three_are_loaded(stock):
    info = stock.info()
    assert set(info["models"]) == {WEAK, ZERO_SHOT}
    assert info["models"][ZERO_SHOT]["config"]["text"] == "lungs"
    assert info["models"][ZERO_SHOT]["labels"] == {"text_prompt": 1}
    assert info["models"][WEAK]["labels"] == {"heart": 1}


@pytest.mark.parametrize("image", [*AXES, "plane", "scan"])
def test_the_mask_of_a_volume_lies_where_that_of_the_command_does(stock, commanded, tmp_path, image):
    answer = download(stock, ZERO_SHOT, image, tmp_path, text="lungs")
    (expected,) = commanded.glob(f"{image}_mask.*")
    assert answer.name.removeprefix("answer") == expected.name.removeprefix(f"{image}_mask")
    check_same_place(answer, expected)
    if expected.name.endswith(".nii.gz"):
        found, wanted = nib.load(answer), nib.load(expected)
        np.testing.assert_allclose(found.affine, wanted.affine, atol=1e-4)
        np.testing.assert_array_equal(np.squeeze(found.dataobj), np.squeeze(wanted.dataobj))
        assert found.get_data_dtype() == np.uint8


@pytest.mark.parametrize("image", ["image_1", "colour", "photo", "page"])
def test_the_mask_of_a_picture_is_that_of_the_command(stock, commanded, tmp_path, image):
    answer = download(stock, ZERO_SHOT, image, tmp_path, text="lungs")
    assert answer.suffix == ".png"
    with Image.open(answer) as found, Image.open(commanded / f"{image}_mask.png") as wanted:
        assert found.mode == "L"
        np.testing.assert_array_equal(np.asarray(found), np.asarray(wanted))
        assert 0.01 < (np.asarray(found) > 0).mean() < 0.8


@pytest.mark.parametrize(("text", "threshold"), [("heart", 0.5), ("lungs", 0.9), ("lungs", 0.2), ("lungs", 1)])
def test_the_text_and_the_threshold_of_a_request_decide(stock, tmp_path, text, threshold):
    answer = download(stock, ZERO_SHOT, "image_0", tmp_path, text=text, threshold=threshold)
    segmenter = TextSegmenter.from_preset("demo", "cpu", settings={"threshold": threshold})
    expected = segmenter(stock.studies / "image_0.png", text).label_map.numpy()
    np.testing.assert_array_equal(np.asarray(Image.open(answer)), expected)
    assert (expected.max() == 0) == (threshold == 1)


def test_output_all_has_the_same_file_and_the_names_of_the_labels(stock, commanded, tmp_path):
    answer = stock.infer(ZERO_SHOT, "oblique", output="all", device="cpu", text="lungs")
    parts = {}
    for part in MultipartDecoder(answer.content, answer.headers["content-type"]).parts:
        header = part.headers[b"Content-Disposition"].decode()
        parts[header.split('name="')[1].split('"')[0]] = part.content
    assert json.loads(parts["params"])["label_names"] == {"text_prompt": 1}
    (tmp_path / "all.nii.gz").write_bytes(parts["image"])
    check_same_place(tmp_path / "all.nii.gz", commanded / "oblique_mask.nii.gz")


def test_a_dicom_series_and_a_file_that_a_client_sends(stock, tmp_path):
    """The series as a DICOMweb archive gives it where images are not converted: a folder on the server."""
    numbers = (1400 * _slices() - 1000).round().astype(np.int16).transpose(2, 1, 0).copy()
    write_series(tmp_path / "series", numbers, RescaleSlope=1, RescaleIntercept=0)
    answer = download(stock, ZERO_SHOT, str(tmp_path / "series"), tmp_path, text="lungs")
    command = [sys.executable, "-m", "medclipsam_monai", "segment", str(tmp_path / "series"), "--text", "lungs"]
    subprocess.run([*command, "--preset", "demo", "--device", "cpu", "--output", str(tmp_path / "out")], check=True)
    (expected,) = (tmp_path / "out").glob("*_mask.nii.gz")
    check_same_place(answer, expected)
    picture = stock.studies / "image_2.png"
    sent = {"file": ("sent.png", picture.read_bytes())}
    answer = stock.infer(ZERO_SHOT, "", output="image", files=sent, device="cpu", text="lungs")
    found = np.asarray(Image.open(io.BytesIO(answer.content)))
    np.testing.assert_array_equal(found, TextSegmenter.from_preset("demo", "cpu")(picture, "lungs").label_map)


@pytest.mark.parametrize("threshold", [0.5, 0.2])
@pytest.mark.parametrize("image", ["image_1.png", "photo.jpg"])
def test_the_ensembles_mask_is_that_of_its_class(stock, tmp_path, image, threshold):
    answer = download(stock, WEAK, Path(image).stem, tmp_path, threshold=threshold)
    ensemble = CheckpointEnsemble.from_file(BUNDLES / WEAK / "models" / "model.pt", "cpu", mirroring=False)
    expected = ensemble.predict(stock.studies / image).label_map(threshold).numpy()
    np.testing.assert_array_equal(np.asarray(Image.open(answer)), expected)
    assert 0.01 < expected.mean() < 0.5


@pytest.mark.parametrize(
    ("model", "image", "params", "line"),
    [
        (ZERO_SHOT, "image_0", {"text": " "}, "the text is empty"),
        (ZERO_SHOT, "image_0", {"threshold": "much"}, "threshold must be a number from 0 to 1, got 'much'"),
        (WEAK, "axial", {}, "the networks were trained on pictures"),
    ],
)
def test_what_cannot_be_done_is_said(stock, model, image, params, line):
    answer = stock.infer(model, image, output="image", device="cpu", **params)
    assert answer.status_code == 500
    deadline = time.monotonic() + 30  # the server logs what was wrong after it has answered
    while line not in stock.log.read_text() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert line in stock.log.read_text()


@pytest.mark.parametrize(("model", "option"), [(ZERO_SHOT, "text"), (ZERO_SHOT, "threshold"), (WEAK, "threshold")])
def test_what_a_client_sends_is_never_run_as_python(stock, tmp_path, model, option):
    """MONAI Label writes it into the bundle's configuration, where a dollar sign means Python."""
    marker = tmp_path / "ran"
    for _ in range(2):  # what one request leaves in the configuration is there for the next
        stock.infer(model, "image_0", device="cpu", **{option: f"$__import__('pathlib').Path({str(marker)!r}).touch()"})
        stock.infer(model, "image_0", device="cpu", **{option: f"@displayable_configs#{option}"})
    assert not marker.exists()
    download(stock, model, "image_0", tmp_path)
    assert not marker.exists()


def train(stock: LabelServer, model: str) -> dict:
    """The task's state at its end."""
    options = {"max_epochs": 2, "device": "cpu", "val_split": 0.2}
    started = requests.post(f"{stock.url}/train/{model}", json=options)
    assert started.status_code == 200, started.text
    while True:
        status = requests.get(f"{stock.url}/train/").json()
        if status["status"] not in ("SUBMITTED", "RUNNING"):
            return status
        time.sleep(0.5)


def test_fine_tuning_takes_no_labels_and_says_so_in_one_line(stock):
    masks = write_phantoms(stock.studies.parent / "again", 6)
    for image in ("image_0", "image_1"):
        assert stock.save_label(image, as_png(masks[image])).status_code == 200
    status = train(stock, FINETUNE)
    assert status["status"] == "ERROR"
    assert status["details"][-1].startswith("medclipsam: fine-tuning learns from images with captions, not from labels")


def test_submitted_labels_train_the_ensemble_that_answers_next(stock, tmp_path):
    model = stock.app / "model" / WEAK / "models" / "model.pt"
    before = model.read_bytes()
    download(stock, WEAK, "image_5", tmp_path)
    for image, mask in write_phantoms(stock.studies.parent / "labels", 6).items():
        if image != "image_5":
            assert stock.save_label(image, as_png(mask)).status_code == 200
    status = train(stock, WEAK)
    assert status["status"] == "DONE", status["details"]
    assert model.read_bytes() != before
    raw = stock.app / "model" / WEAK / "eval" / "submitted" / "nnunet" / "raw" / "Dataset001_Weak"
    cases = json.loads((raw / "cases.json").read_text())
    assert [(case["stem"], case["label"]) for case in cases] == [(f"image_{number}", "given") for number in range(5)]
    trained = CheckpointEnsemble.from_file(model, "cpu", mirroring=False)
    assert len(trained.members) == 2
    shutil.rmtree(stock.app / "model" / WEAK / "eval")
    for threshold in (0.3, 0.5, 0.7):
        answer = download(stock, WEAK, "image_5", tmp_path, threshold=threshold)
        expected = trained.predict(stock.studies / "image_5.png").label_map(threshold).numpy()
        np.testing.assert_array_equal(np.asarray(Image.open(answer)), expected)


def _infer_task(bundle: Path) -> BundleInferTask:
    return BundleInferTask(str(bundle), {})


def cause_of(error: BaseException) -> str:
    """What this package said, under what MONAI made of it."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, InputError):
        cause = cause.__cause__
    assert cause is not None, repr(error)
    return str(cause)


def test_the_labels_are_those_of_the_ensemble_that_lies_there(tmp_path):
    bundle = shutil.copytree(BUNDLES / WEAK, tmp_path / WEAK, ignore=shutil.ignore_patterns("eval"))
    started = _infer_task(bundle)
    assert started.labels == {"heart": 1}
    model = bundle / "models" / "model.pt"
    state = torch.load(model, weights_only=True)
    plan = json.loads(bytes(state["plan"].numpy()))
    plan["dataset_json"]["labels"] = {"background": 0, "lungs": 1}
    state["plan"] = torch.frombuffer(bytearray(json.dumps(plan).encode()), dtype=torch.uint8)
    torch.save(state, model)
    write_phantoms(tmp_path / "images", 1)
    request = {"image": str(tmp_path / "images" / "image_0.png"), "device": "cpu"}
    with pytest.raises(Exception) as error:
        _infer_task(bundle)
    assert "says that the classes are 'background, heart', models/model.pt has 'background, lungs'" in cause_of(
        error.value
    )
    command = ["-m", "monai.bundle", "run", "describe", "--config_file", "configs/train.json"]
    subprocess.run([sys.executable, *command], cwd=bundle, check=True)
    with pytest.raises(Exception) as error:
        started(request)
    assert "of the classes background, lungs, the network gives background, heart" in cause_of(error.value)
    assert _infer_task(bundle).labels == {"lungs": 1}
    file, result = _infer_task(bundle)(request)
    assert result["label_names"] == {"lungs": 1} and np.asarray(Image.open(file)).any()


def test_a_tuned_clip_gives_no_labels_and_refuses_images_in_one_line(tmp_path):
    bundle = shutil.copytree(BUNDLES / FINETUNE, tmp_path / FINETUNE, ignore=shutil.ignore_patterns("eval", "models"))
    (bundle / "models").mkdir()
    torch.save(ContrastiveCLIP("demo/clip").state_dict(), bundle / "models" / "model.pt")
    task = _infer_task(bundle)
    assert task.labels == {}
    write_phantoms(tmp_path / "images", 1)
    with pytest.raises(Exception) as error:
        task({"image": str(tmp_path / "images" / "image_0.png"), "device": "cpu"})
    assert cause_of(error.value).startswith("medclipsam_finetune gives features of images and captions, no masks")
