"""The client's loop against a real server, and what it says of a server that refuses."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from label_server import LabelServer, write_phantoms
from PIL import Image

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "label_client.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("label_client", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["label_client"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["label_client"]


@pytest.fixture(scope="module")
def truth(tmp_path_factory) -> tuple[Path, Path]:
    """Folders of eight phantoms and of their masks."""
    folder = tmp_path_factory.mktemp("client")
    (folder / "masks").mkdir()
    for image, mask in write_phantoms(folder / "studies", 8).items():
        Image.fromarray(mask).save(folder / "masks" / f"{image}.png")
    return folder / "studies", folder / "masks"


@pytest.fixture(scope="module")
def own_server(truth, tmp_path_factory):
    """A server of this module's own, which it trains."""
    started = LabelServer(tmp_path_factory.mktemp("app") / "app", truth[0])
    yield started
    started.stop()


def test_the_loop_labels_trains_and_asks_for_the_next_image(script, own_server, truth, tmp_path, capsys):
    script.main(
        text="lungs",
        server=own_server.url,
        masks=truth[1],
        output=tmp_path / "found",
        rounds=1,
        labels=3,
        strategy="mixed",
        train_option=["max_epochs=3", "iterations=2", "network_size=tiny"],
    )
    assert "round 1: 3 labelled" in capsys.readouterr().out
    assert len(list((tmp_path / "found").glob("*.png"))) == 3
    assert own_server.info()["datastore"]["completed"] == 3
    client = script.LabelClient(own_server.url)
    labelled = {path.stem for path in (truth[0] / "labels" / "final").glob("*.png")}
    assert len(labelled) == 3
    sample = client._call("POST", "activelearning/most_uncertain", json={}).json()
    assert sample["id"] not in labelled
    assert sample["scored_by"] == "ensemble_entropy"
    assert sample["score"] > 0
    weak = client.infer(sample["id"], tmp_path / "weak", model="weak")
    with Image.open(weak) as mask, Image.open(truth[0] / f"{sample['id']}.png") as picture:
        assert mask.size == picture.size


def test_submitted_labels_are_those_of_the_annotator(script, server, tmp_path):
    client = script.LabelClient(server.url)
    label = np.zeros((64, 64), np.uint8)
    label[10:20, 30:50] = 1
    Image.fromarray(label).save(tmp_path / "label.png")
    client.submit("image_5", tmp_path / "label.png")
    with Image.open(server.studies / "labels" / "final" / "image_5.png") as kept:
        np.testing.assert_array_equal(np.asarray(kept), label)


def test_a_corrected_file_is_submitted_in_place_of_the_mask(script, monkeypatch, tmp_path):
    mask, better = tmp_path / "mask.png", tmp_path / "better.png"
    mask.touch()
    better.touch()
    answers = iter(["", str(better), str(tmp_path / "gone.png")])
    monkeypatch.setattr("builtins.input", lambda _: next(answers))
    assert script._correct(mask) == mask
    assert script._correct(mask) == better
    with pytest.raises(script.InputError, match=r"gone.png is no file"):
        script._correct(mask)


def test_what_the_server_refuses_is_one_line(script, server, tmp_path):
    client = script.LabelClient(server.url)
    with pytest.raises(script.InputError, match=r"answered 404: there is no image 'nobody'"):
        client.infer("nobody", tmp_path, text="lungs")
    with pytest.raises(script.InputError, match=r"answered 422: .*text"):
        client.infer("image_0", tmp_path, text=" ")
    with pytest.raises(script.InputError, match="answered 404: there is no strategy 'best'"):
        client.next_image("best")
    with pytest.raises(script.InputError, match=r"scoring ended as ERROR: .*window"):
        client.score("prompt_disagreement", window="no window")
    assert list(tmp_path.iterdir()) == []


def test_no_server_is_one_line(script, tmp_path):
    client = script.LabelClient("http://127.0.0.1:9", timeout=5)
    with pytest.raises(script.InputError, match=r"no answer from http://127.0.0.1:9 .*scripts/label.sh"):
        client.infer("image", tmp_path)


def test_options_are_numbers_where_they_look_like_it(script):
    assert script._parameters(["max_epochs=3", "text=lungs; heart"]) == {"max_epochs": 3, "text": "lungs; heart"}
    with pytest.raises(script.InputError, match="NAME=VALUE, got 'max_epochs'"):
        script._parameters(["max_epochs"])
