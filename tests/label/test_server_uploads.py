"""A real server opens what its clients sent and what lies in its datastore, and no other file of the machine."""

from __future__ import annotations

import io
import json
import os
import tempfile
from pathlib import Path

import pytest
import requests
from PIL import Image

HEADER = b"NRRD0004\ntype: uchar\ndimension: 2\nsizes: 64 64\nencoding: raw\ndata file: %s\n\n"
META = b"ObjectType = Image\nNDims = 2\nDimSize = 64 64\nElementType = MET_UCHAR\nElementDataFile = %s\n"


@pytest.fixture
def others_file(server):
    """A picture that somebody else has put into the system's temporary folder."""
    with tempfile.NamedTemporaryFile(suffix=".png", prefix="others-") as file:
        file.write((server.studies / "image_0.png").read_bytes())
        file.flush()
        yield Path(file.name)


def post(server, params: dict[str, str], form: dict, files=None) -> requests.Response:
    return requests.post(f"{server.url}/infer/text", params=params, data={"params": json.dumps(form)}, files=files)


@pytest.mark.parametrize("output", ["json", "image"])
@pytest.mark.parametrize("way", ["query", "form"])
def test_a_file_of_somebody_else_is_no_image(server, others_file, output, way):
    for path in (others_file, server.studies / "image_0.png", "/etc/passwd", others_file.parent, server.app):
        if way == "query":
            answer = server.infer("text", str(path), output=output)
        else:
            answer = post(server, {"output": output}, {"image": str(path)})
        assert answer.status_code == 404 and "name one of the datastore, or upload it" in answer.json()["detail"]


@pytest.mark.parametrize(
    "image", [5, ["image_0"], {"image": 1}, "../image_0", "x" * 5000, "a\0b", "image_0\n", "file:///etc/passwd"]
)
def test_names_that_are_none_get_one_line(server, image):
    answer = post(server, {"output": "json"}, {"image": image})
    assert answer.status_code == 404, answer.text
    assert len(answer.text) < 300 and "\n" not in answer.json()["detail"]


def test_a_link_in_the_datastore_that_points_out_is_not_served(server, others_file):
    link = server.studies / "linked.png"
    link.symlink_to(others_file)
    try:
        for answer in (
            server.infer("text", "linked"),
            requests.get(f"{server.url}/datastore/image", params={"image": "linked"}),
            requests.delete(f"{server.url}/datastore/", params={"id": "linked"}),
            requests.delete(f"{server.url}/datastore/image", params={"id": "linked"}),
            server.save_label("linked", (server.studies / "image_0.png").read_bytes()),
        ):
            assert 400 <= answer.status_code < 500 and len(answer.content) < 300, answer.text
        assert others_file.exists()
    finally:
        link.unlink()


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.nrrd", HEADER), ("a.nhdr", HEADER), ("a.mha", META), ("a.mhd", META), ("a.png", HEADER)],
)
def test_a_header_whose_pixels_lie_elsewhere_is_never_followed(server, others_file, name, content):
    raw = others_file.with_suffix(".raw")
    raw.write_bytes(bytes(range(256)) * 16)
    try:
        for target in (str(raw), os.path.relpath(raw, server.studies), "/etc/passwd"):
            header = content % target.encode()
            answers = [
                server.infer("text", "", output="image", files={"file": (name, header)}),
                server.add_image("detached", header, name),
                server.save_label("image_0", header, name),
            ]
            for answer in answers:
                assert answer.status_code == 422, answer.text
                assert "its pixels lie in another file" in answer.json()["detail"] and str(raw) not in answer.text
    finally:
        raw.unlink()


@pytest.mark.parametrize(
    "name", ["../../up.png", "/etc/up.png", "a\\..\\up.png", "x" * 3000 + ".png", "a." + "y" * 3000 + ".png", "肺.png"]
)
def test_a_clients_name_for_its_file_does_not_matter(server, name):
    content = (server.studies / "image_2.png").read_bytes()
    answer = post(server, {"output": "json"}, {"text": "lungs"}, {"file": (name, content)})
    assert answer.status_code == 200, answer.text
    expected = server.infer("text", "image_2", text="lungs").json()["classes"]
    assert answer.json()["classes"] == expected


@pytest.mark.parametrize("image", ["../escaped", "/escaped", "a/b", "x" * 300, "肺" * 100])
def test_an_image_cannot_be_added_under_a_name_that_is_no_files(server, image):
    answer = server.add_image(image, (server.studies / "image_2.png").read_bytes())
    assert answer.status_code == 422 and "an image's id must be letters" in answer.json()["detail"]
    assert requests.get(f"{server.url}/datastore/").json()["total"] == 6


def test_a_session_answers_like_its_image_and_only_by_its_name(server):
    content = (server.studies / "image_3.png").read_bytes()
    files = {"files": ("../../../image.png", content)}
    made = requests.put(f"{server.url}/session/", files=files).json()
    name, path = made["session_id"], made["session_info"]["image"]
    assert Path(path).name == "image.png" and Path(path).is_relative_to(server.app / "sessions" / name)
    answer = post(server, {"session_id": name, "output": "json"}, {"text": "lungs"})
    assert answer.json()["classes"] == server.infer("text", "image_3", text="lungs").json()["classes"]
    assert server.infer("text", path).status_code == 404
    forged = {"session": {"name": "../x"}, "image": path}
    assert post(server, {"output": "json"}, forged).status_code == 404
    assert requests.get(f"{server.url}/session/..%2Fx").status_code == 404
    assert requests.delete(f"{server.url}/session/{name}").status_code == 200
    assert not Path(path).exists()


def test_an_archive_of_a_session_that_is_none_is_refused(server):
    files = {"files": ("a.zip", b"no archive")}
    answer = requests.put(f"{server.url}/session/", params={"uncompress": "true"}, files=files)
    assert answer.status_code == 422 and "no whole zip or tar archive" in answer.json()["detail"]


def test_there_are_no_whole_slides(server, others_file):
    answer = requests.post(f"{server.url}/infer/wsi_v2/text", params={"image": str(others_file)}, data={"wsi": "{}"})
    assert answer.status_code == 422 and "whole slides" in answer.text


def test_nothing_of_a_request_lies_in_the_systems_temporary_folder_for_others(server):
    before = set(os.listdir(tempfile.gettempdir()))
    server.infer("text", "", output="image", files={"file": ("a.png", b"no picture")})
    assert server.mask("text", "image_0", text="lungs").any()
    assert {name for name in set(os.listdir(tempfile.gettempdir())) - before if "label_" in name} == set()
    (folder,) = [
        path for path in Path(tempfile.gettempdir()).glob("medclipsam-label-*") if (path / "scratch").is_dir()
    ][-1:]
    assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ('{"threshold": 1e999}', "threshold must be a number from 0 to 1, got inf"),
        ('{"threshold": 1' + "0" * 400 + "}", "threshold must be a number from 0 to 1, got 1000"),
        ('{"threshold": true}', "threshold must be a number from 0 to 1, got True"),
        ('{"threshold": {}}', "threshold must be a number from 0 to 1, got {}"),
        ('{"threshold": "-0.1"}', "threshold must be a number from 0 to 1, got -0.1"),
        ('{"text": ' + "[" * 100_000 + "]" * 100_000 + "}", "must hold JSON"),
        ('{"largest_component": 2}', "largest_component must be true or false, got 2"),
        ('{"slice_axis": 3}', "slice_axis must be one of"),
    ],
    ids=range(8),
)
def test_options_of_a_wrong_type_or_out_of_range_get_one_line(server, form, words):
    where = {"image": "image_0", "output": "json"}
    answer = requests.post(f"{server.url}/infer/text", params=where, data={"params": form})
    assert answer.status_code == 422, answer.text
    assert words in answer.json()["detail"] and "\n" not in answer.json()["detail"] and len(answer.text) < 400


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"foreground": [[1, 1]] * 1001}, "foreground must be a list, of at most 1,000"),
        ({"foreground": [[10**400, 1]]}, "foreground must hold 2 or 3 numbers"),
        ({"foreground": [[True, 1]]}, "foreground must hold 2 or 3 numbers"),
        ({"roi": [0, 0, float("inf"), 9]}, "roi must hold 4 or 6 numbers"),
    ],
)
def test_clicks_that_cannot_be_get_one_line(server, params, words):
    answer = server.infer("clicks", "image_0", **params)
    assert answer.status_code == 422 and words in answer.json()["detail"] and len(answer.text) < 400


def test_an_image_that_is_too_large_gets_one_line(server, tmp_path):
    with io.BytesIO() as file:
        Image.new("1", (30_000, 30_000)).save(file, format="PNG")
        content = file.getvalue()
    answer = server.infer("text", "", files={"file": ("large.png", content)})
    assert answer.status_code == 422 and "\n" not in answer.json()["detail"], answer.text
