"""A visit: one question after the other, corrections, other words, downloads, jobs in turns, and its end."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time

import pytest
import torch

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.phantoms.samples import sample_pictures
from medclipsam_monai.prompts import TextTarget
from medclipsam_monai.web.uploads.arrivals import Arrivals
from medclipsam_monai.web.visits.answer import Limits, told
from medclipsam_monai.web.visits.corrections import Mark, by_slice, checked_mark
from medclipsam_monai.web.visits.downloads import download, offered
from medclipsam_monai.web.visits.jobs import Cancelled, Job, Turns
from medclipsam_monai.web.visits.networks import Networks
from medclipsam_monai.web.visits.question import Question, Tuning
from medclipsam_monai.web.visits.registry import Visits
from medclipsam_monai.web.visits.reworded import other_words


@pytest.fixture(scope="module")
def visits(tiny_preset):
    made = Visits(Networks(str(tiny_preset), "cpu"), Limits(upload=10**7))
    yield made
    made.close()


@pytest.fixture
def question(tiny_preset):
    return Question("lungs", preset=str(tiny_preset))


@pytest.fixture
def asked(visits, question, tmp_path, request):
    """A visit whose chest X-ray was asked for lungs."""
    visit = visits.of(request.node.name)
    picture = shutil.copy(sample_pictures()["xray_normal"], tmp_path / "chest.png")
    ended(visit.receive([tmp_path / picture], question))
    ended(visit.ask(question))
    return visit


def ended(job: Job):
    assert job.wait(60)
    return job.outcome()


def test_another_threshold_computes_no_saliency_and_another_text_encodes_nothing(asked, question):
    own = Tuning.of(asked.networks.preset(question))
    ended(asked.ask(Question("lungs", preset=question.preset, tuning=Tuning(0.9, own.gamma, own.boxes, own.points))))
    assert asked.answer.made == () and asked.answer.segmentation.request.parameters["threshold"] == 0.9
    ended(asked.ask(Question("heart", preset=question.preset)))
    assert asked.answer.made == ("saliency",)


def test_downloads_are_what_the_command_line_writes(asked, question, run, tmp_path):
    chest = shutil.copy(sample_pictures()["xray_normal"], tmp_path / "chest.png")
    assert run(chest, "--text", "lungs")[0] == 0
    for what, name in (("mask", "chest_mask.png"), ("overlay", "chest_overlay.png")):
        got = download(asked, what)
        assert got.name == name and got.read_bytes() == (tmp_path / "out" / name).read_bytes()
    ours, theirs = (json.loads(path.read_text()) for path in (download(asked, "record"), tmp_path / "out/chest.json"))
    assert ours | {"seconds": 0} == theirs | {"seconds": 0}
    assert offered(asked.answer.segmentation) == ["mask", "overlay", "record", "all"]


def test_clicks_change_the_mask_of_their_class_alone_and_stand_in_the_record(asked, question):
    ended(asked.ask(Question("lungs; heart", preset=question.preset)))
    before = asked.answer.segmentation.label_map
    ended(asked.mark([Mark("heart", 0, (120.0, 130.0)), Mark("heart", 0, (90.0, 100.0, 160.0, 180.0))]))
    after = asked.answer.segmentation
    assert torch.equal(after.label_map == 2, after.found.mask[1]) and (after.label_map == 2).any()
    assert not ((after.label_map == 1) & (before != 1)).any()
    assert [one["class"] for one in after.record({})["parameters"]["corrections"]] == ["heart", "heart"]
    assert after.request.key("x") != asked.answer.by_text.request.key("x")
    ended(asked.unmark(last_only=False))
    assert torch.equal(asked.answer.segmentation.label_map, before)


@pytest.mark.parametrize(
    ("mark", "line"),
    [
        (Mark("liver", 0, (1.0, 1.0)), "there is no class 'liver'"),
        (Mark("lungs", 1, (1.0, 1.0)), "from 1 to 1, got 2"),
        (Mark("lungs", 0, (-1.0, 1.0)), "outside of the picture"),
        (Mark("lungs", 0, (float("nan"), 1.0)), "outside of the picture"),
        (Mark("lungs", 0, (1.0, 1.0, 2.0, 9.0)), "has no area"),
    ],
)
def test_a_mark_that_cannot_be_is_refused(mark, line):
    with pytest.raises(InputError, match=line):
        checked_mark(mark, (20, 30), ["lungs"])


def test_a_box_is_turned_upright_and_the_last_one_counts():
    box = checked_mark(Mark("a", 0, (9.0, 8.0, 1.0, 2.0)), (20, 30), ["a"])
    clicks = by_slice([Mark("a", 0, (0.0, 0.0, 5.0, 5.0)), box, Mark("a", 0, (3.0, 4.0), inside=False)])
    assert clicks[0].box == (1.0, 2.0, 9.0, 8.0) and (clicks[0].points, clicks[0].labels) == ([(3.0, 4.0)], [0])


def test_other_words_are_those_of_the_prompt_set_for_this_kind_of_picture():
    words = other_words(TextTarget("lungs", ("lungs",)), ("chest X-ray",))
    assert any("X-ray" in one.sentences[0] for one in words) and len(words) == 10
    assert [one.sentences for one in other_words(TextTarget("a thing", ("a thing",)))][1] == ("the a thing",)


def test_agreement_and_spread_of_wordings(asked):
    ended(asked.reword())
    (found,) = asked.answer.reworded
    assert found.wordings[0].dice == 1.0 and 0 <= found.agreement <= 1
    assert found.sizes is None or found.sizes[0] <= 1 <= found.sizes[2]


def test_of_several_images_each_can_be_chosen_and_corrections_stay_with_theirs(visits, question, tmp_path):
    visit = visits.of("several")
    names = ("brain_tumour", "xray_normal")
    files = [shutil.copy(sample_pictures()[name], tmp_path / f"{name}.png") for name in names]
    ended(visit.receive([tmp_path / file for file in files], question))
    assert [source.stem for source in visit.sources] == list(names) and visit.opened.name == "brain_tumour.png"
    ended(visit.ask(question))
    ended(visit.mark([Mark("lungs", 0, (100.0, 100.0))]))
    ended(visit.choose(1, question))
    assert (visit.opened.name, visit.marks, visit.answer) == ("xray_normal.png", [], None)
    with pytest.raises(InputError, match="there are 2 images, got number 3"):
        visit.choose(2, question)


def test_a_file_that_arrives_while_another_one_is_opened_is_kept(visits, question, tmp_path, monkeypatch):
    visit = visits.of("hasty")
    first, second = (shutil.copy(sample_pictures()["xray_normal"], tmp_path / name) for name in ("a.png", "b.png"))
    opens, opened = visit._open, threading.Event()

    def slowly(question):
        monkeypatch.setattr(visit, "_open", opens)
        opened.set()
        arrived.wait(30)
        return opens(question)

    monkeypatch.setattr(visit, "_open", slowly)
    arrived = threading.Event()
    before = visit.receive([first], question)
    assert opened.wait(30)
    job = visit.receive([second], question)
    while not visit.networks.turns.waiting(job):
        time.sleep(0.01)
    arrived.set()
    ended(job)
    assert before.is_cancelled and visit.opened.name == "b.png" and visit.sources[0].files[0].exists()


def test_what_cannot_be_used_leaves_what_was_open(asked, question, tmp_path):
    (tmp_path / "a.docx").write_text("no image")
    with pytest.raises(InputError, match="not a supported image"):
        ended(asked.receive([tmp_path / "a.docx"], question))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(InputError, match=r"^a\.png: "):
        ended(asked.receive([tmp_path / "a.png"], question))
    assert asked.opened is not None and asked.opened.name == "chest.png" and asked.answer is not None
    assert [path.name for path in asked.folder.iterdir() if path.is_dir()] == ["image_1"]
    assert asked.sources[0].files[0].exists()


@pytest.mark.parametrize(
    ("text", "line"),
    [("", "the text is empty"), (" ; ", "the text is empty"), ("x" * 3000, "may have 2,000 letters, got 3,000")],
)
def test_a_text_that_is_none(asked, question, text, line):
    with pytest.raises(InputError, match=line):
        ended(asked.ask(Question(text, preset=question.preset)))


def test_a_visit_ends_with_its_files_when_its_page_is_gone_for_good(visits, question, asked):
    page = next(name for name, visit in visits._visits.items() if visit is asked)
    visits.leave(page)
    visits.sweep()
    assert visits.resume("the page anew", asked.token) is asked and asked.folder.exists()
    visits.leave("the page anew")
    visits.kept_seconds, kept = 0.0, visits.kept_seconds
    visits.sweep()
    visits.kept_seconds = kept
    assert not asked.folder.exists() and visits.by_address(asked.address) is None
    (asked.folder / "image_2").mkdir(parents=True)  # by a job that did not know yet
    visits.sweep()
    assert not asked.folder.exists()
    assert visits.resume("a third page", asked.token) is not asked


def test_what_was_sent_is_removed_in_its_time_but_nothing_that_came_with_what_is_still_on_its_way(tmp_path):
    arrivals = Arrivals(tmp_path / "sent")
    old, new = (arrivals.folder / number / "a.png" for number in ("1", "2"))
    old.parent.mkdir()
    old.touch()
    time.sleep(0.05)
    with arrivals.one(10):
        time.sleep(0.05)
        new.parent.mkdir()
        new.touch()
        os.utime(new, (0, 0))  # written long ago, and named now
        arrivals.remove(3600)
        assert old.exists()
        time.sleep(0.05)
        arrivals.remove(0)
        arrivals.remove(-1)
        assert new.exists() and not old.exists()
    arrivals.remove(-1)
    assert not new.exists() and arrivals.folder.exists()


def test_only_what_arrived_is_found(tmp_path):
    arrivals = Arrivals(tmp_path / "sent")
    path = str(arrivals.folder / "ab" / "a.png")
    assert arrivals.found(None) == [] and arrivals.found({"path": path}) == arrivals.found([{"path": path}])
    for other in ("/etc/passwd", f"{arrivals.folder}/../a.png", "a.png", f"{path}\0", [path], {"path": None}, 7):
        with pytest.raises(InputError, match="did not arrive whole"):
            arrivals.found([other if isinstance(other, dict) else {"path": other}])


def test_more_pages_than_there_is_room_for(visits, question):
    few = Visits(visits.networks, most=1)
    first = few.of("a")
    assert few.of("b") is not first and len(few) == 1  # nothing was done on the first
    first = few.of("a")
    ended(first.receive_sample("xray", question))
    with pytest.raises(InputError, match="1 pages are open"):
        few.of("b")
    few.leave("a")
    assert few.of("b") is not first and len(few) == 1
    few.close()


def test_a_short_job_goes_between_the_steps_of_a_long_one():
    turns, order, begun = Turns(), [], threading.Event()

    def long(tell):
        for number in range(20):
            begun.set()
            time.sleep(0.02)
            tell("looking", number + 1, 20)
        order.append("long")

    slow = Job(long, turns)
    begun.wait(5)
    quick = Job(lambda tell: order.append("short"), turns)
    assert quick.wait(5) and slow.wait(5) and order == ["short", "long"]
    assert slow.progress == ("looking", 20, 20)


def test_a_job_that_is_cancelled_while_it_is_prepared_does_no_work():
    prepared, done = threading.Event(), []
    job = Job(lambda tell: done.append(1), Turns(), lambda: prepared.wait(30))
    job.cancel()
    prepared.set()
    with pytest.raises(Cancelled):
        ended(job)
    assert done == []


def test_a_job_is_cancelled_at_its_next_step_and_while_it_waits():
    turns, begun = Turns(), threading.Event()

    def endless(tell):
        while True:
            begun.set()
            time.sleep(0.01)
            tell("looking", 1, 2)

    slow = Job(endless, turns)
    begun.wait(5)
    waiting = Job(endless, turns)
    for job in (waiting, slow):
        job.cancel()
        assert job.wait(5)
        with pytest.raises(Cancelled):
            job.outcome()
    assert ended(Job(lambda tell: 3, turns)) == 3 and told(Cancelled()) == ""


def test_no_memory_is_one_line(visits):
    def full(tell):
        raise MemoryError

    job = Job(full, visits.networks.turns)
    job.wait(5)
    with pytest.raises(MemoryError) as error:
        job.outcome()
    assert told(error.value) == "too large for this machine's memory"
