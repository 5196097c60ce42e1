"""The client's loop against a real server, and what it says of a server that refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from label_server import LabelServer, write_phantoms
from PIL import Image

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.label.client import LabelClient, _correct, annotate


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
    """A server of this module's own, whose labels nobody else counts."""
    started = LabelServer(tmp_path_factory.mktemp("app") / "app", truth[0], preset="demo")
    yield started
    started.stop()


def test_submitted_labels_are_those_of_the_annotator(server, tmp_path):
    client = LabelClient(server.url)
    label = np.zeros((64, 64), np.uint8)
    label[10:20, 30:50] = 1
    Image.fromarray(label).save(tmp_path / "label.png")
    client.submit("image_5", tmp_path / "label.png")
    with Image.open(server.studies / "labels" / "final" / "image_5.png") as kept:
        np.testing.assert_array_equal(np.asarray(kept), label)


def test_true_masks_mean_the_classes_of_the_clients_text(own_server, truth, tmp_path):
    """The server began with lungs: a mask of 1 would be lungs to it."""
    client = LabelClient(own_server.url)
    annotate(client, "heart", 1, tmp_path, "random", truth[1])
    kept = client._call("GET", "datastore/", params={"output": "all"}).json()["objects"]
    said = [one["labels"]["final"]["info"]["label_info"] for one in kept.values() if "final" in one["labels"]]
    assert [{"name": "heart", "idx": 1}] in said


def test_a_corrected_file_is_submitted_in_place_of_the_mask(monkeypatch, tmp_path):
    mask, better = tmp_path / "mask.png", tmp_path / "better.png"
    mask.touch()
    better.touch()
    answers = iter(["", str(better), str(tmp_path / "gone.png")])
    monkeypatch.setattr("builtins.input", lambda _: next(answers))
    assert _correct(mask) == mask
    assert _correct(mask) == better
    with pytest.raises(InputError, match=r"gone.png is no file"):
        _correct(mask)


def test_what_the_server_refuses_is_one_line(server, tmp_path):
    client = LabelClient(server.url)
    with pytest.raises(InputError, match=r"answered 404: there is no image 'nobody'"):
        client.infer("nobody", tmp_path, text="lungs")
    with pytest.raises(InputError, match=r"answered 422: .*text"):
        client.infer("image_0", tmp_path, text=" ")
    with pytest.raises(InputError, match="answered 404: there is no strategy 'best'"):
        client.next_image("best")
    with pytest.raises(InputError, match=r"scoring/prompt_disagreement answered 422: unknown window"):
        client.score("prompt_disagreement", window="no window")
    assert list(tmp_path.iterdir()) == []


def test_no_server_is_one_line(tmp_path):
    client = LabelClient("http://127.0.0.1:9", timeout=5)
    with pytest.raises(InputError, match=r"no answer from http://127.0.0.1:9 .*medclipsam label serve"):
        client.infer("image", tmp_path)


def test_a_client_needs_no_monai_label():
    code = (
        "import sys; sys.modules['monailabel'] = None; import medclipsam_monai.label.client; "
        "assert not any(name.startswith('monailabel.') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
