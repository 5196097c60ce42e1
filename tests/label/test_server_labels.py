"""Submitting labels and images to a real server: what is good is kept on its image's grid, the rest is refused."""

from __future__ import annotations

import io

import nibabel as nib
import numpy as np
import pytest
import requests
from fastapi import HTTPException
from label_server import as_png
from PIL import Image

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.label.server.datastore import CheckedDatastore, plain


def _mask(height: int = 64, width: int = 64) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    mask[5:20, 30:50] = 1
    return mask


def _saved(server, image: str) -> np.ndarray:
    with Image.open(server.studies / "labels" / "final" / f"{image}.png") as picture:
        assert picture.mode == "L"
        return np.asarray(picture)


def test_a_mask_of_0_and_255_is_kept_as_0_and_1(server):
    answer = server.save_label("image_3", as_png(255 * _mask()), label_info=[{"name": "lungs", "idx": 1}])
    assert answer.json() == {"image": "image_3", "label": "image_3"}
    np.testing.assert_array_equal(_saved(server, "image_3"), _mask())
    kept = requests.get(f"{server.url}/datastore/", params={"output": "all"}).json()["objects"]["image_3"]
    assert kept["labels"]["final"]["info"]["label_info"] == [{"name": "lungs", "idx": 1}]


def test_a_label_that_slicer_saves_as_nifti_lies_on_its_picture(server, tmp_path):
    path = tmp_path / "label.nii.gz"
    lps_pixels = nib.Nifti1Image(_mask().T[:, :, None], np.diag([-1.0, -1.0, 1.0, 1.0]))
    nib.save(lps_pixels, path)
    assert server.save_label("image_4", path.read_bytes(), path.name).status_code == 200
    np.testing.assert_array_equal(_saved(server, "image_4"), _mask())


def test_a_submitted_label_shows_the_next_image_what_to_look_for(server):
    content = as_png(_mask())
    assert server.save_label("image_3", content, label_info=[{"name": "gadget", "idx": 1}]).status_code == 200
    counts = [
        server.infer("text", image, text="gadget", examples=examples).json()["classes"][0]["examples"]
        for image, examples in (("image_5", "true"), ("image_3", "true"), ("image_5", "false"))
    ]
    assert counts == [1, 0, 0]
    assert "examples must be true or false" in server.infer("text", "image_5", examples="perhaps").json()["detail"]


@pytest.mark.parametrize(
    ("image", "content", "status", "words"),
    [
        ("image_5", as_png(_mask(40, 64)), 422, "is a mask of 40 x 64 for an image of 64 x 64"),
        ("image_5", b"not a picture", 422, "the label of image_5 was not taken"),
        ("image_5", as_png(_mask())[:-30], 422, "may be damaged or cut short"),
        ("image_5", as_png(np.dstack([_mask() * 9, _mask(), _mask()])), 422, "is a colour picture"),
        ("nobody", as_png(_mask()), 404, "there is no image 'nobody'"),
    ],
)
def test_bad_labels_are_refused_and_change_nothing(server, image, content, status, words):
    before = requests.get(f"{server.url}/datastore/", params={"output": "all"}).json()
    answer = server.save_label(image, content)
    assert answer.status_code == status and words in answer.json()["detail"]
    assert requests.get(f"{server.url}/datastore/", params={"output": "all"}).json() == before


@pytest.mark.parametrize("form", ["{", "[1]", "null"])
@pytest.mark.parametrize("route", ["label", "image"])
def test_information_that_is_no_object_is_refused_and_nothing_kept(server, route, form):
    before = requests.get(f"{server.url}/datastore/", params={"output": "all"}).json()
    answer = requests.put(
        f"{server.url}/datastore/{route}",
        params={"image": "image_5"},
        data={"params": form},
        files={"label" if route == "label" else "file": ("image_5.png", as_png(_mask()))},
    )
    assert answer.status_code == 422 and "a form field must hold" in answer.json()["detail"]
    assert requests.get(f"{server.url}/datastore/", params={"output": "all"}).json() == before


def test_a_tag_cannot_leave_the_folder(server):
    answer = requests.put(
        f"{server.url}/datastore/label",
        params={"image": "image_5", "tag": "../../elsewhere"},
        files={"label": ("label.png", as_png(_mask()))},
    )
    assert answer.status_code == 422 and "a label's tag must be letters" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("image", "content", "words"),
    [
        ("broken", b"not a picture", "image broken was not taken: is not a picture"),
        ("cut", as_png(_mask())[:-30], "image cut was not taken"),
        ("../outside", as_png(_mask()), "an image's id must be letters"),
    ],
)
def test_bad_images_are_refused(server, image, content, words):
    answer = server.add_image(image, content)
    assert answer.status_code == 422 and words in answer.json()["detail"]
    assert requests.get(f"{server.url}/datastore/").json()["total"] == 6


def test_an_image_is_added_labelled_and_not_overwritten_then(server):
    content = (server.studies / "image_0.png").read_bytes()
    assert server.add_image("late", content).json() == {"image": "late"}
    assert server.mask("text", "late", text="lungs").any()
    assert server.save_label("late", as_png(_mask())).status_code == 200
    assert server.add_image("late", content).status_code == 409
    for place, what in (("label", {"id": "late", "tag": "final"}), ("image", {"id": "late"})):
        assert requests.delete(f"{server.url}/datastore/{place}", params=what).status_code == 200
    gone = requests.delete(f"{server.url}/datastore/image", params={"id": "late"})
    assert gone.status_code == 404 and requests.get(f"{server.url}/datastore/").json()["total"] == 6


def test_the_index_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    (tmp_path / "image.png").write_bytes(as_png(_mask()))
    store = CheckedDatastore(str(tmp_path), auto_reload=False)
    index = tmp_path / "datastore_v2.json"
    before = index.read_bytes()

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(InputError, match="No space left"):
        store.update_image_info("image", {"score": 1.0})
    assert index.read_bytes() == before


def test_scores_of_one_process_do_not_lose_labels_of_another(tmp_path):
    (tmp_path / "image.png").write_bytes(as_png(_mask()))
    server_side, scoring_side = (CheckedDatastore(str(tmp_path), auto_reload=False) for _ in range(2))
    (tmp_path / "label.png").write_bytes(as_png(_mask()))
    server_side.save_label("image", str(tmp_path / "label.png"), "final", {"by": "anna"})
    scoring_side.update_image_info("image", {"score": 1.0})
    fresh = CheckedDatastore(str(tmp_path), auto_reload=False)
    assert fresh.get_label_info("image", "final")["by"] == "anna"
    assert fresh.get_image_info("image")["score"] == 1.0


@pytest.mark.parametrize(
    "name",
    [
        "2: CT Body",
        "CT (1)",
        "Übersicht 肺 nº 3",
        "e\u0301tude",
        "a.png",
        "x=1&y=2 #3 100% 'q' \"p\" [z]*?",
        "-rf",
        "~",
    ],
)
def test_an_image_may_be_called_what_a_viewer_calls_it(server, name):
    """From the upload to the label, and also after the folder was read anew."""
    content = (server.studies / "image_0.png").read_bytes()
    try:
        assert server.add_image(name, content).json() == {"image": name}
        np.testing.assert_array_equal(
            server.mask("text", name, text="lungs"), server.mask("text", "image_0", text="lungs")
        )
        assert server.save_label(name, as_png(_mask()), label_info=[{"name": "lungs", "idx": 1}]).status_code == 200
        kept = requests.get(f"{server.url}/datastore/label", params={"label": name, "tag": "final"})
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(kept.content))), _mask())
        fresh = CheckedDatastore(str(server.studies), auto_reload=False)
        assert name in fresh.list_images() and fresh.get_label_info(name, "final")["label_info"][0]["name"] == "lungs"
    finally:
        requests.delete(f"{server.url}/datastore/image", params={"id": name})
    assert name not in CheckedDatastore(str(server.studies), auto_reload=False).list_images()


@pytest.mark.parametrize(
    "name", ["../outside", "a/b", "..", ".hidden", "a\\b", "a\nb", "a\0b", " a", "a ", "x" * 201, "\u200b", "\ud800"]
)
def test_a_name_that_is_no_files_name_is_refused(name):
    with pytest.raises(InputError, match="an image's id must be letters"):
        plain(name, "an image's id")


def test_a_file_of_a_kind_that_is_not_served_is_refused_and_not_lost_later(server):
    answer = server.add_image("odd", as_png(_mask()), "odd.PNGX")
    assert answer.status_code == 422 and "the name of an image must end in one of .nii.gz" in answer.json()["detail"]
    assert server.add_image("capital", as_png(_mask()), "capital.PNG").status_code == 200
    assert (server.studies / "capital.png").is_file()
    requests.delete(f"{server.url}/datastore/image", params={"id": "capital"})


def test_names_that_are_none_are_not_put_on_a_label(tmp_path):
    (tmp_path / "image.png").write_bytes(as_png(np.zeros((64, 64), np.uint8)))
    store = CheckedDatastore(str(tmp_path), auto_reload=False)
    (tmp_path / "labels" / "final" / "image.png").write_bytes(as_png(_mask()))
    store.refresh()
    for wrong in (5, "heart", [{"name": 3}]):
        with pytest.raises(HTTPException) as refused:
            store.update_label_info("image", "final", {"label_info": wrong})
        assert refused.value.status_code == 422 and "label_info must be a list such as" in refused.value.detail
    with pytest.raises(HTTPException) as refused:  # examples are sorted by it, in every request
        store.update_label_info("image", "final", {"ts": "today"})
    assert refused.value.status_code == 422 and "ts must be a whole number" in refused.value.detail
    said = [{"name": "heart", "idx": 1}]
    store.update_label_info("image", "final", {"label_info": said})
    assert store.get_label_info("image", "final")["label_info"] == said
