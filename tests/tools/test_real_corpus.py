"""Real images as what the small networks learn from; phantoms in files stand for real images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.phantoms import make_phantom
from medclipsam_monai.phantoms.captions import Caption, all_facts
from medclipsam_monai.study.cases import read_cases
from medclipsam_monai.study.phantom_table import PHANTOM_TASKS, draw_phantom_table
from tools.training.clip import PAIRS, holds_matrix, mask_share, probe_truth
from tools.training.real_corpus import (
    check_shown,
    check_words,
    joined,
    read_real_images,
    real_corpus,
    what_is_told,
)


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    return read_cases(draw_phantom_table(tmp_path_factory.mktemp("data"), 8, ["breast_ultrasound", "lung_xray"]))


@pytest.fixture(scope="module")
def corpus(cases):
    return real_corpus(read_real_images(cases, "squash"), 40)


@pytest.mark.parametrize("task", PHANTOM_TASKS)
def test_nothing_false_is_told_of_a_phantom(task):
    kind, targets = PHANTOM_TASKS[task]
    for seed in range(30):
        phantom = make_phantom(kind, seed, captions=0)
        shown = [name for name in targets if name in phantom.masks]
        if len(shown) < 2:  # a table has one finding a row
            told = what_is_told(task, targets[shown[0]] if shown else "", bool(shown))
            assert told.holds <= phantom.facts
            assert phantom.facts <= told.holds | told.unknown


def test_a_table_settles_the_target_and_leaves_the_rest_open():
    told = what_is_told("breast_ultrasound", "benign", shown=True)
    assert {"breast_ultrasound", "benign tumour", "no malignant tumour", "breast tumour", "tumour"} <= told.holds
    assert {"cyst", "no cyst", "benign tumour/left"} <= told.unknown and "normal" not in told.unknown
    assert "no lungs" in told.holds and "lung_ct" not in told.unknown


def test_a_kind_that_is_not_told_is_a_tumour_of_unknown_kind():
    told = what_is_told("breast_ultrasound", "", shown=True)
    assert {"breast tumour", "tumour", "abnormality"} <= told.holds
    assert {"benign tumour", "no benign tumour", "malignant tumour"} <= told.unknown


def test_normal_rules_out_what_is_abnormal():
    told = what_is_told("breast_ultrasound", "normal", shown=False)
    assert {"normal", "no cyst", "no abnormality", "no breast tumour"} <= told.holds
    lungs = what_is_told("lung_xray", "normal", shown=True)
    assert {"lungs", "no lung mass", "no pleural effusion"} <= lungs.holds
    assert {"heart", "normal", "pacemaker"} <= lungs.unknown, "a chest X-ray is normal only with a heart"


def test_what_is_unknown_is_no_negative_and_no_truth():
    names, told = list(all_facts()), what_is_told("breast_ultrasound", "benign", shown=True)
    facts, unknown = (np.array([[name in group for name in names]]) for group in (told.holds, told.unknown))
    said = [Caption(name, frozenset({name})) for name in ("cyst", "benign tumour", "malignant tumour", "lungs")]
    assert holds_matrix(facts | unknown, said).tolist() == [[True, True, False, False]]
    truth, known = probe_truth(PAIRS, facts, unknown)
    own = [(name, bool(truth[0, k])) for k, (_, name) in enumerate(PAIRS) if known[0, k]]
    assert own == [("benign tumour", True), ("malignant tumour", False)]


def test_that_a_target_is_there_is_left_open_and_that_it_is_not_is_told(cases):
    images = read_real_images([case for case in cases if case.task == "breast_ultrasound"], "squash")
    shown, absent = ([i for i in images["breast_ultrasound"] if bool(i.mask.any()) == wanted] for wanted in (1, 0))
    assert shown and absent
    for image in shown:
        assert {image.name, "breast tumour", "tumour"} <= image.told.unknown
        assert {"breast_ultrasound", "no lungs"} <= image.told.holds
    assert all({"no benign tumour", "no breast tumour"} <= image.told.holds for image in absent)


def test_masks_move_with_their_images(cases):
    drawn = real_corpus(read_real_images([case for case in cases if case.task == "lung_xray"], "squash"), 30)
    inside, outside = (
        np.mean([drawn.images[k][(drawn.masks[k] > 0) == wanted].mean() for k in range(len(drawn)) if drawn.names[k]])
        for wanted in (True, False)
    )
    still = [case.load() for case in cases if case.task == "lung_xray"]
    shown = [(picture.mean(0), mask) for picture, mask in still if mask.any()]
    before = [np.mean([float(p[m == wanted].mean()) for p, m in shown]) * 255 for wanted in (True, False)]
    # Lungs are darker than what is around them; a mask left behind would cover both alike.
    assert outside - inside > 0.6 * (before[1] - before[0]) > 20
    assert len({drawn.masks[k].tobytes() for k in range(len(drawn))}) > 30, "no two variations are alike"


def test_half_of_the_pairs_tell_images_with_the_target_from_those_without(corpus):
    shown = [bool(names) for names in corpus.names[:80]]
    mixed = np.mean([shown[2 * k] != shown[2 * k + 1] for k in range(40)])
    assert 0.4 < mixed < 0.95


def test_a_mask_grounds_the_words_of_its_target_and_of_its_group(corpus):
    row = next(k for k, names in enumerate(corpus.names) if names and corpus.masks[k].any())
    name = corpus.names[row][0]
    pairs = (("breast_ultrasound", name), ("breast_ultrasound", "breast tumour"), ("brain_mri", "brain tumour"))
    share = mask_share(pairs, corpus, np.array([row]))[0]
    torch.testing.assert_close(share[0], share[1])
    assert share[0].mean().item() == pytest.approx(corpus.mask(row, name).mean(), abs=0.01)
    assert share[2].isnan().all()


def wide(case):
    """The case with the middle half of its rows alone."""
    picture, mask = case.load()
    return type("Wide", (), {**vars(case), "load": lambda _: (picture[:, 64:192], mask[64:192])})()


def test_a_wide_image_is_squashed_for_clip_and_keeps_its_proportions_for_sam(cases):
    case = next(case for case in cases if case.task == "lung_xray" and case.load()[1][64:192].any())
    mask = case.load()[1][64:192]
    (boxed,) = read_real_images([wide(case)], "letterbox")[case.task]
    (squashed,) = read_real_images([wide(case)], "squash")[case.task]
    torch.testing.assert_close(boxed.mask[0, :128], mask)
    assert not boxed.mask[0, 128:].any() and not boxed.picture[0, 128:].any()
    torch.testing.assert_close(squashed.mask[0, ::2], mask)


def test_images_without_their_target_teach_nothing(cases):
    absent = [case for case in cases if not case.load()[1].any()]
    with pytest.raises(InputError, match=f"none of the {len(absent)} images"):
        check_shown(absent)


def test_joined_corpora_keep_what_is_unknown(corpus):
    both = joined(corpus, corpus)
    assert len(both) == 2 * len(corpus)
    np.testing.assert_array_equal(both.unknown[len(corpus) :], corpus.unknown)
    np.testing.assert_array_equal(both.masks[len(corpus) :], corpus.masks)


def test_a_task_without_words_is_refused(cases):
    with pytest.raises(InputError, match="no masks of the task 'retina'"):
        check_words([*cases, replace(cases[0], task="retina", image=Path("x"))])
