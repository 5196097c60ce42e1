"""How many images go from stage to stage as one, and images whose process dies."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from dying_stages import Deadly, nothing_found

from medclipsam_monai.archive.cluster import joined
from medclipsam_monai.archive.pipeline import Plan, run_stages
from medclipsam_monai.archive.run import through_all
from medclipsam_monai.archive.stages import Work
from medclipsam_monai.io import ImageSource

PLAN = Plan(workers=1, threads=1, readers=1, batch=1, gpus=False)
HELPERS = Path(__file__).parents[1] / "helpers"


@pytest.mark.parametrize(
    ("count", "size"), [(1, 1), (15, 1), (16, 2), (500, 8), (16_000, 8), (16_001, 9), (100_000, 50)]
)
def test_many_images_go_in_blocks_and_few_by_themselves(count, size):
    assert PLAN.block(count) == size


def test_images_that_are_tried_again_go_by_themselves():
    assert replace(PLAN, together=1).block(2000) == 1


def test_an_image_that_ends_its_process_each_time_is_missing_and_the_rest_comes(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{HELPERS}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    source = ImageSource((tmp_path / "x.png",), "picture", "x")
    works = [Work(number, source, 0) for number in range(4)]
    with joined(None, PLAN.processors) as ray:
        came = list(run_stages(ray, works, Deadly(2), nothing_found, Deadly(), PLAN))
    assert sorted(work.number for work in came) == [0, 1, 3]


class Counted:
    """As much of a run as remembers what came out."""

    def __init__(self):
        self.came, self.given_up = set(), []

    def take(self, works):
        self.came |= {work.number for work in works}

    def missing(self, works):
        return [work for work in works if work.number not in self.came]

    def give_up(self, works):
        self.given_up = [work.number for work in works]


@pytest.mark.parametrize(
    ("passes", "given_up", "asked"),
    [
        ([[0, 1, 2, 3]], [], [4]),
        ([[0, 1, 3], [2]], [], [4, 1]),
        ([[0], [], [1], [], [3], [2]], [], [4, 3, 3, 2, 2, 1]),
        ([[0, 1, 3], [], []], [2], [4, 1, 1]),
        ([[], []], [0, 1, 2, 3], [4, 4]),
    ],
    ids=["all", "again", "nodes that come and go", "one deadly image", "nothing works"],
)
def test_images_that_do_not_come_out_are_tried_as_long_as_others_do(passes, given_up, asked):
    run, left, tried = Counted(), iter(passes), []

    def stages(works, plan):
        tried.append((len(works), plan.batch))
        yield from (work for work in works if work.number in next_pass)

    def one(works, plan):
        nonlocal next_pass
        next_pass = next(left)
        return stages(works, plan)

    next_pass: list[int] = []
    source = ImageSource((Path("x.png"),), "picture", "x")
    through_all(run, [Work(number, source, 0) for number in range(4)], one, replace(PLAN, batch=8))
    assert run.given_up == given_up and next(left, None) is None
    assert tried == [(count, 1 if number else 8) for number, count in enumerate(asked)]
