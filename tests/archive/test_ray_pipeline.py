"""How many images go from stage to stage as one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medclipsam_monai.archive.pipeline import Plan

PLAN = Plan(workers=2, threads=1, readers=1, batch=1, gpus=False)


@pytest.mark.parametrize(
    ("count", "size"), [(1, 1), (15, 1), (32, 2), (500, 8), (16_000, 8), (16_001, 9), (100_000, 50)]
)
def test_many_images_go_in_blocks_and_few_by_themselves(count, size):
    assert PLAN.block(count) == size


def test_images_that_are_tried_again_go_by_themselves():
    assert replace(PLAN, together=1).block(2000) == 1
