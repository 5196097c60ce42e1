"""A mask that leaves both of its neighbours is asked for again with what lies between them."""

from __future__ import annotations

import pytest
import torch

from medclipsam_monai.networks.prompted import PromptedMasks
from medclipsam_monai.transforms import PromptsFromMask
from medclipsam_monai.zero_shot.result import ZeroShotResult
from medclipsam_monai.zero_shot.volumes.agreement import Asked, between, dice, in_agreement, leaves

SHAPE = (24, 24)


def square(first: int, last: int) -> torch.Tensor:
    mask = torch.zeros(SHAPE, dtype=torch.bool)
    mask[first : last + 1, first : last + 1] = True
    return mask


def test_what_lies_between_two_squares_is_a_square_of_middle_size():
    assert torch.equal(between(square(4, 19), square(8, 15)), square(6, 17))
    assert torch.equal(between(square(4, 9), square(4, 9)), square(4, 9))


@pytest.mark.parametrize(
    ("mask", "before", "after", "expected"),
    [
        (square(18, 22), square(4, 12), square(5, 13), True),
        (square(30, 31), square(4, 12), square(5, 13), True),  # empty
        (square(5, 12), square(4, 12), square(5, 13), False),
        (square(18, 22), square(4, 12), square(16, 22), False),  # it is like one of them
        (square(2, 4), square(6, 10), square(16, 22), False),  # neighbours that differ speak for nothing
        (square(2, 4), square(30, 31), square(30, 31), False),  # as do empty ones: it may begin here
    ],
)
def test_a_mask_leaves_its_neighbours(mask, before, after, expected):
    assert leaves(mask, before, after) is expected


class Images:
    def __init__(self):
        self.asked = []

    def embeddings(self, rows):
        self.asked += rows
        return ["embedding"] * len(rows)


class Network:
    """Answers every box with itself, moved by ``off`` pixels."""

    def __init__(self, off: int = 0):
        self.off, self.guesses = off, []

    def visual_prompts(self, coarse):
        return PromptsFromMask()(coarse)

    def masks(self, embedding, prompts, shape):
        assert embedding == "embedding" and shape == SHAPE
        probability = torch.zeros(1, *shape)
        self.guesses.append(prompts[0].masks)
        for x0, y0, x1, y1 in prompts[0].boxes.round().long().tolist():
            probability[0, y0 + self.off : y1 + 1 + self.off, x0 + self.off : x1 + 1 + self.off] = 0.9
        return PromptedMasks(probability, (0.75,), (4.0,))

    def merge(self, probability, coarse):
        return probability > 0.5


def asked(images: Images, row: int, *found: torch.Tensor) -> Asked:
    mask = torch.stack(found)
    boxes, quality = tuple(torch.zeros(1, 4) for _ in found), tuple(0.5 for _ in found)
    nothing = torch.zeros(mask.shape)
    result = ZeroShotResult(
        tuple("ab"[: len(found)]),
        mask * 0.6,
        mask,
        mask,
        nothing,
        boxes,
        (None,) * len(found),
        quality,
        (1.0,) * len(found),
    )
    return Asked(result, images, row)


def test_only_the_one_that_left_is_asked_again_and_only_its_class():
    images, good, away = Images(), square(4, 12), square(18, 22)
    slices = [asked(images, d, good, away if d == 2 else good) for d in range(5)]
    found = list(in_agreement(Network(), iter(slices)))
    assert len(found) == 5 and images.asked == [2]
    for d, one in enumerate(found):
        assert torch.equal(one.mask[0], good) and torch.equal(one.mask[1], good), d
    assert found[2].boxes[1].tolist() == [[4, 4, 12, 12]] and found[2].quality == (0.5, 0.75)
    assert found[2].object_score == (1.0, 4.0)
    assert float(found[2].probability[1].max()) == pytest.approx(0.9)
    assert slices[2].result.mask[1].equal(away)  # what was given is left as it was


def test_an_answer_that_leaves_them_as_well_is_not_taken():
    images, good, away = Images(), square(4, 12), square(18, 22)
    found = list(in_agreement(Network(off=9), [asked(images, d, away if d == 1 else good) for d in range(3)]))
    assert images.asked == [1] and torch.equal(found[1].mask[0], away) and found[1].quality == (0.5,)


def test_ends_and_runs_are_left_alone():
    images, good, empty = Images(), square(4, 12), square(30, 31)
    slices = [good, good, empty, empty, good, good]
    found = list(in_agreement(Network(), [asked(images, d, one) for d, one in enumerate(slices)]))
    assert images.asked == [] and [bool(one.mask.any()) for one in found] == [True, True, False, False, True, True]


def test_the_slice_is_given_what_lies_between_its_neighbours_as_a_mask():
    network, slices = Network(), [square(4, 19), square(20, 22), square(6, 17)]
    found = list(in_agreement(network, [asked(Images(), d, one) for d, one in enumerate(slices)]))
    (guess,) = network.guesses
    assert torch.equal(guess, square(5, 18)[None].float())
    assert torch.equal(found[1].mask[0], square(5, 18))


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_few_slices(depth):
    found = list(in_agreement(Network(), [asked(Images(), d, square(4, 12)) for d in range(depth)]))
    assert len(found) == depth


def test_dice_of_nothing_is_nothing():
    assert dice(square(30, 31), square(30, 31)) == 0 and dice(square(2, 4), square(2, 4)) == 1
