"""The served ensemble: which one answers, and how it is replaced."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from fastapi import HTTPException
from PIL import Image

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.label.models import ServedModels
from medclipsam_monai.label.tasks.weak_task import WeakSegmentation
from medclipsam_monai.phantoms.samples import sample_pictures
from medclipsam_monai.weak.ensemble.checkpoint_ensemble import CheckpointEnsemble

SHIPPED = Path(__file__).parents[2] / "bundles" / "medclipsam_weak_segmentation" / "models" / "model.pt"
PICTURE = sample_pictures()["xray_normal"]


@pytest.fixture
def models(tmp_path):
    return ServedModels(tmp_path / "model", "cpu")


def test_before_any_training_the_task_is_hidden_and_says_what_to_do(models):
    task = WeakSegmentation(models)
    assert not task.is_valid() and task.info()["labels"] == []
    with pytest.raises(HTTPException) as refused:
        task({"image": str(PICTURE)})
    assert refused.value.status_code == 409 and "train first" in refused.value.detail


def test_the_mask_is_that_of_the_ensemble(models):
    models.replace(SHIPPED)
    task = WeakSegmentation(models)
    file, said = task({"image": str(PICTURE), "threshold": 0.4})
    ensemble = CheckpointEnsemble.from_file(SHIPPED, "cpu", mirroring=False)
    prediction = ensemble.predict(PICTURE, **ensemble.reading)
    with Image.open(file) as mask:
        np.testing.assert_array_equal(np.asarray(mask), prediction.label_map(0.4).numpy())
    assert task.info()["labels"] == ["heart"] and said["label_names"] == {"heart": 1}
    assert said["uncertainty"] == pytest.approx(prediction.score(0.4))


def test_what_the_ensemble_cannot_take_is_refused(models, tmp_path):
    models.replace(SHIPPED)
    nib.save(nib.Nifti1Image(np.zeros((16, 16, 16), np.float32), np.eye(4)), tmp_path / "volume.nii.gz")
    with pytest.raises(InputError, match="is a volume, the networks were trained on pictures"):
        WeakSegmentation(models)({"image": str(tmp_path / "volume.nii.gz")})
    with pytest.raises(InputError, match="threshold must be a number"):
        WeakSegmentation(models)({"image": str(PICTURE), "threshold": 0})


def test_another_process_replaces_the_ensemble_at_once(models):
    models.replace(SHIPPED)
    first = models.ensemble()
    assert first is models.ensemble()
    one = first.member_alone(0).export(models.folder / "one.pt")
    ServedModels(models.folder, "cpu").replace(one)
    assert len(first.members) > 1 and len(models.ensemble().members) == 1


def test_a_broken_file_leaves_the_old_ensemble(models, tmp_path):
    models.replace(SHIPPED)
    before = models.ensemble_file.read_bytes()
    torch.save({"format": "another"}, tmp_path / "other.pt")
    for path in (tmp_path / "other.pt", tmp_path / "missing.pt"):
        with pytest.raises(InputError):
            models.replace(path)
    assert models.ensemble_file.read_bytes() == before and models.ensemble() is not None
