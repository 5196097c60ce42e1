"""CLIP's embeddings of a datastore's images."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from medclipsam_monai.label.active.embeddings import EmbeddingFile, ImageEmbeddings, file_key, image_embedding
from medclipsam_monai.label.models import ServedModels
from medclipsam_monai.phantoms.samples import sample_pictures


class Folder:
    """What `ImageEmbeddings` asks of a datastore, for a folder of pictures."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get_image_uri(self, image: str) -> str:
        return str(self.folder / f"{image}.png")


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> ServedModels:
    return ServedModels(tmp_path_factory.mktemp("models"), "cpu")


@pytest.fixture
def folder(tmp_path, models) -> Folder:
    (models.folder / "image_embeddings.safetensors").unlink(missing_ok=True)
    for name in ("xray_normal", "xray_pacemaker", "breast_cyst"):
        (tmp_path / f"{name}.png").write_bytes(sample_pictures()[name].read_bytes())
    return Folder(tmp_path)


@pytest.fixture
def encoded(models, monkeypatch) -> list[int]:
    """Grows by one with every picture that goes through CLIP."""
    encoder, calls = models.text_segmenter("demo").network.encoder, []
    encode = encoder.tokens_of_input
    monkeypatch.setattr(encoder, "tokens_of_input", lambda x, block: calls.append(len(x)) or encode(x, block))
    return calls


def test_an_image_is_a_unit_vector_and_like_images_are_near(models):
    segmenter, pictures = models.text_segmenter("demo"), sample_pictures()
    names = ("xray_normal", "xray_pacemaker", "breast_cyst")
    first, second, other = (image_embedding(segmenter.open(pictures[name])) for name in names)
    assert first.norm() == pytest.approx(1.0, abs=1e-5)
    assert first @ second > first @ other


def test_an_embedding_is_what_the_clip_makes_of_the_picture(models):
    opened = models.text_segmenter("demo").open(sample_pictures()["xray_normal"])
    (expected,) = models.text_segmenter("demo").network.encoder.encode_image(opened.display.unsqueeze(0))
    torch.testing.assert_close(image_embedding(opened), expected.cpu(), atol=1e-5, rtol=1e-4)


def test_an_image_that_is_open_is_asked_and_the_others_do_not_push_it_out(models, folder, encoded):
    segmenter = models.text_segmenter("demo")
    opened = models.open(segmenter, folder.get_image_uri("xray_normal"))
    opened("lungs")
    passes, kept = len(encoded), models.opened.images.bytes
    found = ImageEmbeddings(models, "demo").of(folder, ["xray_normal", "breast_cyst"])
    assert len(encoded) == passes + 1
    assert models.opened.images.bytes == kept
    assert models.open(segmenter, folder.get_image_uri("xray_normal")) is opened
    torch.testing.assert_close(found["xray_normal"], image_embedding(opened), atol=1e-5, rtol=1e-4)


def test_images_are_encoded_once(models, folder, encoded):
    names = ["xray_normal", "breast_cyst"]
    found = ImageEmbeddings(models, "demo").of(folder, names)
    assert list(found) == names
    assert len(encoded) == 2
    again = ImageEmbeddings(models, "demo").of(folder, [*names, "xray_pacemaker"])
    assert len(encoded) == 3
    torch.testing.assert_close(again["breast_cyst"], found["breast_cyst"])


def test_a_changed_image_is_encoded_again(models, folder, encoded):
    embeddings = ImageEmbeddings(models, "demo")
    before = embeddings.of(folder, ["xray_normal"])["xray_normal"]
    Image.fromarray(np.tile(np.arange(64, dtype=np.uint8), (48, 1))).save(folder.get_image_uri("xray_normal"))
    after = embeddings.of(folder, ["xray_normal"])["xray_normal"]
    assert len(encoded) == 2
    assert before @ after < 0.99


def test_an_image_that_cannot_be_read_is_named_and_left_out(models, folder, caplog):
    Path(folder.get_image_uri("broken")).write_bytes(b"no picture")
    with caplog.at_level(logging.WARNING):
        found = ImageEmbeddings(models, "demo").of(folder, ["broken", "gone", "xray_normal"])
    assert list(found) == ["xray_normal"]
    assert "image broken cannot be embedded" in caplog.text
    assert "image gone cannot be embedded" in caplog.text


def test_a_damaged_file_is_made_anew(models, folder, encoded, caplog):
    embeddings = ImageEmbeddings(models, "demo")
    embeddings.of(folder, ["xray_normal"])
    kept = models.folder / "image_embeddings.safetensors"
    kept.write_bytes(kept.read_bytes()[:50])
    assert list(embeddings.of(folder, ["xray_normal"])) == ["xray_normal"]
    assert len(encoded) == 2
    assert "is damaged" in caplog.text
    assert len(EmbeddingFile(kept, models.text_segmenter("demo").weights["clip"]).read()) == 1


def test_two_processes_add_to_one_file(tmp_path):
    path = tmp_path / "vectors.safetensors"
    EmbeddingFile(path, "a clip").add({"one": torch.ones(3)})
    EmbeddingFile(path, "a clip").add({"two": torch.zeros(3)})
    assert set(EmbeddingFile(path, "a clip").read()) == {"one", "two"}


def test_vectors_of_another_clip_are_not_taken(tmp_path):
    path = tmp_path / "vectors.safetensors"
    EmbeddingFile(path, "a clip").add({"one": torch.ones(3)})
    assert EmbeddingFile(path, "another clip").read() == {}


def test_a_file_is_known_by_path_size_and_time_and_its_name_is_not_told(tmp_path):
    path = tmp_path / "patient.png"
    path.write_bytes(b"12")
    key = file_key(path)
    assert "patient" not in key
    path.write_bytes(b"123")
    longer = file_key(path)
    os.utime(path, (1, 1))
    assert len({key, longer, file_key(path)}) == 3
