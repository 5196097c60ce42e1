"""Which image of a datastore comes next."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from fastapi import HTTPException
from monailabel.datastore.local import LocalDatastore

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.label.active.embeddings import ImageEmbeddings
from medclipsam_monai.label.active.strategies import Diverse, Mixed, MostUncertain, RandomImage
from medclipsam_monai.label.models import ServedModels
from medclipsam_monai.label.server.app import TextLabelApp
from medclipsam_monai.phantoms.samples import sample_pictures

NAMES = ("breast_cyst", "brain_tumour", "xray_normal", "xray_pacemaker")
CHEST = ("xray_normal", "xray_pacemaker")


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory) -> ImageEmbeddings:
    return ImageEmbeddings(ServedModels(tmp_path_factory.mktemp("models"), "cpu"), "demo")


@pytest.fixture
def datastore(tmp_path) -> LocalDatastore:
    for name in NAMES:
        shutil.copy(sample_pictures()[name], tmp_path / f"{name}.png")
    return LocalDatastore(str(tmp_path), extensions=("*.png",))


def give_scores(datastore: LocalDatastore, key: str, *scores: float) -> None:
    for name, score in zip(NAMES, scores, strict=False):
        datastore.update_image_info(name, {key: score})


def label(datastore: LocalDatastore, *names: str) -> None:
    for name in names:
        datastore.save_label(name, datastore.get_image_uri(name), "final", {})


def give_out(datastore: LocalDatastore, name: str, seconds_ago: float = 0, strategy: str = "mixed") -> None:
    """What the server notes when it has sent an image to a client."""
    datastore.update_image_info(name, {"strategy": {strategy: {"ts": int(time.time() - seconds_ago)}}})


def test_the_highest_score_comes_first(datastore):
    give_scores(datastore, "prompt_disagreement", 0.1, 0.4, 0.3, 0.2)
    found = MostUncertain()({}, datastore)
    assert found == {"id": "brain_tumour", "score": 0.4, "scored_by": "prompt_disagreement"}


def test_the_ensemble_is_believed_before_the_text(datastore):
    give_scores(datastore, "prompt_disagreement", 0.1, 0.4, 0.3, 0.2)
    give_scores(datastore, "ensemble_entropy", 5.0, 1.0)
    found = MostUncertain()({}, datastore)
    assert found == {"id": "breast_cyst", "score": 5.0, "scored_by": "ensemble_entropy"}


def test_labelled_images_do_not_come_again(datastore):
    give_scores(datastore, "ensemble_entropy", 4, 3, 2, 1)
    for expected in NAMES:
        assert MostUncertain()({}, datastore)["id"] == expected
        label(datastore, expected)
    assert MostUncertain()({}, datastore) is None


def test_without_scores_images_come_by_name_and_the_answer_says_so(datastore):
    assert MostUncertain()({}, datastore) == {"id": "brain_tumour", "score": None, "scored_by": None}


def test_two_annotators_get_two_images(datastore):
    give_scores(datastore, "ensemble_entropy", 4, 3, 2, 1)
    give_out(datastore, "breast_cyst")
    assert MostUncertain()({}, datastore)["id"] == "brain_tumour"


def test_an_image_given_out_days_ago_comes_again(datastore):
    give_scores(datastore, "ensemble_entropy", 4, 3, 2, 1)
    give_out(datastore, "breast_cyst", seconds_ago=2 * 24 * 3600)
    assert MostUncertain()({}, datastore)["id"] == "breast_cyst"


def test_when_all_are_given_out_the_first_of_them_comes_again(datastore):
    give_scores(datastore, "ensemble_entropy", 4, 3, 2, 1)
    for place, name in enumerate(NAMES):
        give_out(datastore, name, seconds_ago=100 * (place % 3), strategy="random")
    assert MostUncertain()({}, datastore)["id"] == "xray_normal"


def test_diverse_takes_what_is_unlike_the_labelled_ones(datastore, embeddings):
    label(datastore, "breast_cyst", "brain_tumour")
    first = Diverse(embeddings)({}, datastore)["id"]
    assert first in CHEST
    datastore.remove_label("breast_cyst", "final")
    datastore.refresh()
    label(datastore, first)
    assert Diverse(embeddings)({}, datastore)["id"] == "breast_cyst"


def test_what_is_being_labelled_counts_as_labelled(datastore, embeddings):
    label(datastore, "breast_cyst")
    give_out(datastore, "xray_normal")
    assert Diverse(embeddings)({}, datastore)["id"] == "brain_tumour"


def test_the_mix_weighs_both(datastore, embeddings):
    label(datastore, "xray_normal")
    give_scores(datastore, "ensemble_entropy", 1, 2, 0, 3)
    assert MostUncertain()({}, datastore)["id"] == "xray_pacemaker"
    assert Mixed(embeddings)({}, datastore)["id"] == "brain_tumour"


@pytest.mark.parametrize("strategy", [Diverse, Mixed])
def test_images_that_cannot_be_read_are_passed_over(datastore, embeddings, strategy):
    for name in ("brain_tumour", "xray_normal", "xray_pacemaker"):
        Path(datastore.get_image_uri(name)).write_bytes(b"no picture")
    assert strategy(embeddings)({}, datastore)["id"] == "breast_cyst"
    Path(datastore.get_image_uri("breast_cyst")).write_bytes(b"no picture")
    with pytest.raises(InputError, match="none of the 4 images that are not labelled yet can be read"):
        strategy(embeddings)({}, datastore)


def test_random_gives_every_image_its_turn_and_the_last_one_again(datastore):
    label(datastore, "breast_cyst")
    found = []
    for _ in range(3):
        found.append(RandomImage()({}, datastore)["id"])
        give_out(datastore, found[-1], strategy="random")
    assert sorted(found) == ["brain_tumour", "xray_normal", "xray_pacemaker"]
    label(datastore, *found[1:])
    assert RandomImage()({}, datastore)["id"] == found[0]


def test_random_is_random(datastore):
    assert len({RandomImage()({}, datastore)["id"] for _ in range(60)}) == len(NAMES)


@pytest.fixture
def app(datastore) -> TextLabelApp:
    """An app with a strategy and nothing else, which would score by itself."""
    bare = object.__new__(TextLabelApp)
    bare._strategies, bare._datastore, bare._auto_update_scoring = {"most_uncertain": MostUncertain()}, datastore, True
    return bare


def test_the_app_sends_the_image_without_scoring_everything_again(app, datastore, monkeypatch):
    monkeypatch.setattr(app, "async_scoring", lambda *_: pytest.fail("all images are scored again"))
    sample = app.next_sample({"strategy": "most_uncertain"})
    assert sample["id"] == "brain_tumour"
    assert sample["path"] == datastore.get_image_uri("brain_tumour")
    label(datastore, *NAMES)
    assert app.next_sample({"strategy": "most_uncertain"}) == {}


def test_an_unknown_strategy_is_refused_with_those_that_there_are(app):
    with pytest.raises(HTTPException, match="there is no strategy 'best'; expected one of most_uncertain") as refused:
        app.next_sample({"strategy": "best"})
    assert refused.value.status_code == 404
