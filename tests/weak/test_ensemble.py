"""The checkpoint ensemble: the same numbers as nnU-Net's, in the input's geometry, and what it refuses."""

from __future__ import annotations

import json
import math
import warnings

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from PIL import Image
from random_training import make_training

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import InputWarning, hash_outputs, restore_geometry
from medclipsam_monai.weak.ensemble.checkpoint_ensemble import CheckpointEnsemble
from medclipsam_monai.weak.ensemble.members import Member
from medclipsam_monai.weak.ensemble.network import EnsembleNetwork
from medclipsam_monai.weak.ensemble.prediction import label_map
from medclipsam_monai.weak.ensemble.uncertainty import entropy
from medclipsam_monai.weak.nnunet.case_image import read_case_image

SIDES = (41, 70)
ODD_AFFINE = np.array([[0, 0, 0.95, -10], [0, -0.7, 0, 20], [-2.5, 0, 0, 30], [0, 0, 0, 1.0]])


def blobs(shape, seed=0):
    """Smooth random values in 0..255."""
    from scipy.ndimage import gaussian_filter

    noise = np.random.default_rng(seed).normal(size=shape)
    smooth = gaussian_filter(noise, [3.0] * len(SIDES) + [0.0] * (len(shape) - 2))
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    return (255 * smooth).astype(np.uint8)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Networks this small are slower on several threads, by far where other work runs beside."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def grey(tmp_path_factory):
    return make_training(tmp_path_factory.mktemp("grey"))


@pytest.fixture(scope="module")
def colour(tmp_path_factory):
    return make_training(tmp_path_factory.mktemp("colour"), channels=3, classes=2, members=2)


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    return make_training(tmp_path_factory.mktemp("volumes"), volumes=True, classes=2, members=2)


@pytest.fixture(scope="module")
def turned(tmp_path_factory):
    """nnU-Net turns volumes so that their coarsest axis comes first."""
    return make_training(tmp_path_factory.mktemp("turned"), volumes=True, members=2, forward=(2, 0, 1))


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    return make_training(tmp_path_factory.mktemp("deep"), volumes=True, members=2, configuration="3d_fullres")


@pytest.fixture(scope="module")
def grey_png(tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "chest.png"
    Image.fromarray(blobs(SIDES)).save(path)
    return path


@pytest.fixture(scope="module")
def colour_png(tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "polyp.png"
    Image.fromarray(blobs((*SIDES, 3))).save(path)
    return path


@pytest.fixture(scope="module")
def nifti(tmp_path_factory):
    """A volume stored in an order of axes unlike the one it is shown in, with three different spacings."""
    path = tmp_path_factory.mktemp("images") / "scan.nii.gz"
    values = np.moveaxis(blobs((38, 45, 3), seed=2), -1, 0).astype(np.int16) * 4 - 200
    nib.save(nib.Nifti1Image(values, ODD_AFFINE), path)
    return path


def nnunet_probabilities(folders, image, tmp_path, tile_step=0.5, mirroring=True):
    """What nnU-Net saves for each checkpoint, (G, C, D, H, W)."""
    case = read_case_image(image)
    files = [str(file) for file in case.with_channels(case.channels).write(tmp_path, "case")]
    found = []
    for number, member in enumerate(json.loads(folders.members_json.read_text())["members"]):
        predictor = nnUNetPredictor(
            tile_step_size=tile_step, use_mirroring=mirroring, device=torch.device("cpu"), allow_tqdm=False
        )
        predictor.initialize_from_trained_model_folder(str(folders.results), (0,), member["file"])
        start = tmp_path / str(number)
        predictor.predict_from_files_sequential([files], [str(start)], save_probabilities=True)
        found.append(np.load(f"{start}.npz")["probabilities"])
    return torch.from_numpy(np.stack(found))


@pytest.mark.parametrize(
    ("training", "image", "settings"),
    [
        ("grey", "grey_png", {}),
        ("grey", "grey_png", {"tile_step": 1.0, "mirroring": False}),
        ("colour", "colour_png", {}),
        ("volumes", "nifti", {}),
        ("turned", "nifti", {}),
        ("deep", "nifti", {}),
    ],
)
def test_the_mean_is_that_of_the_probabilities_that_nnunet_saves(training, image, settings, request, tmp_path):
    folders, file = request.getfixturevalue(training), request.getfixturevalue(image)
    members = nnunet_probabilities(folders, file, tmp_path, **settings)
    found = CheckpointEnsemble.from_training(folders, device="cpu", **settings).predict(file)
    on_our_axes = members.movedim(2, -1) if image == "nifti" else members[:, :, 0]
    mean = on_our_axes.mean(0)
    assert mean.std() > 0.03  # else anything would be equal
    assert torch.allclose(found.probability, mean, atol=1e-5, rtol=0)
    assert torch.allclose(found.entropy, entropy(mean), atol=1e-4, rtol=0)
    shared = torch.stack([entropy(member) for member in on_our_axes]).mean(0)
    assert torch.allclose(found.mutual_information, entropy(mean) - shared, atol=1e-4, rtol=0)
    assert found.mutual_information.max() > 0.01


def test_the_settings_of_the_sliding_window_reach_it(grey, grey_png):
    one, other, third = (
        CheckpointEnsemble.from_training(grey, "cpu", **settings).predict(grey_png).probability
        for settings in ({}, {"mirroring": False}, {"tile_step": 1.0})
    )
    assert not torch.allclose(one, other, atol=1e-3)
    assert not torch.allclose(one, third, atol=1e-3)


def test_what_nnunet_crops_away_is_background_for_sure(grey):
    image = torch.zeros(1, 48, 40)
    image[:, 8:40, 4:36] = torch.from_numpy(blobs((32, 32)).astype(np.float32)) + 1
    found = CheckpointEnsemble.from_training(grey, "cpu").predict_tensor(image)
    outside = torch.ones(48, 40, dtype=torch.bool)
    outside[8:40, 4:36] = False
    assert (found.probability[0][outside] == 1).all()
    assert (found.probability[1][outside] == 0).all()
    assert found.entropy[outside].max() == 0
    assert found.mutual_information[outside].max() == 0
    assert found.entropy[~outside].min() > 0


@pytest.mark.parametrize(
    ("probability", "threshold", "labels"),
    [
        ([[0.6, 0.5, 0.4], [0.4, 0.5, 0.6]], 0.5, [0, 1, 1]),
        ([[0.85, 0.7, 0.4], [0.15, 0.3, 0.6]], 0.2, [0, 1, 1]),
        ([[0.45, 0.7, 0.1], [0.30, 0.1, 0.2], [0.25, 0.2, 0.7]], 0.5, [1, 0, 2]),
        ([[0.45, 0.7, 0.1], [0.30, 0.1, 0.2], [0.25, 0.2, 0.7]], 0.25, [1, 2, 2]),
    ],
)
def test_label_map_asks_for_foreground_first_and_then_for_the_class(probability, threshold, labels):
    found = label_map(torch.tensor(probability)[..., None], threshold)
    assert found.dtype == torch.uint8
    assert found[:, 0].tolist() == labels


@pytest.mark.parametrize("threshold", [0, 1.5, -1])
def test_label_map_refuses_a_threshold_that_is_none(threshold):
    with pytest.raises(ValueError, match="threshold"):
        label_map(torch.rand(2, 4, 4), threshold)


def test_a_picture_is_saved_pixel_for_pixel(grey, grey_png, tmp_path):
    found = CheckpointEnsemble.from_training(grey, "cpu").predict(grey_png)
    files = found.save(tmp_path / "out", threshold=0.4)
    names = ["mask.png", "probability.png", "entropy.png", "mutual_information.png"]
    assert [file.name for file in files] == [*(f"chest_{name}" for name in names), "chest.json"]
    mask, probability = (np.asarray(Image.open(file)) for file in files[:2])
    assert mask.shape == SIDES
    assert np.array_equal(mask, found.label_map(0.4).numpy())
    assert 0 < mask.mean() < 1
    assert np.abs(probability / 65535 - found.probability[1].numpy()).max() < 1e-4
    record = json.loads(files[-1].read_text())
    assert record["threshold"] == 0.4
    assert record["score"] == pytest.approx(found.score(0.4))
    assert record["members"] == [f"checkpoint_epoch_{epoch:04d}.pth" for epoch in range(3)]
    assert record["classes"][0]["pixels"] == int(mask.sum())
    assert record["outputs"] == hash_outputs(files[:-1])


def test_a_volume_is_saved_on_its_own_array(volumes, nifti, tmp_path):
    found = CheckpointEnsemble.from_training(volumes, "cpu").predict(nifti)
    files = {file.name: file for file in found.save(tmp_path, stem="case")}
    assert set(files) == {
        "case_mask.nii.gz",
        "case_probability_lungs.nii.gz",
        "case_probability_heart.nii.gz",
        "case_entropy.nii.gz",
        "case_mutual_information.nii.gz",
        "case.json",
    }
    written = nib.load(files["case_mask.nii.gz"])
    assert written.shape == (3, 38, 45)
    assert np.allclose(written.affine, ODD_AFFINE)
    assert np.array_equal(np.asarray(written.dataobj), restore_geometry(found.label_map(), found.geometry))
    maps = nib.load(files["case_entropy.nii.gz"]).get_fdata()
    assert np.allclose(maps * math.log2(3), restore_geometry(found.entropy, found.geometry), atol=1e-6)


def test_the_prediction_of_a_tensor_has_no_file_to_lie_on(grey, tmp_path):
    found = CheckpointEnsemble.from_training(grey, "cpu").predict_tensor(torch.rand(1, 40, 40))
    with pytest.raises(ValueError, match="only the prediction of a file"):
        found.save(tmp_path)


def test_a_file_and_its_tensor_are_predicted_alike(grey, grey_png, volumes, nifti):
    pictures, scans = (CheckpointEnsemble.from_training(work, "cpu") for work in (grey, volumes))
    picture = torch.from_numpy(np.array(Image.open(grey_png), np.float32))[None]
    assert torch.equal(pictures.predict(grey_png).probability, pictures.predict_tensor(picture).probability)
    case = read_case_image(nifti)
    found = scans.predict_tensor(torch.from_numpy(case.array), case.geometry.display_spacing)
    assert torch.equal(scans.predict(nifti).probability, found.probability)


def test_one_file_holds_the_ensemble(colour, colour_png, tmp_path):
    trained = CheckpointEnsemble.from_training(colour, "cpu")
    path = trained.export(tmp_path / "models" / "model.pt", torch.float32)
    torch.load(path, weights_only=True)  # plain tensors
    again = CheckpointEnsemble.from_file(path, "cpu")
    assert again.names == ("background", "lungs", "heart")
    assert torch.equal(trained.predict(colour_png).probability, again.predict(colour_png).probability)


def test_the_file_is_in_half_precision_and_holds_each_weight_once(grey, grey_png, tmp_path):
    trained = CheckpointEnsemble.from_training(grey, "cpu")
    path = trained.export(tmp_path / "model.pt")
    numbers = sum(parameter.numel() for parameter in trained.network.parameters())
    content = torch.load(path, weights_only=True)
    stored = [value for name, value in content.items() if name != "plan"]
    assert sum(value.numel() for value in stored) == 3 * numbers
    assert {value.dtype for value in stored} == {torch.float16}
    half = CheckpointEnsemble.from_file(path, "cpu").predict(grey_png)
    assert torch.allclose(trained.predict(grey_png).probability, half.probability, atol=5e-3)


def test_export_says_if_a_weight_does_not_fit(grey, tmp_path):
    ensemble = CheckpointEnsemble.from_training(grey, "cpu")
    large = {name: value * 1e6 for name, value in ensemble.members[0].weights().items()}
    ensemble.members = (Member("large.pth", lambda: large),)
    with pytest.raises(InputError, match=r"large\.pth.*torch\.float32"):
        ensemble.export(tmp_path / "model.pt")


def test_a_grey_picture_serves_networks_of_colour(colour, grey_png):
    with warnings.catch_warnings():
        warnings.simplefilter("error", InputWarning)
        found = CheckpointEnsemble.from_training(colour, "cpu").predict(grey_png)
    assert found.probability.shape == (3, *SIDES)


def test_a_grey_picture_in_three_channels_is_grey(grey, grey_png, tmp_path):
    Image.open(grey_png).convert("RGB").save(tmp_path / "rgb.png")
    ensemble = CheckpointEnsemble.from_training(grey, "cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error", InputWarning)
        found = ensemble.predict(tmp_path / "rgb.png")
    assert torch.equal(found.probability, ensemble.predict(grey_png).probability)


def test_colour_given_to_networks_of_grey_is_said(grey, colour_png):
    with pytest.warns(InputWarning, match=r"polyp\.png: is in colour .* its luminance is used"):
        found = CheckpointEnsemble.from_training(grey, "cpu").predict(colour_png)
    assert found.probability.shape == (2, *SIDES)


def test_volumes_and_pictures_are_told_apart(grey, volumes, grey_png, nifti):
    with pytest.raises(InputError, match=r"scan\.nii\.gz: is a volume, the networks were trained on pictures"):
        CheckpointEnsemble.from_training(grey, "cpu").predict(nifti)
    with pytest.raises(InputError, match=r"chest\.png: is a picture, the networks were trained on volumes"):
        CheckpointEnsemble.from_training(volumes, "cpu").predict(grey_png)


@pytest.mark.parametrize(
    ("training", "image", "says"),
    [
        ("grey", torch.rand(3, 32, 32), r"trained on grey \(1 channel\), got an image of 3; convert"),
        ("colour", torch.rand(2, 32, 32), r"RGB \(3 channels\), got an image of 2"),
        ("grey", torch.rand(1, 32, 32, 4), r"trained on pictures \(C, H, W\)"),
        ("volumes", torch.rand(1, 32, 32), r"trained on volumes \(C, H, W, D\)"),
        ("grey", torch.full((1, 32, 32), torch.nan), "finite"),
        ("colour", torch.full((3, 32, 32), 300.0), r"0\.\.255, got 300\.\.300"),
    ],
)
def test_a_tensor_that_does_not_fit_is_one_line(training, image, says, request):
    with pytest.raises(InputError, match=says):
        CheckpointEnsemble.from_training(request.getfixturevalue(training), "cpu").predict_tensor(image)


def test_parameters_that_are_none(grey):
    with pytest.raises(ValueError, match="tile_step"):
        CheckpointEnsemble.from_training(grey, "cpu", tile_step=0)
    with pytest.raises(ValueError, match="at least one member"):
        CheckpointEnsemble(CheckpointEnsemble.from_training(grey, "cpu").plan, [], "cpu")


@pytest.mark.parametrize("sides", [(37, 53), (8, 8), (64, 33)])
def test_the_network_takes_any_size(colour, tmp_path, sides):
    path = CheckpointEnsemble.from_training(colour, "cpu").export(tmp_path / "model.pt")
    network = EnsembleNetwork.from_file(path, "cpu").to("cpu").eval()
    image = 255 * torch.rand(2, 3, *sides, generator=torch.Generator().manual_seed(1))
    found = network(image)
    assert found.shape == (2, 3, *sides)
    assert found.dtype == torch.float32
    assert torch.allclose(found.sum(1), torch.ones(2, *sides), atol=1e-5)
    assert torch.equal(found[1], network.ensemble.predict_tensor(image[1]).probability)
    assert any(parameter.numel() for parameter in network.parameters())


def test_the_network_keeps_what_monai_knows_of_the_image(grey):
    network = EnsembleNetwork(CheckpointEnsemble.from_training(grey, "cpu"))
    found = network(MetaTensor(torch.rand(1, 1, 32, 32), meta={"filename_or_obj": "chest.png"}))
    assert isinstance(found, MetaTensor)
    assert found.meta["filename_or_obj"] == "chest.png"


def test_an_image_of_one_value_is_predicted(grey):
    found = CheckpointEnsemble.from_training(grey, "cpu").predict_tensor(torch.zeros(1, 40, 40))
    assert torch.isfinite(found.probability).all()
    assert math.isfinite(found.score())
