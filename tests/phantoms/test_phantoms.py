from __future__ import annotations

import numpy as np
import pytest

from medclipsam_monai.phantoms import TARGETS, TASKS, Caption, holds, make_phantom, sample_captions
from medclipsam_monai.phantoms.captions import all_facts, say_absent, say_detail, say_present

SEEDS = range(8)


@pytest.mark.parametrize("task", TASKS)
def test_one_seed_gives_one_phantom(task):
    first, second = make_phantom(task, 3), make_phantom(task, 3)
    np.testing.assert_array_equal(first.image, second.image)
    assert first.captions == second.captions
    assert first.facts == second.facts
    assert not np.array_equal(first.image, make_phantom(task, 4).image)


@pytest.mark.parametrize("task", TASKS)
def test_pictures_and_masks_have_the_promised_form(task):
    for seed in SEEDS:
        phantom = make_phantom(task, seed)
        assert phantom.image.shape == (256, 256) and phantom.image.dtype == np.float32
        assert 0 <= phantom.image.min() < phantom.image.max() <= 1
        assert set(phantom.masks) <= set(TARGETS[task])
        for mask in phantom.masks.values():
            assert mask.shape == (256, 256) and mask.dtype == bool
            assert 60 < mask.sum() < 256 * 256 / 2
        assert phantom.facts <= set(all_facts())


@pytest.mark.parametrize("task", TASKS)
def test_presence_cannot_be_guessed_from_the_modality(task):
    found = [set(make_phantom(task, seed, captions=0).findings) for seed in range(40)]
    counts = {name: sum(name in findings for findings in found) for name in TARGETS[task]}
    assert all(3 <= count <= 36 for count in counts.values()), counts


@pytest.mark.parametrize("task", TASKS)
def test_captions_hold_for_their_own_picture(task):
    for seed in SEEDS:
        phantom = make_phantom(task, seed, captions=8)
        assert all(holds(caption, phantom.facts) for caption in phantom.captions)
        assert all(caption.text.strip() and "{" not in caption.text for caption in phantom.captions)


@pytest.mark.parametrize("task", TASKS)
def test_a_flip_changes_the_named_target_and_only_near_it(task):
    flipped = 0
    for seed in SEEDS:
        before = make_phantom(task, seed, captions=0)
        for name in before.toggles[:2]:
            after = make_phantom(task, seed, name, captions=0)
            flipped += (name in before.findings) != (name in after.findings)
            assert np.mean(np.abs(before.image - after.image) > 0.1) < 0.5
    assert flipped >= len(SEEDS) / 2


def test_an_absent_target_makes_its_sentence_false():
    rng = np.random.default_rng(0)
    facts = make_phantom("chest_xray", 1).facts
    assert "lungs" in facts
    assert holds(say_present("lungs", "chest_xray", rng, "{n}"), facts)
    assert not holds(say_absent("lungs", "chest_xray", rng), facts)
    assert not holds(Caption("a kidney", frozenset({"kidneys"})), facts)


def test_details_are_claimed():
    caption = say_detail("brain tumour", "glioma", "brain_mri", np.random.default_rng(0))
    assert "brain tumour/glioma" in caption.claims
    assert "glio" in caption.text


def test_sampled_captions_follow_the_generator():
    facts = make_phantom("chest_ct", 5).facts
    texts = [[c.text for c in sample_captions(facts, np.random.default_rng(s), 5)] for s in (0, 0, 1)]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make_phantom("knee", 0), "task must be one of breast_ultrasound"),
        (lambda: make_phantom("brain_mri", -1), "seed must be zero or positive, got -1"),
        (lambda: make_phantom("brain_mri", 0, "liver"), "'liver' cannot be flipped in brain_mri 0"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
