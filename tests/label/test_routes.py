"""Routes of the server's REST that would answer something wrong, or 500: one clear line, and nothing is started."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from pathlib import Path

import pytest
import requests
import torch
from label_server import LabelServer, write_phantoms
from monailabel.client import MONAILabelClient

from medclipsam_monai.weak.ensemble.checkpoint_ensemble import CheckpointEnsemble

SHIPPED = Path(__file__).parents[2] / "bundles" / "medclipsam_weak_segmentation" / "models" / "model.pt"


def detail(answer: requests.Response) -> str:
    line = answer.json()["detail"]
    assert isinstance(line, str) and "\n" not in line
    return line


@pytest.mark.parametrize(
    ("route", "body", "status", "words"),
    [
        ("train/weak", {"max_epochs": 1}, 422, "max_epochs must be a whole number from 3 to 100,000, got 1"),
        ("train/weak", {"text": " "}, 422, "there is no text"),
        ("train/weak", {"epochs": 30}, 422, "there is no option 'epochs'; expected one of text, opposites"),
        ("train/weak", {"gpus": [0]}, 422, "gpus must be a text"),
        ("train/weak", {"model": "text"}, 422, "model is weak here, as the address says, got 'text'"),
        ("train/weak?run_sync=true", {"window": "none"}, 422, "unknown window"),
        ("train/", {"weak": {"network_size": "vast"}}, 422, "network_size must be one of small"),
        ("train/", {"weak": 7}, 422, "weak must hold an object of its options, got 7"),
        ("train/text", {}, 404, "there is no training 'text'; expected one of weak"),
        ("train/nope", {}, 404, "there is no training 'nope'"),
        ("scoring/nope", {}, 404, "there is no scoring method 'nope'; expected one of prompt_disagreement"),
        ("scoring/prompt_disagreement", {"window": "none"}, 422, "unknown window"),
        ("scoring/prompt_disagreement", {"method": "gradcam"}, 422, "method is prompt_disagreement here"),
        ("scoring/ensemble_entropy", {"threshold": 0.2}, 422, "there is no option 'threshold'"),
        ("scoring/", {"prompt_disagreement": {"text": ""}}, 422, "there is no text"),
        ("batch/infer/nope", {}, 404, "there is no model 'nope'; expected one of text, clicks, weak"),
        ("batch/infer/text", {"text": "=lungs"}, 422, "a class needs a name"),
        ("batch/infer/text", {"max_workers": "many"}, 422, "max_workers must be a whole number"),
        ("batch/infer/text", {"label_tag": "../final"}, 422, "a label's tag must be letters"),
        ("batch/infer/clicks", {}, 422, "clicks are made in one image at a time"),
        ("batch/infer/weak", {}, 409, "train first"),
        ("activelearning/nope", {}, 404, "there is no strategy 'nope'; expected one of random"),
        (
            "activelearning/mixed",
            {"tetx": "lungs"},
            422,
            "there is no option 'tetx'; expected one of label_tag, labels",
        ),
        ("activelearning/random", {"bogus": 1}, 422, "there is no option 'bogus'; expected one of label_tag, labels"),
        ("activelearning/random", {"text": "lungs"}, 422, "there is no option 'text'; expected one of label_tag"),
        ("activelearning/random", {"device": "cpu"}, 422, "there is no option 'device'; expected one of label_tag"),
        ("activelearning/random", {"strategy": "mixed"}, 422, "strategy is random here, as the address says, got 'mix"),
    ],
)
def test_a_wrong_task_or_option_is_said_at_once_and_nothing_is_started(server, route, body, status, words):
    answer = requests.post(f"{server.url}/{route}", json=body)
    assert (answer.status_code, words in detail(answer)) == (status, True), answer.text
    for kind in ("train", "scoring", "batch/infer"):
        assert requests.get(f"{server.url}/{kind}", params={"check_if_running": True}).status_code == 404


@pytest.mark.parametrize(
    ("method", "route", "status", "words"),
    [
        ("POST", "infer/text", 422, "there is no image: name one of the datastore (image=ID), or send a file"),
        ("POST", "infer/text?session_id=7", 404, "there is no session '7'; it may have expired"),
        ("POST", "infer/text?image=image_0&output=dicom_seg", 422, "DICOM SEG is for images of a DICOMweb archive"),
        ("GET", "datastore/image?image=nobody", 404, "there is no image 'nobody'"),
        ("GET", "datastore/image/info?image=nobody", 404, "there is no image 'nobody'"),
        ("GET", "datastore/label/info?label=nobody&tag=final", 404, "there is no label 'nobody' with the tag 'final'"),
        ("GET", "datastore/dataset?limit_cases=0", 422, "limit_cases must be a whole number from 1 on, got 0"),
        ("GET", "model/nope", 404, "there is no model 'nope'; expected one of text, clicks, weak"),
        ("GET", "model/text", 404, "model text has no file of its own: it is made of its preset's weights"),
        ("GET", "model/weak", 404, "train first"),
        ("GET", "model/info/weak", 404, "train first"),
        ("DELETE", "model/weak", 404, "train first"),
        ("GET", "proxy/dicom/wado/studies", 409, "there is no DICOMweb archive: this server serves a folder"),
        ("GET", "session/7", 404, "Session (7) Not Found"),
    ],
)
def test_what_is_not_there_is_one_line(server, method, route, status, words):
    answer = requests.request(method, f"{server.url}/{route}")
    assert (answer.status_code, words in detail(answer)) == (status, True), answer.text


@pytest.mark.parametrize(
    ("model", "params", "words"),
    [
        ("text", {"txt": "heart"}, "there is no option 'txt'; did you mean text?"),
        ("text", {"label_prompt": [99]}, "there is no class 99; the classes are 1 lungs"),
        ("text", {"label_prompt": "heart"}, "label_prompt must be a list of numbers of classes, got 'heart'"),
        ("text", {"text": "background"}, "background is what belongs to no class"),
        ("clicks", {"forground": [[1, 2]]}, "there is no option 'forground'; did you mean foreground?"),
        ("clicks", {"roi": [1, 9, 1, 9], "roi_order": "any"}, "roi_order must be one of corners, axes"),
        ("clicks", {"roi": [70, 5, 90, 9]}, "roi [70.0, 5.0, 90.0, 9.0] lies outside the image, whose size is 64 x 64"),
        ("clicks", {"roi": [5, 5, 30, 30], "label": "spleen"}, "label must be a served class, one of lungs"),
        (
            "clicks",
            {"roi": [5, 5, 30, 30], "label": "spleen"},
            "(a new word is served once it was a text), got 'spleen'",
        ),
        ("clicks", {"roi": [5, 5, 30, 30], "label": 9}, "(a new word is served once it was a text), got 9"),
        ("clicks", {"roi": [5, 5, 30, 30], "label": ["lungs"]}, "label must be a served class, one of lungs"),
    ],
)
def test_an_option_that_would_be_passed_over_is_refused(server, model, params, words):
    answer = server.infer(model, "image_0", **params)
    assert (answer.status_code, words in detail(answer)) == (422, True), answer.text


@pytest.mark.parametrize("strategy", ["random", "most_uncertain", "diverse", "mixed"])
def test_what_monai_labels_own_clients_send_with_a_strategy_is_taken(server, strategy, tmp_path):
    client = MONAILabelClient(server.url, str(tmp_path), "user")  # that of 3D Slicer is the same
    assert client.next_sample(strategy, {})["id"].startswith("image_")
    for body in (None, {}, {"strategy": strategy, "label_tag": "final", "labels": ["lungs"]}):
        answer = requests.post(f"{server.url}/activelearning/{strategy}", json=body)
        assert answer.status_code == 200 and answer.json()["id"].startswith("image_"), answer.text


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"label": " LUNGS "}, {"lungs": 1}),
        ({"label": None}, {"object": 1}),
        ({"label": ""}, {"object": 1}),
        ({"label": "spleen", "text": "lungs"}, {"lungs": 1}),
        ({"label": "Segment_1", "client_id": "user", "result_extension": ".nrrd"}, {"object": 1}),
    ],
)
def test_clicks_are_of_the_text_else_of_the_served_class_that_label_names(server, params, expected):
    answer = server.infer("clicks", "image_0", roi=[5, 5, 30, 30], **params)
    assert answer.status_code == 200 and answer.json()["label_names"] == expected, answer.text


def test_the_machines_own_pages_answer_or_say_what_is_missing(server):
    gpus = requests.get(f"{server.url}/logs/gpu")
    if shutil.which("nvidia-smi") is None:
        assert gpus.status_code == 404 and detail(gpus) == "nvidia-smi is not on this machine"
    else:
        assert gpus.status_code == 200
    first = requests.get(f"{server.url}/ohif/").content
    for path in ("assets", "viewer/1.2.3", "%2e%2e/%2e%2e/login.py"):
        assert requests.get(f"{server.url}/ohif/{path}").content == first
    assert b"<html" in first and requests.get(f"{server.url}/ohif/1266.css").content != first


@pytest.mark.parametrize(
    ("prefix", "algorithm"), [("", "sha256"), ("SHA256:", "sha256"), ("SHA512:", "sha512"), ("MD5:", "md5")]
)
def test_an_images_checksum_is_right_or_wrong(server, prefix, algorithm):
    content = (server.studies / "image_0.png").read_bytes()
    right = hashlib.new(algorithm, content).hexdigest()
    for digits, status in ((right, 200), (right[:-1] + "g", 404)):
        asked = {"image": "image_0", "check_sum": prefix + digits}
        assert requests.head(f"{server.url}/datastore/image", params=asked).status_code == status


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A server of one picture that begins with the ensemble that ships."""
    folder = tmp_path_factory.mktemp("trained")
    write_phantoms(folder / "studies", 1)
    started = LabelServer(folder / "app", folder / "studies", preset="demo", ensemble=str(SHIPPED))
    yield started
    started.stop()


def test_the_file_of_the_ensemble_is_the_one_that_answers(trained, tmp_path):
    answer = requests.get(f"{trained.url}/model/weak")
    assert answer.content == SHIPPED.read_bytes()
    said = requests.get(f"{trained.url}/model/info/weak").json()
    assert said["checksum"] == f"SHA256:{hashlib.sha256(answer.content).hexdigest()}"
    (tmp_path / "model.pt").write_bytes(answer.content)
    assert CheckpointEnsemble.from_file(tmp_path / "model.pt", "cpu").names[1:] == ("heart",)


def test_its_class_has_a_number_of_its_own(trained):
    assert trained.info()["labels"] == ["lungs", "heart"] == trained.info()["models"]["weak"]["labels"]
    assert trained.infer("weak", "image_0").json()["label_names"] == {"heart": 2}
    assert set(trained.mask("weak", "image_0").flat) == {0, 2}


def test_only_an_ensemble_takes_its_place(trained, tmp_path):
    other = io.BytesIO()
    torch.save({"weights": torch.zeros(2)}, other)
    refused = requests.put(f"{trained.url}/model/weak", files={"file": ("model.pt", other.getvalue())})
    assert refused.status_code == 422 and "ensemble" in detail(refused)
    assert requests.get(f"{trained.url}/model/weak").content == SHIPPED.read_bytes()
    one = CheckpointEnsemble.from_file(SHIPPED, "cpu").member_alone(0).export(tmp_path / "one.pt")
    sent = requests.put(f"{trained.url}/model/weak", files={"file": ("one.pt", one.read_bytes())})
    assert sent.status_code == 200 and trained.infer("weak", "image_0").json()["members"] == 1
    missing = requests.put(f"{trained.url}/model/text", files={"file": ("one.pt", one.read_bytes())})
    assert missing.status_code == 404 and "no file of its own" in detail(missing)


def test_a_batch_goes_on_after_an_image_that_cannot_be_read(trained):
    (trained.studies / "broken.png").write_bytes(b"no picture")
    while trained.info()["datastore"]["total"] != 2:  # the folder is watched
        pass
    answer = requests.post(f"{trained.url}/batch/infer/text", json={"text": "heart"}, params={"run_sync": True})
    found = answer.json()
    assert "is not a picture" in found["broken"]["error"] and found["image_0"]["params"]["label_names"] == {"heart": 2}
    kept = requests.get(f"{trained.url}/datastore/", params={"output": "all"}).json()["objects"]["image_0"]
    assert kept["labels"]["original"]["info"]["label_info"] == [{"name": "heart", "idx": 2}]


def test_a_reloaded_app_is_a_server_as_before(trained):
    assert requests.post(f"{trained.url}/reload").status_code == 200
    answer = trained.infer("text", "", files={"file": ("a.png", (trained.studies / "image_0.png").read_bytes())})
    assert answer.status_code == 200 and json.loads(answer.text)["label_names"] == {"lungs": 1}


def test_a_word_that_was_a_text_is_a_label_of_clicks(trained):
    asked = {"roi": [5, 5, 30, 30], "label": "spleen"}
    assert trained.infer("clicks", "image_0", **asked).status_code == 422
    number = trained.infer("text", "image_0", text="Spleen").json()["label_names"]["Spleen"]
    assert trained.infer("clicks", "image_0", **asked).json()["label_names"] == {"Spleen": number}
