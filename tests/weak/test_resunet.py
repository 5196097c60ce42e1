"""MONAI's trainer learns from the raw data set, pictures and volumes alike, and refuses what is not whole."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import CheckpointSaver, MeanDice, ValidationHandler, from_engine
from monai.inferers import SlidingWindowInferer
from monai.losses import DiceCELoss
from PIL import Image

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.weak.folders import WorkFolders
from medclipsam_monai.weak.resunet import (
    ReadRawd,
    build_resunet,
    postprocessing,
    read_raw_data,
    train_preprocessing,
    validate_preprocessing,
)


def _write_set(folders: WorkFolders, shape: tuple[int, ...], channels: int = 1, ending: str = ".png") -> None:
    """Three cases, a bright block of label 2 and a darker one of label 1 on noise; case c is moved by c pixels."""
    for folder in (folders.images, folders.labels, folders.preprocessed):
        folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for index in range(3):
        label = np.zeros(shape, np.uint8)
        label[4 + index : 12 + index, 3:9], label[14:22, 10 + index : 20 + index] = 1, 2
        image = (20 + 80 * label[..., None] + generator.integers(0, 20, (*shape, channels))).astype(np.uint8)
        case = f"case_{index:04d}"
        if ending == ".png":
            Image.fromarray(image.squeeze()).save(folders.images / f"{case}_0000.png")
            Image.fromarray(label).save(folders.labels / f"{case}.png")
            continue
        for channel in range(channels):
            file = folders.images / f"{case}_{channel:04d}.nii.gz"
            nib.save(nib.Nifti1Image(image[..., channel].astype(np.int16), np.diag([1.0, 1.0, 3.0, 1.0])), file)
        nib.save(nib.Nifti1Image(label, np.diag([1.0, 1.0, 3.0, 1.0])), folders.labels / f"{case}.nii.gz")
    dataset = {
        "channel_names": {str(channel): "grey" for channel in range(channels)},
        "labels": {"background": 0, "dark": 1, "bright": 2},
        "numTraining": 3,
        "file_ending": ending,
    }
    folders.dataset_json.write_text(json.dumps(dataset))
    folders.splits_json.write_text(json.dumps([{"train": ["case_0000", "case_0001"], "val": ["case_0002"]}]))


FORMS = {
    "grey pictures": ((30, 24), 1, ".png", (16, 16), 2),
    "colour pictures": ((30, 24), 3, ".png", (16, 16), 2),
    "volumes": ((30, 24, 9), 1, ".nii.gz", (16, 16, 8), 3),
    "volumes of two channels": ((30, 24, 9), 2, ".nii.gz", (16, 16, 8), 3),
}


@pytest.mark.parametrize(("shape", "channels", "ending", "patch", "dimensions"), FORMS.values(), ids=FORMS)
def test_two_steps_of_monais_trainer_change_the_network_and_leave_a_checkpoint_that_predicts_the_same(
    tmp_path: Path, shape: tuple[int, ...], channels: int, ending: str, patch: tuple[int, ...], dimensions: int
) -> None:
    torch.manual_seed(0)
    folders = WorkFolders(tmp_path)
    _write_set(folders, shape, channels, ending)
    data = read_raw_data(folders)
    assert (data.names, data.channels, data.dimensions) == (("dark", "bright"), channels, dimensions)
    network = build_resunet(data, channels=(4, 8, 8))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    evaluator = SupervisedEvaluator(
        device="cpu",
        val_data_loader=DataLoader(Dataset(data.validation, validate_preprocessing()), batch_size=1),
        network=network,
        inferer=SlidingWindowInferer(patch),
        postprocessing=postprocessing(data),
        key_val_metric={"dice": MeanDice(include_background=False, output_transform=from_engine(["pred", "label"]))},
    )
    trainer = SupervisedTrainer(
        device="cpu",
        max_epochs=1,
        train_data_loader=DataLoader(Dataset(data.train, train_preprocessing(data, patch)), batch_size=1),
        network=network,
        optimizer=torch.optim.Adam(network.parameters(), 1e-3),
        loss_function=DiceCELoss(to_onehot_y=True, softmax=True),
        train_handlers=[
            ValidationHandler(1, evaluator),
            CheckpointSaver(str(tmp_path / "models"), {"model": network}, save_final=True, final_filename="model.pt"),
        ],
    )
    trainer.run()
    assert trainer.state.iteration == 2
    assert any(not torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert 0 <= evaluator.state.metrics["dice"] <= 1
    again = build_resunet(data, channels=(4, 8, 8))
    again.load_state_dict(torch.load(tmp_path / "models" / "model.pt", weights_only=True))
    image = validate_preprocessing()(data.validation[0])["image"][None]
    assert torch.equal(again.eval()(_whole(image)), network.eval()(_whole(image)))


def _whole(image: torch.Tensor) -> torch.Tensor:
    return image[(..., *(slice(0, 4 * (side // 4)) for side in image.shape[2:]))]


def test_labels_lie_on_their_image_and_keep_their_numbers(tmp_path: Path) -> None:
    folders = WorkFolders(tmp_path)
    _write_set(folders, (30, 24, 9), ending=".nii.gz")
    item = ReadRawd(("image", "label"))(read_raw_data(folders).train[0])
    assert sorted(item["label"].unique().tolist()) == [0, 1, 2]
    for value in range(3):
        inside = item["image"][item["label"] == value]
        assert 20 + 80 * value <= inside.min() and inside.max() < 40 + 80 * value


def test_training_sees_other_patches_of_the_same_size_each_time(tmp_path: Path) -> None:
    folders = WorkFolders(tmp_path)
    _write_set(folders, (30, 10))
    data = read_raw_data(folders)
    transform = train_preprocessing(data, (16, 16)).set_random_state(1)
    patches = [transform(data.train[0])[0]["image"] for _ in range(3)]
    assert {tuple(patch.shape) for patch in patches} == {(1, 16, 16)}
    assert not torch.equal(patches[0], patches[1])


def test_what_is_not_whole_is_one_line(tmp_path: Path) -> None:
    folders = WorkFolders(tmp_path)
    with pytest.raises(InputError, match=r"^no whole data set in .*build it first[^\n]*$"):
        read_raw_data(tmp_path)
    _write_set(folders, (30, 24))
    with pytest.raises(InputError, match=r"^patch_size must have 2 sides, got \[8, 8, 8\]$"):
        train_preprocessing(read_raw_data(folders), (8, 8, 8))
    (folders.labels / "case_0001.png").unlink()
    with pytest.raises(InputError, match=r"^.*case_0001\.png is missing: build the data set again$"):
        read_raw_data(folders)
