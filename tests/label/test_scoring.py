"""Scores of a datastore's images."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from monailabel.datastore.local import LocalDatastore

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.label.active.disagreement import prompt_disagreement
from medclipsam_monai.label.active.scoring import EnsembleEntropyScoring, PromptDisagreementScoring, ensemble_hash
from medclipsam_monai.label.models import ServedModels
from medclipsam_monai.phantoms.folder import draw_phantom_folder
from medclipsam_monai.prompts import parse_targets
from medclipsam_monai.weak.ensemble.checkpoint_ensemble import CheckpointEnsemble

SHIPPED = Path(__file__).resolve().parents[2] / "bundles" / "medclipsam_weak_segmentation" / "models" / "model.pt"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    return draw_phantom_folder(tmp_path_factory.mktemp("phantoms"), "chest_xray", "heart", 3) / "images"


@pytest.fixture
def datastore(tmp_path, drawn) -> LocalDatastore:
    shutil.copytree(drawn, tmp_path / "studies")
    return LocalDatastore(str(tmp_path / "studies"), extensions=("*.png",))


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> ServedModels:
    return ServedModels(tmp_path_factory.mktemp("models"), "cpu")


@pytest.fixture
def trained(models):
    """The networks with the shipped ensemble, once it was trained here."""
    models.replace(SHIPPED)
    yield models
    models.ensemble_file.unlink()


def infos(datastore: LocalDatastore, key: str) -> dict[str, float]:
    return {image: datastore.get_image_info(image)[key] for image in datastore.list_images()}


def test_disagreement_is_kept_for_every_image(models, datastore):
    request = {"method": "prompt_disagreement"}  # as the server sends it
    summary = PromptDisagreementScoring(models, "heart", "demo")(request, datastore)
    assert summary == {"method": "prompt_disagreement", "scored": 3, "kept": 0, "failed": {}}
    image = datastore.list_images()[0]
    segmenter = models.text_segmenter("demo")
    expected = prompt_disagreement(segmenter, segmenter.open(datastore.get_image_uri(image)), parse_targets("heart"))
    assert infos(datastore, "prompt_disagreement")[image] == pytest.approx(expected, abs=1e-5)


def test_scores_outlive_the_server(models, datastore):
    PromptDisagreementScoring(models, "heart", "demo")({}, datastore)
    opened = LocalDatastore(datastore._datastore_path, extensions=("*.png",))
    assert infos(opened, "prompt_disagreement") == infos(datastore, "prompt_disagreement")
    assert PromptDisagreementScoring(models, "heart", "demo")({}, opened)["kept"] == 3


def test_only_what_is_new_is_scored(models, datastore):
    PromptDisagreementScoring(models, "heart", "demo")({}, datastore)
    images = Path(datastore._datastore_path)
    first, second, _ = sorted(images.glob("*.png"))
    shutil.copy(first, images / "new.png")
    first.write_bytes(second.read_bytes())
    datastore.refresh()
    summary = PromptDisagreementScoring(models, "heart", "demo")({}, datastore)
    assert (summary["scored"], summary["kept"]) == (2, 2)


def test_another_text_is_another_score(models, datastore):
    scoring = PromptDisagreementScoring(models, "heart", "demo")
    scoring({}, datastore)
    before = infos(datastore, "prompt_disagreement")
    assert scoring({"text": "lungs; heart"}, datastore)["scored"] == 3
    assert infos(datastore, "prompt_disagreement") != before


@pytest.mark.parametrize("text", ["", " ; ", "☃☃☃"])
def test_a_text_that_is_none_scores_nothing(models, datastore, text):
    with pytest.raises(InputError):
        PromptDisagreementScoring(models, "heart", "demo").scorer({"text": text})
    assert "prompt_disagreement" not in datastore.get_image_info(datastore.list_images()[0])


def test_entropy_before_any_training_says_what_to_do(models, datastore):
    summary = EnsembleEntropyScoring(models)({}, datastore)
    assert summary["scored"] == 0
    assert summary["note"] == "there is no trained ensemble yet: train first"


def test_entropy_is_that_of_the_ensemble_and_new_after_training(trained, datastore):
    scoring = EnsembleEntropyScoring(trained)
    assert scoring({}, datastore)["scored"] == 3
    whole, scores = trained.ensemble(), infos(datastore, "ensemble_entropy")
    image = datastore.list_images()[0]
    found = whole.predict(datastore.get_image_uri(image), **whole.reading).score()
    assert scores[image] == pytest.approx(found, rel=1e-4)
    assert scoring({}, datastore)["kept"] == 3
    trained.replace(whole.member_alone(0).export(trained.folder / "retrained.pt"))
    assert scoring({}, datastore)["scored"] == 3
    assert infos(datastore, "ensemble_entropy") != scores


def test_an_ensemble_is_known_by_its_weights_not_its_file(trained, tmp_path):
    whole = trained.ensemble()
    copy = CheckpointEnsemble.from_file(whole.export(tmp_path / "copy.pt"), "cpu")
    assert ensemble_hash(copy) == ensemble_hash(whole)
    assert ensemble_hash(whole.member_alone(0)) != ensemble_hash(whole)


def test_an_image_that_cannot_be_read_does_not_stop_the_others(models, datastore):
    images = Path(datastore._datastore_path)
    (images / "broken.png").write_bytes(b"no picture")
    datastore.refresh()
    removed = sorted(images.glob("chest*.png"))[0]
    removed.unlink()
    summary = PromptDisagreementScoring(models, "heart", "demo")({}, datastore)
    assert summary["scored"] == 2
    assert set(summary["failed"]) == {"broken", removed.stem}
    assert all("\n" not in line for line in summary["failed"].values())
