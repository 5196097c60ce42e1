"""A folder of images: read ahead and written behind the networks, with the outcome of one after the other."""

from __future__ import annotations

import json
import threading
import time
import warnings
from pathlib import Path

import pytest
from command_line import make_nifti, make_picture

from medclipsam_monai import TextSegmenter
from medclipsam_monai.base.errors import InputError, InputWarning
from medclipsam_monai.io.inputs.discovery import find_inputs
from medclipsam_monai.io.limits import largest_allowed
from medclipsam_monai.io.outputs import InUseError, open_outputs
from medclipsam_monai.zero_shot.batch import segment_files
from medclipsam_monai.zero_shot.many import background, stages
from medclipsam_monai.zero_shot.many.stages import Stages, one_by_one
from medclipsam_monai.zero_shot.one_image.steps import ImageSteps
from medclipsam_monai.zero_shot.opened import OpenedImage
from medclipsam_monai.zero_shot.output_files import OutputFiles

STATES = {"a": "done", "b": "done", "c": "failed", "d": "done", "e": "done", "f": "skipped", "g": "done", "h": "done"}


@pytest.fixture(scope="module")
def tiny(tiny_preset) -> TextSegmenter:
    return TextSegmenter.from_preset(tiny_preset, "cpu")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    """Pictures of two sizes, one that is none, and a volume."""
    folder = tmp_path_factory.mktemp("many") / "in"
    for seed, (name, height) in enumerate(zip("abdefgh", (40, 40, 50, 40, 40, 40, 50), strict=True)):
        make_picture(folder / f"{name}.png", height, seed=seed)
    (folder / "c.png").write_bytes(b"no picture")
    (folder / "e.png").unlink()
    make_nifti(folder / "e.nii.gz", (20, 24, 5))
    return folder


@pytest.fixture
def same_size(tmp_path) -> Path:
    for seed, name in enumerate("abcdef"):
        make_picture(tmp_path / "in" / f"{name}.png", seed=seed)
    return tmp_path / "in"


def contents(folder: Path) -> dict[str, object]:
    """All files; of a record all but the seconds."""
    found: dict[str, object] = {}
    for path in folder.iterdir():
        found[path.name] = path.read_bytes()
        if path.suffix == ".json":
            found[path.name] = {**json.loads(path.read_text()), "seconds": 0}
    return found


def told(segmenter, inputs, output, **more):
    """What `segment_files` tells: kinds and lines."""
    lines: list[tuple[str, str]] = []
    segment_files(segmenter, [inputs], "lungs", output, notify=lambda kind, line: lines.append((kind, line)), **more)
    return lines


def states(lines) -> list[tuple[str, str]]:
    """Stem and state of each image in the order they were told."""
    ends = [(kind, line) for kind, line in lines if kind in ("done", "skipped", "failed")]
    return [(line.split("in/")[1][0], kind) for kind, line in ends]


@pytest.mark.parametrize("batch", [1, 3])
def test_the_outcome_is_that_of_one_after_the_other_and_so_is_the_order_of_the_lines(tiny, inputs, tmp_path, batch):
    files = OutputFiles()
    alone = Stages(tiny, ImageSteps(tiny.request("lungs", **files.values), files), tmp_path / "alone")
    jobs = [one_by_one(alone, source) for source in find_inputs([inputs])]
    assert [job.state for job in jobs] == ["failed" if name == "c" else "done" for name in STATES]
    segment_files(tiny, [inputs / "f.png", inputs / "e.nii.gz"], "lungs", tmp_path / "out")
    (tmp_path / "out" / "e_mask.nii.gz").unlink()
    lines = told(tiny, inputs, tmp_path / "out", batch=batch)
    assert states(lines) == list(STATES.items())
    assert [line.split("]")[0] for kind, line in lines if kind in STATES.values()] == [f"[{k}/8" for k in range(1, 9)]
    expected, found = contents(tmp_path / "alone"), contents(tmp_path / "out")
    if batch == 1:
        assert found == expected
    else:  # several together may be rounded otherwise
        assert found.keys() == expected.keys()
        assert {name: found[name] for name in found if "_mask" in name} == {
            name: expected[name] for name in expected if "_mask" in name
        }


def test_pictures_of_one_size_go_through_the_networks_together_where_it_is_asked_for(
    tiny, inputs, tmp_path, monkeypatch
):
    together = []
    whole = TextSegmenter.answer_together

    def counting(self, images, request):
        together.append([image.stem for image in images])
        return whole(self, images, request)

    monkeypatch.setattr(TextSegmenter, "answer_together", counting)
    told(tiny, inputs, tmp_path / "one")
    assert together == []
    told(tiny, inputs, tmp_path / "three", batch=3)
    assert together == [["a", "b"], ["f", "g"]], "a, b and d; e, f and g; h"
    with pytest.raises(InputError, match="batch must be 1 or more, got 0"):
        told(tiny, inputs, tmp_path / "none", batch=0)


def test_while_the_networks_are_busy_the_next_is_read_and_the_one_before_is_written(
    tiny, same_size, tmp_path, monkeypatch
):
    """The networks wait until both happened: one after the other they would wait for ever."""
    read, written = threading.Event(), threading.Event()
    show, write, answer = stages.show_image, ImageSteps.write, OpenedImage.answer

    def reading(source, *rest):
        shown = show(source, *rest)
        if source.stem == "c":
            read.set()
        return shown

    def writing(self, source, *rest):
        files = write(self, source, *rest)
        if source.stem == "a":
            written.set()
        return files

    def answering(self, *rest, **more):
        if self.stem == "b":
            assert read.wait(60) and written.wait(60)
        return answer(self, *rest, **more)

    monkeypatch.setattr(stages, "show_image", reading)
    monkeypatch.setattr(ImageSteps, "write", writing)
    monkeypatch.setattr(OpenedImage, "answer", answering)
    assert states(told(tiny, same_size, tmp_path / "out")) == [(name, "done") for name in "abcdef"]


@pytest.mark.parametrize(("pixels", "most"), [(2**24, 4), (2400, 1), (2401, 2)])
def test_no_more_is_in_memory_than_may_be(tiny, same_size, tmp_path, monkeypatch, pixels, most):
    """Each picture has 2400 pixels; four are one that is read, one in the networks and two to be written."""
    there, counts = [0], []
    show, end = stages.show_image, stages.Job.end

    def reading(*arguments):
        there[0] += 1
        counts.append(there[0])
        return show(*arguments)

    def ending(job):
        there[0] -= job.shown is not None
        end(job)

    def slow(self, *rest):
        time.sleep(0.02)
        return write(self, *rest)

    write = ImageSteps.write
    monkeypatch.setattr(background, "_MOST_PIXELS", pixels)
    monkeypatch.setattr(stages, "show_image", reading)
    monkeypatch.setattr(stages.Job, "end", ending)
    monkeypatch.setattr(ImageSteps, "write", slow)
    told(tiny, same_size, tmp_path / "out")
    assert len(counts) == 6 and max(counts) <= most and there == [0]


def test_what_cannot_be_written_fails_by_itself_and_leaves_nothing(tiny, same_size, tmp_path, monkeypatch):
    write = ImageSteps.write

    def full(self, source, found, place):
        if source.stem in "bc":
            (place.staging / "half").write_bytes(b"half")
            raise OSError(28, "No space left on device")
        return write(self, source, found, place)

    monkeypatch.setattr(ImageSteps, "write", full)
    lines = told(tiny, same_size, tmp_path / "out")
    assert states(lines) == [(name, "failed" if name in "bc" else "done") for name in "abcdef"]
    assert [line for kind, line in lines if kind == "failed"] == [
        f"[{k}/6] {same_size / name}.png: No space left on device" for k, name in ((2, "b"), (3, "c"))
    ]
    assert {path.name[0] for path in (tmp_path / "out").iterdir()} == set("adef")


@pytest.mark.parametrize("batch", [1, 4])
def test_a_warning_of_any_stage_is_a_note_on_its_own_image(tiny, same_size, tmp_path, monkeypatch, batch):
    """Also where several go together, and nobody says which of them is meant."""
    show, write, answer = stages.show_image, ImageSteps.write, TextSegmenter.answer_together
    warned_together = []

    def warn(stem, stage, expected):
        if stem == expected:
            warnings.warn(f"{stage} of {stem}", InputWarning, stacklevel=2)
            warnings.warn("a library's own affair", UserWarning, stacklevel=2)

    def reading(source, *rest):
        warn(source.stem, "reading", "b")
        return show(source, *rest)

    def alone(self, *rest, **more):
        warn(self.stem, "networks", "c")
        return by_itself(self, *rest, **more)

    def together(self, images, request):
        warned_together.append(len(images))
        for image in images:
            warn(image.stem, "networks", "c")
        return answer(self, images, request)

    def writing(self, source, *rest):
        warn(source.stem, "writing", "b")
        return write(self, source, *rest)

    by_itself = OpenedImage.answer
    monkeypatch.setattr(stages, "show_image", reading)
    monkeypatch.setattr(OpenedImage, "answer", alone)
    monkeypatch.setattr(TextSegmenter, "answer_together", together)
    monkeypatch.setattr(ImageSteps, "write", writing)
    lines = told(tiny, same_size, tmp_path / "out", batch=batch)
    assert [line for kind, line in lines if kind == "note"] == [
        f"{same_size}/b.png: reading of b",
        f"{same_size}/b.png: writing of b",
        f"{same_size}/c.png: networks of c",
    ]
    assert warned_together == ([] if batch == 1 else [4, 2])


def test_an_interrupt_leaves_no_lock_and_nothing_half_written_and_the_next_run_goes_on(tiny, same_size, tmp_path):
    lines = []

    def stop(kind, line):
        if kind == "done":
            lines.append(line)
            raise KeyboardInterrupt

    threads = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        segment_files(tiny, [same_size], "lungs", tmp_path / "out", notify=stop)
    assert len(lines) == 1 and threading.active_count() == threads
    there = contents(tmp_path / "out")
    assert not [name for name in there if name.startswith(".")]
    finished = [name for name in there if name.endswith(".json")]
    assert 1 <= len(finished) < 6 and len(there) == 3 * len(finished)
    ends = [kind for _, kind in states(told(tiny, same_size, tmp_path / "out"))]
    assert ends == ["skipped"] * len(finished) + ["done"] * (6 - len(finished))


def test_an_image_is_locked_from_before_it_is_read_until_it_is_written(tiny, same_size, tmp_path, monkeypatch):
    answer, refused = OpenedImage.answer, []

    def another(self, *rest, **more):
        with pytest.raises(InUseError), open_outputs(tmp_path / "out", self.stem, wait=False):
            pass
        refused.append(self.stem)
        return answer(self, *rest, **more)

    monkeypatch.setattr(OpenedImage, "answer", another)
    told(tiny, same_size, tmp_path / "out")
    assert refused == list("abcdef")


def test_the_limit_of_voxels_holds_in_the_background_too(tiny, inputs, tmp_path):
    with largest_allowed(40 * 60):
        lines = told(tiny, inputs, tmp_path / "out")
    assert states(lines) == [(name, "failed" if name in "cdh" else "done") for name in STATES]
    assert sum("3,000 voxels, the limit is 2,400" in line for _, line in lines) == 2
