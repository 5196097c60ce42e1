"""Every inference route of a real server."""

from __future__ import annotations

import io
import json
from concurrent.futures import ThreadPoolExecutor

import nibabel as nib
import numpy as np
import psutil
import pytest
import requests
from PIL import Image
from requests_toolbelt.multipart import decoder

from medclipsam_monai import TextSegmenter


@pytest.fixture(scope="module")
def server(fresh_server):
    return fresh_server


def test_info_shows_options_that_viewers_can_draw(server):
    info = server.info()
    assert {"text", "clicks"} <= info["models"].keys() and "weak" in info["trainers"]
    assert info["models"]["text"]["config"]["text"] == "lungs"
    for task in info["models"].values():
        for value in task["config"].values():
            assert isinstance(value, str | bool | int | float) or all(isinstance(choice, str) for choice in value)


def test_text_gives_the_mask_of_the_command_line_on_the_pictures_grid(server):
    image = server.studies / "image_0.png"
    expected = TextSegmenter.from_preset("demo", "cpu")(image, ["lungs", "heart"]).label_map.numpy()
    mask = server.mask("text", "image_0", text="lungs; heart")
    assert mask.dtype == np.uint8 and set(np.unique(expected)) == {0, 1, 2}
    np.testing.assert_array_equal(mask, expected)


def test_all_outputs_hold_the_same_answer(server):
    said = server.infer("text", "image_0", text="heart").json()
    assert said["label_names"] == {"heart": 2} and server.info()["labels"] == ["lungs", "heart"]
    answer = server.infer("text", "image_0", output="all", text="heart")
    parts = {
        part.headers[b"Content-Disposition"]: part for part in decoder.MultipartDecoder.from_response(answer).parts
    }
    (params,) = (part for name, part in parts.items() if b'name="params"' in name)
    (file,) = (part for name, part in parts.items() if b'name="image"' in name)
    assert json.loads(params.text)["classes"] == said["classes"]
    with Image.open(io.BytesIO(file.content)) as mask:
        assert int((np.asarray(mask) == 2).sum()) == said["classes"][0]["pixels"] > 0


def test_options_change_the_answer(server):
    everything = server.mask("text", "image_0", text="lungs", threshold="0.01")
    half = server.mask("text", "image_0", text="lungs", threshold=0.5)
    one = server.mask("text", "image_0", text="lungs", threshold=0.5, largest_component="true")
    assert (everything > 0).sum() > (half > 0).sum() >= (one > 0).sum() > 0
    assert not np.array_equal(half, server.mask("text", "image_0", text="lungs", method="gradcam"))


def test_a_volume_keeps_its_shape_and_affine(server, tmp_path):
    with Image.open(server.studies / "image_0.png") as picture:
        content = np.stack([np.roll(np.asarray(picture), shift, axis=0) for shift in range(3)], axis=-1)
    affine = np.array([[0, -2.0, 0, 5], [1.5, 0, 0, -7], [0, 0, 3, 11], [0, 0, 0, 1]])
    path = tmp_path / "volume.nii.gz"
    nib.save(nib.Nifti1Image(content, affine), path)
    answer = server.infer(
        "text", "", output="image", files={"file": (path.name, path.read_bytes())}, text="lungs", window="full"
    )
    assert answer.status_code == 200, answer.text
    (tmp_path / "answer.nii.gz").write_bytes(answer.content)
    mask = nib.load(tmp_path / "answer.nii.gz")
    assert mask.shape == content.shape and np.allclose(mask.affine, affine)


def test_clicks_and_text_correct_the_same_picture(server):
    lungs = server.mask("text", "image_1", text="lungs", largest_component=True)
    row, column = np.argwhere(lungs)[len(np.argwhere(lungs)) // 2]
    clicked = server.mask("clicks", "image_1", foreground=[[int(column), int(row)]])
    assert clicked[row, column] == 1
    boxed = server.infer("clicks", "image_1", roi=[10, 10, 50, 50])
    assert boxed.json()["label_names"] == {"object": 1}
    without = server.mask("clicks", "image_1", text="lungs", background=[[0, 0]])
    assert without[0, 0] == 0 and without.any()


@pytest.mark.parametrize(
    ("model", "image", "params", "status", "words"),
    [
        ("text", "image_0", {"text": ""}, 422, "there is no text"),
        ("text", "image_0", {"text": " ; "}, 422, "there is no text"),
        ("text", "image_0", {"text": "=lungs"}, 422, "a class needs a name"),
        ("text", "image_0", {"text": 7}, 422, "a text must be words"),
        ("text", "image_0", {"threshold": "half"}, 422, "threshold must be a number"),
        ("text", "image_0", {"preset": "none"}, 422, "preset must be one of demo"),
        ("text", "image_0", {"method": "none"}, 422, "method must be one of preset"),
        ("text", "image_0", {"window": "none"}, 422, "unknown window"),
        ("text", "image_0", {"largest_component": "perhaps"}, 422, "must be true or false"),
        ("text", "image_0", {"preset": "biomedclip_sam_b"}, 422, "medclipsam weights download"),
        ("text", "nobody", {}, 404, "there is no image 'nobody' among the 6"),
        ("text", "/etc/passwd", {}, 404, "name one of the datastore, or upload it"),
        ("nothing", "image_0", {}, 404, "there is no model 'nothing'; expected one of"),
        ("weak", "image_0", {}, 409, "train first"),
        ("clicks", "image_0", {}, 422, "there is no click"),
        ("clicks", "image_0", {"foreground": [[64, 1]]}, 422, "lies outside the image"),
        ("clicks", "image_0", {"foreground": [["a", 1]]}, 422, "must hold 2 or 3 numbers"),
        ("clicks", "image_0", {"roi": [5, 5, 5, 9]}, 422, "a box with an area"),
        ("clicks", "image_0", {"roi": [5, 5, 9, 9], "text": "lungs; heart"}, 422, "one class at a time"),
    ],
)
def test_bad_requests_get_one_clear_line(server, model, image, params, status, words):
    answer = server.infer(model, image, **params)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["detail"] and "\n" not in answer.json()["detail"]


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("{text: lungs}", "must hold JSON"),
        ("lungs", "must hold JSON"),
        ('["lungs"]', "got a list"),
        ("7", "got a int"),
        ('{"threshold": NaN}', "threshold must be a number"),
        ('{"text": ["lungs", 7]}', "must be words"),
        ('{"text": {"lungs": {"sentence": "x"}}}', "lungs"),
    ],
)
def test_a_form_that_is_no_options_gets_one_clear_line(server, form, words):
    where = {"image": "image_0", "output": "json"}
    answer = requests.post(f"{server.url}/infer/text", params=where, data={"params": form})
    assert answer.status_code == 422, answer.text
    assert words in answer.json()["detail"] and "\n" not in answer.json()["detail"]


def test_a_broken_upload_is_refused_without_the_servers_paths(server):
    answer = server.infer("text", "", files={"file": ("image.png", b"not a picture")}, text="lungs")
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("the uploaded image: is not a picture")


def test_fifty_requests_at_once_are_all_answered_and_take_no_memory_for_good(server):
    process = psutil.Process(server.process.pid)
    texts = ["lungs", "heart", "lungs; heart"]

    def ask(number: int) -> dict[str, int]:
        answer = server.infer("text", f"image_{number % 6}", text=texts[number % 3])
        assert answer.status_code == 200, answer.text
        return {entry["name"]: entry["pixels"] for entry in answer.json()["classes"]}

    with ThreadPoolExecutor(50) as pool:
        first = list(pool.map(ask, range(50)))
        before = process.memory_info().rss
        second = list(pool.map(ask, range(50)))
    assert first == second
    assert process.memory_info().rss < before + 64 * 2**20


def test_a_request_for_an_uploaded_image_leaves_no_file(server, tmp_path):
    content = (server.studies / "image_2.png").read_bytes()
    answer = server.infer("text", "", files={"file": ("image.png", content)}, text="lungs")
    assert answer.json()["classes"] == server.infer("text", "image_2", text="lungs").json()["classes"]
    assert requests.get(f"{server.url}/datastore/").json()["total"] == 6


@pytest.mark.parametrize(
    ("options", "words"),
    [({"image": "image_1"}, "image is 'image_0', as the address says, and params say 'image_1'"),
     ({"model": "clicks"}, "model is 'text', as the address says, and params say 'clicks'")],
)  # fmt: skip
def test_params_never_name_another_image_or_model_than_the_address(server, options, words):
    def ask(**params: str) -> requests.Response:
        address = f"{server.url}/infer/text?image=image_0&output=json"
        return requests.post(address, data={"params": json.dumps({"text": "lungs", **params})})

    answer = ask(**options)
    assert answer.status_code == 422 and answer.json()["detail"] == words
    same = ask(image="image_0", model="text")
    assert same.json()["label_names"] == {"lungs": 1}
