"""Scores of a case by the lines of the table that share networks; those see an image once."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from medclipsam_monai.prompts import TextTarget
from medclipsam_monai.study.cases import Case
from medclipsam_monai.study.conditions import FEW_SHOT, Plan, TextChoice, text_choices
from medclipsam_monai.study.paper.lines import CHAIN
from medclipsam_monai.study.paper.published import TASKS
from medclipsam_monai.study.paper.request import AS_PUBLISHED
from medclipsam_monai.study.rivals.few_shot import FewShot
from medclipsam_monai.study.rivals.table import METHODS, Rival
from medclipsam_monai.study.runner import Row, StudyRunner, row_of_mask
from medclipsam_monai.zero_shot.encoded import EncodedImages, EncodedTexts, encode_texts
from medclipsam_monai.zero_shot.network import ZeroShotSegmenter
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter


def level_of(text: str, task: str) -> str:
    """The level that one of `TEXTS` stands for in a task."""
    return TASKS[task].text if text == AS_PUBLISHED else text


def chain(network: ZeroShotSegmenter, images: EncodedImages, texts: EncodedTexts) -> Tensor:
    """The mask (H, W) bool of one text in one picture by the whole chain; as in a study, no presence is asked."""
    saliency = network.saliency_maps(images, texts)
    coarse = [network.coarse_masks(saliency[0], images.pictures[0])]
    (result,) = network.segment_coarse(images, texts.names, saliency, coarse, [(None,)])
    return result.mask[0].bool().cpu()


_WAYS: dict[str, Rival] = {CHAIN: chain, **METHODS}


class PaperRunner:
    """Runs lines of the table with the networks of one preset.

    Args:
        segmenter: the networks, and their preset with what it says of each task.
        prompt_sets: for tasks whose prompt set has another name or is a file.
        text: one of `TEXTS`.
        few_shot: the methods that are shown examples, where there are some.

    Raises:
        InputError: a task's parameters that do not fit the networks.
    """

    def __init__(
        self, segmenter: TextSegmenter, prompt_sets: dict[str, str], text: str, few_shot: FewShot | None = None
    ) -> None:
        self.text = text
        # Its own: what is made of examples is made with these networks, and goes with them.
        self.few_shot = FewShot({}) if few_shot is None else FewShot(few_shot.examples, few_shot.device)
        self._study = StudyRunner(segmenter.network, segmenter.preset, Plan(), prompt_sets)
        self._networks = {task: segmenter.network.using(self._study.preset_of(task).settings) for task in TASKS}

    def rows(self, case: Case, ways: Sequence[str]) -> dict[str, list[Row]]:
        """One row a way, with neither presence nor seconds.

        None of a way that takes a text where the case's prompt set has no such level, or not for its finding.

        Raises:
            InputError: a file of the case that cannot be used.
        """
        level = level_of(self.text, case.task)
        choices = text_choices([level], self._study.prompts_of(case.task), case.finding)
        picture, truth = case.load()
        images = self._networks[case.task].encode_images(picture.unsqueeze(0))
        rows: dict[str, list[Row]] = {}
        for way in ways:
            if way in FEW_SHOT:
                rows[way] = [self._shown(case, way, images, truth)]
            else:
                rows[way] = [self._row(case, way, choice, images, truth) for choice in choices]
        return rows

    def _row(self, case: Case, way: str, choice: TextChoice, images: EncodedImages, truth: Tensor) -> Row:
        network = self._networks[case.task]
        mask = _WAYS[way](network, images, encode_texts(network.encoder, [TextTarget(choice.name, choice.sentences)]))
        return row_of_mask(case, way, choice.name, mask, truth)

    def _shown(self, case: Case, way: str, images: EncodedImages, truth: Tensor) -> Row:
        mask = self.few_shot.way(way, case.task, self._networks[case.task])(images)
        return row_of_mask(case, way, self.few_shot.text(case.task), mask, truth)
