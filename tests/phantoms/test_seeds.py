"""The table of seed ranges: nothing is measured, shipped or chosen on a phantom that something learns from."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.finetune.data.phantoms import phantom_pairs
from medclipsam_monai.finetune.saliency_scores import read_masked_images
from medclipsam_monai.phantoms import TASKS, make_phantom
from medclipsam_monai.phantoms import seeds as table
from medclipsam_monai.phantoms.folder import draw_phantom_folder
from medclipsam_monai.phantoms.samples import sample_folder, sample_pictures
from medclipsam_monai.phantoms.seeds import SEED_RANGES, SeedRange


def test_no_two_ranges_share_a_seed():
    assert len(SEED_RANGES) == len({one.name for one in SEED_RANGES}) == 19
    for one, other in combinations(SEED_RANGES, 2):
        assert one.first + one.count <= other.first or other.first + other.count <= one.first, (one, other)


def test_what_is_published_was_made_from_these_seeds():
    published = {
        "DEMO_TRAINING": 0,
        "DEMO_PARTNERS": 50_000_000,
        "DEMO_WORDS": 10_000_000,
        "DEMO_SELECTION": 900_000,
        "DEMO_EVALUATION": 2_100_000,
        "SAMPLES": 3_000_000,
        "GATE": 3_200_000,
        "WEAK_SUPERVISION": 4_000_000,
        "STUDY": 5_000_000,
    }
    assert {name: getattr(table, name).first for name in published} == published


def test_some_seeds_of_a_range_lie_in_it():
    numbers = SeedRange("some", 100, 10, "")
    assert list(numbers.seeds(3)) == [100, 101, 102]
    assert list(numbers.seeds(3, start=7)) == [107, 108, 109]
    for count, start in ((11, 0), (4, 7), (1, 10), (1, -1), (-1, 0)):
        with pytest.raises(InputError, match=f"phantoms of some have numbers from 0 to 9, got {count} from {start} on"):
            numbers.seeds(count, start)


def test_the_shipped_pictures_are_drawn_from_their_range():
    drawn = {path.name: np.array(Image.open(path)) for path in (sample_folder() / "images").iterdir()}
    chests = (make_phantom("chest_xray", seed, captions=0) for seed in table.SAMPLES.seeds(20, start=1000))
    lungs = [phantom.image for phantom in chests if "lungs" in phantom.masks]
    for name, image in zip(sorted(drawn), lungs, strict=False):
        # rounded to grey levels: a processor with other instructions may round a value at 0.5 the other way
        assert np.abs(drawn[name] - image * 255.0).max() < 0.5 + 1e-4


def test_the_default_pairs_to_fine_tune_on_hold_no_shipped_picture():
    seeds = {int(pair.case.split("/")[1]) for pair in phantom_pairs(9)}
    assert seeds == set(table.FINE_TUNING.seeds(3))
    with pytest.raises(InputError, match="phantoms of fine-tuning have numbers"):
        phantom_pairs(len(TASKS) * table.FINE_TUNING.count + 1)
    assert len(sample_pictures()) == 8


def test_saliency_is_scored_on_phantoms_of_its_own():
    first = next(read_masked_images("phantoms", 1))
    phantom = make_phantom(TASKS[0], table.SALIENCY_SCORES.first, captions=0)
    assert np.array_equal(first.image[1], phantom.image) and first.text in phantom.masks
    assert np.array_equal(first.mask, phantom.masks[first.text])
    assert len(list(read_masked_images("phantoms", 5))) == 5


def test_folders_of_two_sets_share_no_phantom(tmp_path):
    first, second = (draw_phantom_folder(tmp_path / str(n), "chest_xray", "heart", 3, set_number=n) for n in (0, 99))
    names = [{path.stem for path in (folder / "images").iterdir()} for folder in (first, second)]
    seeds = [sorted(int(name.split("_")[-1]) for name in some) for some in names]
    assert [len(some) for some in seeds] == [3, 3]
    assert seeds[0][0] >= 4_000_000 and seeds[0][-1] < 4_010_000
    assert seeds[1][0] >= 4_990_000 and seeds[1][-1] < 5_000_000


@pytest.mark.parametrize("number", [-1, 100])
def test_a_set_that_there_is_not_is_refused(tmp_path, number):
    with pytest.raises(InputError, match=f"phantoms come in sets 0 to 99, got set {number}"):
        draw_phantom_folder(tmp_path, "chest_xray", "heart", 1, set_number=number)
