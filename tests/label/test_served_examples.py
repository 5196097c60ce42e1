"""Submitted labels as examples: which of them count, what they find, and when they are found anew."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from label_server import write_phantoms
from PIL import Image

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.label.examples.joined import joined
from medclipsam_monai.label.models import ServedModels
from medclipsam_monai.label.options import text_config
from medclipsam_monai.label.served_classes import ServedClasses
from medclipsam_monai.label.server.datastore import CheckedDatastore
from medclipsam_monai.label.tasks.click_task import ClickSegmentation
from medclipsam_monai.label.tasks.submitted import submitted_labels
from medclipsam_monai.label.tasks.text_task import TextSegmentation
from medclipsam_monai.phantoms.seeds import VOLUMES
from medclipsam_monai.phantoms.volumes import make_phantom_volume
from medclipsam_monai.prompts import parse_targets
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter

BADLY = "organ=heart"
"""A class whose labels show lungs, and whose text says another thing."""


class Annotated:
    """A folder of phantoms, some of which are labelled, and the task that segments the others."""

    def __init__(self, folder, count=6, text=BADLY):
        self.masks = write_phantoms(folder / "images", count)
        classes = ServedClasses(parse_targets([text]))
        self.models = ServedModels(folder / "model", "cpu", classes=classes)
        self.store = CheckedDatastore(str(folder / "images"), auto_reload=False, classes=classes)
        self.models.examples.labelled = lambda: submitted_labels(self.store)
        self.task = TextSegmentation(self.models, text, "demo")
        self.folder, self.shown = folder, []

    def label(self, image, mask=None, when=None, name="organ"):
        """Submit a label of an image, at a second of the epoch."""
        Image.fromarray(self.masks[image] if mask is None else mask).save(self.folder / "sent.png")
        info = {"label_info": [{"name": name, "idx": 1}]}
        self.store.save_label(image, str(self.folder / "sent.png"), "final", info)
        if when is not None:
            self.store.update_label_info(image, "final", {"ts": when})

    def ask(self, image, **options):
        """The mask (H, W) bool of an image, and how many examples showed it."""
        file, said = self.task({"image": self.store.get_image_uri(image), "examples": True, **options})
        with Image.open(file) as answer:
            return np.asarray(answer) == 1, said["classes"][0]["examples"]

    def dice(self, image, **options):
        mask, _ = self.ask(image, **options)
        truth = self.masks[image] > 0
        return 2 * (mask & truth).sum() / (mask.sum() + truth.sum())

    def watch(self, monkeypatch):
        """From now on the examples of each set that the networks are shown: the images they are of."""
        plain = TextSegmenter.with_examples

        def with_examples(segmenter, examples):
            self.shown.append([self.name(picture) for picture in examples.pictures])
            return plain(segmenter, examples)

        monkeypatch.setattr(TextSegmenter, "with_examples", with_examples)

    def name(self, picture):
        segmenter = self.models.text_segmenter("demo")
        for image in self.masks:
            if torch.equal(segmenter.open(self.store.get_image_uri(image)).display, picture):
                return image
        raise AssertionError("an example is no image of the datastore")


@pytest.fixture
def annotated(tmp_path):
    return Annotated(tmp_path)


def test_labels_find_what_the_text_names_badly(annotated):
    for image in ("image_0", "image_1", "image_2"):
        annotated.label(image)
    by_text = [annotated.dice(image, examples=False) for image in ("image_3", "image_4", "image_5")]
    by_labels = [annotated.dice(image) for image in ("image_3", "image_4", "image_5")]
    assert max(by_text) < 0.1 and min(by_labels) > 0.9
    assert annotated.ask("image_3")[1] == 3 and annotated.ask("image_3", examples=False)[1] == 0


def test_the_image_itself_and_labels_of_nothing_or_another_class_are_no_examples(annotated, monkeypatch):
    annotated.watch(monkeypatch)
    assert annotated.ask("image_0")[1] == 0  # no label yet: the text alone
    annotated.label("image_0")
    annotated.label("image_1", np.zeros((64, 64), np.uint8))
    annotated.label("image_2", name="ribs")
    annotated.label("image_3")
    assert [annotated.ask(image)[1] for image in ("image_4", "image_0")] == [2, 1]
    assert [sorted(names) for names in annotated.shown] == [["image_0", "image_3"], ["image_3"]]


def test_examples_are_encoded_anew_where_labels_changed_and_only_there(annotated, monkeypatch):
    annotated.watch(monkeypatch)
    annotated.label("image_0")
    before, _ = annotated.ask("image_4")
    annotated.ask("image_5", threshold=0.9)
    assert annotated.shown == [["image_0"]]
    annotated.label("image_0", 1 - annotated.masks["image_0"])  # now the background is the organ
    after, _ = annotated.ask("image_4")
    assert len(annotated.shown) == 2 and not np.array_equal(before, after)
    assert (after & (annotated.masks["image_4"] > 0)).sum() < (before & (annotated.masks["image_4"] > 0)).sum()
    assert len(annotated.models.examples._seen) == 1  # what the label held before is not kept
    annotated.store.remove_label("image_0", "final")
    assert annotated.ask("image_4")[1] == 0 and len(annotated.shown) == 2
    assert not annotated.models.examples._seen


def test_the_most_recent_labels_count_and_16_at_most(tmp_path, monkeypatch):
    annotated = Annotated(tmp_path, 19)
    annotated.watch(monkeypatch)
    for number, image in enumerate(reversed(annotated.masks)):
        if number < 18:
            annotated.label(image, when=1000 + number // 2)  # two of each second: the first by name goes first
    assert annotated.ask("image_0")[1] == 16
    recent = [name for pair in range(1, 17, 2) for name in sorted((f"image_{pair}", f"image_{pair + 1}"))]
    assert annotated.shown == [recent]


def test_several_classes_are_each_shown_by_their_own(annotated):
    annotated.label("image_0", name="lungs")
    classes = ["lungs", "heart", "organ=heart"]
    request = {"image": annotated.store.get_image_uri("image_4"), "text": "; ".join(classes), "examples": True}
    file, said = annotated.task(request)
    assert [one["examples"] for one in said["classes"]] == [1, 0, 0]
    assert [one["name"] for one in said["classes"]] == ["lungs", "heart", "organ"]
    with Image.open(file) as answer:
        labels = np.asarray(answer)
    numbers = said["label_names"]
    assert [(labels == numbers[one["name"]]).sum() for one in said["classes"]] == [
        one["pixels"] for one in said["classes"]
    ]
    truth = annotated.masks["image_4"] > 0
    assert 2 * ((labels == numbers["lungs"]) & truth).sum() > 0.7 * ((labels == numbers["lungs"]).sum() + truth.sum())


def test_classes_asked_one_by_one_are_joined_as_those_asked_together(annotated):
    segmenter = annotated.models.text_segmenter("demo")
    picture = segmenter.open(annotated.store.get_image_uri("image_0"))
    volume = segmenter.open(torch.stack([picture.display[:1], picture.display[:1].flip(-1)], dim=-1), spacing=(1, 1, 1))
    for opened, keep in ((picture, ()), (volume, ("probability",))):
        together = opened(["lungs", "heart"]).found
        alone = joined(opened([name], keep=keep).found for name in ("lungs", "heart"))
        assert alone.names == together.names and len(together.label_map.unique()) == 3
        assert torch.equal(alone.label_map, together.label_map) and torch.equal(alone.mask, together.mask)
        assert alone.quality == together.quality


def test_a_labelled_volume_gives_slices_that_show_the_class(tmp_path, monkeypatch):
    annotated = Annotated(tmp_path, 1, "lungs")
    (seed,) = VOLUMES.seeds(1)
    drawn = make_phantom_volume("chest_abdomen_ct", seed, (64, 64, 24))
    for name, image in (("a", drawn.image), ("b", drawn.image[::-1])):
        nib.save(
            nib.Nifti1Image(np.ascontiguousarray(image), drawn.affine),
            annotated.store._datastore_path + f"/{name}.nii.gz",
        )
    annotated.store.refresh()
    nib.save(nib.Nifti1Image(drawn.masks["lungs"].astype(np.uint8), drawn.affine), tmp_path / "sent.nii.gz")
    annotated.store.save_label("a", str(tmp_path / "sent.nii.gz"), "final", {})
    found = []
    plain = TextSegmenter.with_examples
    monkeypatch.setattr(TextSegmenter, "with_examples", lambda one, shown: found.append(shown) or plain(one, shown))
    _, said = annotated.task({"image": annotated.store.get_image_uri("b"), "examples": True})
    showing = int(drawn.masks["lungs"].any(axis=(0, 1)).sum())
    (shown,) = found
    assert said["classes"][0]["examples"] == len(shown) == min(16, showing)
    assert all(picture.shape == (3, 64, 64) for picture in shown.pictures) and all(mask.any() for mask in shown.masks)


def test_a_folder_of_the_server_comes_first_and_labels_fill_the_room(annotated, monkeypatch):
    annotated.watch(monkeypatch)
    folder = annotated.folder / "shown"
    folder.mkdir()
    for image in ("image_1", "image_2"):
        Image.open(annotated.store.get_image_uri(image)).save(folder / f"{image}.png")
        Image.fromarray(255 * annotated.masks[image]).save(folder / f"{image}_mask.png")
    examples = annotated.models.examples
    examples.use(str(folder))
    assert examples.by_default and TextSegmentation(annotated.models, BADLY, "demo").config()["examples"] is True
    annotated.label("image_0")
    assert annotated.ask("image_4")[1] == 3
    examples.use(f"organ={folder}")
    assert annotated.ask("image_4")[1] == 3 and annotated.shown == [["image_1", "image_2", "image_0"]]
    examples.use("labels")
    assert examples.by_default and annotated.ask("image_4")[1] == 1
    with pytest.raises(InputError, match="is no folder of examples"):
        examples.use("organ=nowhere")
    annotated.models.classes.numbers(parse_targets(["heart"]))
    examples.use(str(folder))  # the server was started with one class
    two = ServedModels(annotated.folder / "other", "cpu", classes=ServedClasses(parse_targets(["lungs", "heart"])))
    with pytest.raises(InputError, match=f"examples must name the class of a folder, NAME={folder}, with one of lungs"):
        two.examples.use(str(folder))


def test_clicks_correct_what_the_examples_show(annotated):
    for image in ("image_0", "image_1", "image_2"):
        annotated.label(image)
    clicks = ClickSegmentation(annotated.models, "demo")
    row, column = np.argwhere(annotated.masks["image_3"])[40]
    asked = {
        "image": annotated.store.get_image_uri("image_3"),
        "text": "organ",
        "foreground": [[int(column), int(row)]],
    }
    found = []
    for examples in (False, True):
        with Image.open(clicks({**asked, "examples": examples})[0]) as answer:
            mask = np.asarray(answer) > 0
        truth = annotated.masks["image_3"] > 0
        found.append(2 * (mask & truth).sum() / (mask.sum() + truth.sum()))
    assert found[0] != found[1] and found[1] > 0.8


def test_the_option_is_shown_where_images_are_segmented():
    assert text_config("lungs", ["demo"])["examples"] is False
