"""The shipped demo weights, held to a floor of DSC on phantoms that neither training nor the choice of weights saw.

Each phantom is a PNG file, the text of every target in it is asked for in one call, and the mask is read back from its
file, so the whole chain counts: prompts, axes, places and labels. The second half breaks the chain on purpose and looks
whether the floors notice.
"""

from __future__ import annotations

import numpy as np
import pytest
from phantom_floors import Answer, chosen_phantoms, means, segmented

from medclipsam_monai.phantoms import TASKS
from medclipsam_monai.transforms.prompts import PromptsFromMask, VisualPrompts
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter

MARGIN = 0.9
MEASURED = {
    ("breast_ultrasound", "benign tumour"): 0.96,
    ("breast_ultrasound", "malignant tumour"): 0.89,
    ("breast_ultrasound", "cyst"): 0.93,
    ("brain_mri", "ventricles"): 0.71,
    ("chest_xray", "lungs"): 0.96,
    ("chest_xray", "heart"): 0.70,
    ("chest_xray", "pleural effusion"): 0.48,
    ("chest_xray", "pacemaker"): 0.94,
    ("chest_ct", "lungs"): 0.91,
    ("chest_ct", "heart"): 0.96,
    ("chest_ct", "liver"): 0.97,
    ("chest_ct", "kidneys"): 0.96,
}
"""Mean DSC over the first five phantoms of SAMPLES that show the target; the floor is MARGIN times that.

The targets are those that the model card keeps. A change of rounding moves a mean by hundredths, a network that is
replaced may ask for new figures; both are less than what the faults below cost.
"""

pytestmark = pytest.mark.slow


def under_the_floor(found: dict[tuple[str, str], float]) -> set[tuple[str, str]]:
    return {pair for pair, mean in found.items() if mean < MARGIN * MEASURED[pair]}


@pytest.fixture(scope="module")
def segmenter() -> TextSegmenter:
    return TextSegmenter.from_preset("demo", device="cpu")


@pytest.fixture(scope="module")
def answers(segmenter, tmp_path_factory) -> list[Answer]:
    phantoms = [phantom for task in TASKS for phantom in chosen_phantoms(task, MEASURED)]
    return segmented(segmenter, phantoms, MEASURED, tmp_path_factory.mktemp("floor"))


@pytest.mark.parametrize("pair", MEASURED, ids=", ".join)
def test_the_shipped_weights_reach_the_floor(answers, pair):
    scores = means(answers)
    assert scores.keys() == MEASURED.keys()
    assert scores[pair] >= MARGIN * MEASURED[pair]


def _reversed(labels: np.ndarray) -> np.ndarray:
    return np.where(labels > 0, labels.max() + 1 - labels, 0)


@pytest.mark.parametrize(
    ("change", "least"),
    [
        (lambda labels: np.roll(labels, (10, 10), (0, 1)), 12),
        (lambda labels: np.roll(labels, 10, 1), 11),
        (np.fliplr, 12),
        (np.flipud, 11),
        (np.transpose, 12),
        (_reversed, 11),
    ],
    ids=["10 px down and right", "10 px right", "left and right", "up and down", "x and y", "order of the classes"],
)
def test_a_mask_out_of_place_is_under_the_floor(answers, change, least):
    assert len(under_the_floor(means(answers, change))) >= least


def _swapped(prompts: VisualPrompts, boxes: bool) -> VisualPrompts:
    """x and y changed over: of the points, and of the boxes if they are to be."""
    corners = prompts.boxes[:, [1, 0, 3, 2]] if boxes else prompts.boxes
    return VisualPrompts(corners, prompts.points.flip(-1), prompts.labels)


@pytest.mark.parametrize(
    ("boxes", "tasks", "wanted"),
    [
        (True, TASKS, set(MEASURED)),
        (False, ["chest_xray"], {("chest_xray", "pacemaker")}),
    ],
    ids=["boxes and points", "points"],
)
def test_prompts_with_x_and_y_swapped_are_under_the_floor(segmenter, monkeypatch, tmp_path, boxes, tasks, wanted):
    make = PromptsFromMask.__call__
    monkeypatch.setattr(PromptsFromMask, "__call__", lambda self, img: [_swapped(p, boxes) for p in make(self, img)])
    phantoms = [phantom for task in tasks for phantom in chosen_phantoms(task, MEASURED)]
    assert under_the_floor(means(segmented(segmenter, phantoms, MEASURED, tmp_path))) >= wanted
