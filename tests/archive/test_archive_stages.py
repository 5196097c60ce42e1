"""The stages of an archive, one after the other in this process: the same files as `segment_files` writes."""

from __future__ import annotations

import json
import pickle

import pytest
import torch

from medclipsam_monai import TextSegmenter
from medclipsam_monai.archive.sources import list_images
from medclipsam_monai.archive.stages import Networks, Reading, Writing, works_of
from medclipsam_monai.archive.stores.folder import FolderStore
from medclipsam_monai.io.records import read_record
from medclipsam_monai.zero_shot.batch import segment_files
from medclipsam_monai.zero_shot.one_image.steps import ImageSteps
from medclipsam_monai.zero_shot.output_files import OutputFiles

FILES = OutputFiles(overlay=False)


@pytest.fixture(scope="module")
def tiny(tiny_preset) -> TextSegmenter:
    return TextSegmenter.from_preset(tiny_preset, "cpu")


def passed_on(works):
    """As Ray hands them from one process to the next."""
    return [pickle.loads(pickle.dumps(work)) for work in works]


def through(segmenter, pictures, folder, batch=1):
    store = FolderStore(folder)
    steps = (ImageSteps(segmenter.request(["lungs", "heart"], **FILES.values), FILES),)
    items = list_images(pictures).items
    works = passed_on(map(Reading(store, steps), works_of(items, [0] * len(items))))
    networks = Networks(segmenter, steps)
    found = [one for k in range(0, len(works), batch) for one in networks(works[k : k + batch])]
    return list(map(Writing(store, steps), passed_on(found)))


def masks(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix == ".png"}


def test_the_stages_write_what_segment_writes_and_find_it_again(tiny, pictures, tmp_path):
    summary = segment_files(tiny, [pictures], ["lungs", "heart"], tmp_path / "one", files=FILES)
    works = through(tiny, pictures, tmp_path / "two")
    assert masks(tmp_path / "two") == masks(tmp_path / "one") and len(masks(tmp_path / "one")) == 4
    failed = [work.error for work in works if work.error]
    assert failed == [line for _, line in summary.failed] and len(failed) == 1
    for work in works:
        if not work.error:
            theirs = read_record(tmp_path / "one" / f"{work.source.stem}.json")
            assert {**work.record, "seconds": 0} == {**theirs, "seconds": 0}
    again = through(tiny, pictures, tmp_path / "two")
    assert [work.skipped for work in again] == [not work.error for work in again]
    assert not list((tmp_path / "two").glob(".*"))


def test_pictures_of_one_size_go_through_the_networks_together(tiny, pictures, tmp_path, monkeypatch):
    together = []
    whole = TextSegmenter.answer_together

    def counting(self, images, request):
        together.append(len(images))
        return whole(self, images, request)

    monkeypatch.setattr(TextSegmenter, "answer_together", counting)
    through(tiny, pictures, tmp_path / "two", batch=5)
    segment_files(tiny, [pictures], ["lungs", "heart"], tmp_path / "one", files=FILES)
    sizes = [
        tuple(work.shown.display.shape)
        for work in map(Reading(FolderStore(tmp_path / "x"), steps(tiny)), some(pictures))
    ]
    assert together == [sizes.count(size) for size in dict.fromkeys(sizes) if sizes.count(size) > 1] and together
    assert masks(tmp_path / "two") == masks(tmp_path / "one")


def steps(segmenter):
    return (ImageSteps(segmenter.request("lungs", **FILES.values), FILES),)


def some(pictures):
    items = [item for item in list_images(pictures).items if item.source.stem != "broken"]
    return works_of(items, [0] * len(items))


def test_one_that_fails_does_not_fail_those_beside_it(tiny, pictures, tmp_path):
    asked = steps(tiny)
    works = list(map(Reading(FolderStore(tmp_path), asked), some(pictures)))
    same = [work for work in works if work.shown.display.shape == works[-1].shown.display.shape]
    spoilt = torch.zeros(same[0].shown.display.shape, device="meta")  # without pixels
    object.__setattr__(same[0].shown, "display", spoilt)
    done = Networks(tiny, asked)(same)
    assert len(done) > 1 and done[0].error and done[0].found is None
    assert all(work.found is not None and not work.error for work in done[1:])


def test_what_is_in_the_way_is_the_error_of_its_image(tiny, pictures, tmp_path):
    (tmp_path / "ct_chest_mask.png").write_bytes(b"mine")
    work = next(work for work in some(pictures) if work.source.stem == "ct_chest")
    assert "is in the way" in Reading(FolderStore(tmp_path), steps(tiny))(work).error
    assert (tmp_path / "ct_chest_mask.png").read_bytes() == b"mine"


@pytest.mark.parametrize(
    "change",
    [{"weights": None}, {"classes": [1]}, {"texts": 5}, {"seconds": "long"}, {"warnings": [3]},
     {"classes": [{"name": "lungs", "size": 1, "unit": "pixels", "presence": "high"}]},
     {"classes": [{"name": "lungs", "size": float("inf"), "unit": "pixels"}]}],
)  # fmt: skip
def test_a_record_that_somebody_edited_is_none_and_its_image_is_done_again(tiny, pictures, tmp_path, change):
    source = pictures / "ct_chest.png"
    (work,) = through(tiny, source, tmp_path)
    record = tmp_path / "ct_chest.json"
    record.write_text(json.dumps({**work.record, **change}))
    (again,) = through(tiny, source, tmp_path)
    assert not again.skipped and {**again.record, "seconds": 0} == {**work.record, "seconds": 0}
    (third,) = through(tiny, source, tmp_path)
    assert third.skipped and third.record == again.record


def test_a_record_of_what_is_likely_not_there_has_no_size_and_is_whole(tiny, pictures, tmp_path):
    source = pictures / "ct_chest.png"
    (work,) = through(tiny, source, tmp_path)
    classes = [
        {**one, "size": None, "size_reason": "likely not there", "quality": None} for one in work.record["classes"]
    ]
    (tmp_path / "ct_chest.json").write_text(json.dumps({**work.record, "classes": classes}))
    (again,) = through(tiny, source, tmp_path)
    assert again.skipped and [one["size"] for one in again.record["classes"]] == [None, None]


def test_outputs_of_another_request_stand_and_what_is_no_output_of_ours_does_not(tiny, pictures, tmp_path):
    through(tiny, pictures / "ct_chest.png", tmp_path)
    (tmp_path / "xray_normal_mask.png").write_bytes(b"mine")
    reading = Reading(FolderStore(tmp_path), steps(tiny))
    works = [reading(work) for work in some(pictures)]
    told = {work.source.stem: (bool(work.error), work.stands) for work in works}
    assert told == {
        "brain_tumour": (False, False),
        "ct_chest": (True, True),
        "xray_normal": (True, False),
        "xray_pacemaker": (False, False),
    }
