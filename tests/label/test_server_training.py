"""Training through a real server: progress, cancel, a crash in the middle, and two clients at once."""

from __future__ import annotations

import json

import numpy as np
import psutil
import pytest
import requests
from label_server import LabelServer, as_png, write_phantoms

QUICK = {"text": "lungs", "network_size": "tiny", "max_epochs": 3, "iterations": 1}
LONG = {**QUICK, "max_epochs": 3000}
pytestmark = pytest.mark.minutes
PATIENCE = 60  # seconds for killed processes to end


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A server of 6 phantoms, 2 of them labelled, after a first training."""
    folder = tmp_path_factory.mktemp("training")
    masks = write_phantoms(folder / "studies", 6)
    started = LabelServer(folder / "app", folder / "studies", preset="demo")
    for image in ("image_0", "image_1"):
        assert started.save_label(image, as_png(masks[image])).status_code == 200
    assert started.train(**QUICK).json()["status"] in ("SUBMITTED", "RUNNING")
    started.first = started.wait_for_training()
    yield started
    started.stop()


def _ensemble(server) -> bytes:
    return (server.app / "model" / "ensemble.pt").read_bytes()


def _epochs(server) -> int:
    return server.info()["train_stats"]["weak"].get("epoch", 0)


def _start_long(server) -> int:
    """Start a training that would take long and wait until it has done an epoch more; returns the epochs done."""
    before = _epochs(server) if (server.app / "model" / "training" / "long").exists() else 0
    (server.app / "model" / "training" / "long").touch()
    assert server.train(**LONG).status_code == 200
    status = server.wait_for_training(
        lambda _: server.info()["train_stats"]["weak"]["total_epochs"] == 3000 and _epochs(server) > before
    )
    assert status["status"] == "RUNNING", status["details"]
    return _epochs(server)


def test_the_new_ensemble_is_served_at_once(trained):
    assert trained.first["status"] == "DONE", trained.first["details"]
    info = trained.info()
    assert info["models"]["weak"]["labels"] == ["lungs"]
    stats = info["train_stats"]["weak"]
    assert (stats["epoch"], stats["total_epochs"], stats["finished"]) == (3, 3, True)
    mask = trained.mask("weak", "image_5")
    assert mask.shape == (64, 64) and set(np.unique(mask)) <= {0, 1}
    said = trained.infer("weak", "image_5", threshold=0.5).json()
    assert said["label_names"] == {"lungs": 1} and said["members"] == 3 and said["uncertainty"] >= 0


def test_submitted_labels_weigh_more(trained):
    raw = trained.app / "model" / "training" / "nnunet"
    cases = json.loads(next(raw.rglob("cases.json")).read_text())
    split = json.loads(next(raw.rglob("splits_final.json")).read_text())[0]
    given = {case["case"] for case in cases if case["label"] == "given"}
    assert {case["stem"] for case in cases if case["label"] == "given"} == {"image_0", "image_1"}
    assert all(split["train"].count(case) == (4 if case in given else 1) for case in split["train"])
    assert given <= set(split["train"]) and not given & set(split["val"])


def test_a_mistake_that_shows_only_later_ends_the_training_with_its_line(trained):
    trained.train(**{**QUICK, "preset": "biomedclip_sam_b"})
    status = trained.wait_for_training()
    assert status["status"] == "ERROR"
    assert status["details"][-1].startswith("medclipsam: ") and "weights download" in status["details"][-1]


def test_what_a_training_itself_says_names_no_folder_of_the_server(trained):
    """MONAI Label's own log lines, which begin with a bracket, name the app's folder; those of the app do not."""
    statuses = [trained.first, *requests.get(f"{trained.url}/train/", params={"all": True}).json()]
    own = [line for status in statuses for line in status["details"] if not line.lstrip().startswith("[")]
    assert own
    for folder in (trained.app, trained.studies):
        assert not any(str(folder) in line for line in own)


def test_an_unknown_trainer_is_not_found(trained):
    answer = requests.post(f"{trained.url}/train/nothing")
    assert answer.status_code == 404 and "expected one of" in answer.json()["detail"]


def test_a_server_killed_in_training_loses_nothing_and_goes_on_until_it_is_cancelled(trained):
    before, mask = _ensemble(trained), trained.mask("weak", "image_5")
    done = _start_long(trained)
    again = trained.train(**QUICK)
    assert again.status_code == 429 and "Already Running" in again.json()["detail"]
    np.testing.assert_array_equal(trained.mask("weak", "image_5"), mask)
    orphans = trained.kill()
    _, alive = psutil.wait_procs(orphans, timeout=PATIENCE)
    assert not alive
    restarted = LabelServer(trained.app, trained.studies, preset="demo")
    try:
        assert requests.get(f"{restarted.url}/train/").status_code == 404
        assert restarted.info()["datastore"]["completed"] == 2
        assert _ensemble(restarted) == before
        np.testing.assert_array_equal(restarted.mask("weak", "image_5"), mask)
        assert _start_long(restarted) > done
        rows = next((restarted.app / "model" / "training").rglob("progress.csv")).read_text().splitlines()
        assert [int(row.split(",")[0]) for row in rows[1:]] == list(range(len(rows) - 1))
        running = restarted.children()
        assert requests.delete(f"{restarted.url}/train/").json()["status"] == "STOPPED"
        _, alive = psutil.wait_procs(running, timeout=PATIENCE)
        assert not alive and _ensemble(restarted) == before
        np.testing.assert_array_equal(restarted.mask("weak", "image_5"), mask)
    finally:
        restarted.stop()
