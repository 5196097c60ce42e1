from __future__ import annotations

import pytest

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.finetune.data import sampler as image_text_sampler
from medclipsam_monai.finetune.data.sampler import DistinctBatchSampler

CASES = [n // 3 for n in range(60)]
CAPTIONS = [n % 17 for n in range(60)]


def test_no_case_and_no_caption_is_twice_in_a_batch():
    sampler = DistinctBatchSampler(CASES, CAPTIONS, batch_size=8)
    for epoch in range(5):
        sampler.set_epoch(epoch)
        for batch in sampler:
            assert len({CASES[i] for i in batch}) == len({CAPTIONS[i] for i in batch}) == len(batch) == 8


def test_every_epoch_has_the_same_number_of_batches_and_hardly_a_pair_twice():
    sampler = DistinctBatchSampler(CASES, CAPTIONS, batch_size=8)
    for epoch in range(20):
        sampler.set_epoch(epoch)
        indices = [i for batch in sampler for i in batch]
        assert len(indices) == 8 * len(sampler)
        assert len(set(indices)) >= len(indices) - 8
    assert len(sampler) >= 6


def test_the_order_depends_on_seed_and_epoch_only():
    def order(seed: int, epoch: int) -> list[list[int]]:
        sampler = DistinctBatchSampler(CASES, CAPTIONS, 8, seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(1, 2) == order(1, 2)
    assert order(1, 2) != order(1, 3) and order(1, 2) != order(2, 2)


def test_two_ranks_share_the_batches_of_one_process(monkeypatch):
    alone = list(DistinctBatchSampler(CASES, CAPTIONS, 8, seed=4))
    monkeypatch.setattr(image_text_sampler, "world_size", lambda: 2)
    parts = []
    for number in range(2):
        monkeypatch.setattr(image_text_sampler, "rank", lambda number=number: number)
        parts.append(list(DistinctBatchSampler(CASES, CAPTIONS, 4, seed=4)))
    assert [a + b for a, b in zip(*parts, strict=True)] == alone


def test_every_pair_has_its_turn_over_the_epochs():
    cases = [0, 0, 0, 0, 1, 2, 3, 4]
    sampler = DistinctBatchSampler(cases, list(range(8)), batch_size=2)
    seen = set()
    for epoch in range(10):
        sampler.set_epoch(epoch)
        seen |= {i for batch in sampler for i in batch}
    assert seen == set(range(8)) and len(sampler) >= 2


@pytest.mark.parametrize(
    ("cases", "captions", "batch", "message"),
    [
        (CASES, CAPTIONS, 1, "at least 2 pairs to have negatives, got batch_size 1"),
        (list(range(6)), [0] * 6, 2, "6 cases and 1 captions, so a batch can hold at most 1"),
        (list(range(6)), list(range(6)), 8, "got batch_size 8 over all ranks"),
    ],
)
def test_batches_that_cannot_be_are_refused(cases, captions, batch, message):
    with pytest.raises(InputError, match=message):
        DistinctBatchSampler(cases, captions, batch)
