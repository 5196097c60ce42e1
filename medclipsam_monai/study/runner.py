"""Scores of a case under every combination of a plan; each network sees an image once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from medclipsam_monai.metrics import pointing_game, score_masks
from medclipsam_monai.presets.preset import Preset
from medclipsam_monai.prompts import PromptSet, TextTarget, load_prompt_set
from medclipsam_monai.study.cases import Case
from medclipsam_monai.study.conditions import (
    FEW_SHOT,
    RIVALS,
    UNIVERSEG,
    VISUAL_PROMPTS,
    Plan,
    TextChoice,
    text_choices,
)
from medclipsam_monai.study.rivals.few_shot import FewShot
from medclipsam_monai.study.rivals.table import METHODS
from medclipsam_monai.zero_shot.encoded import EncodedImages, encode_texts, mean_direction
from medclipsam_monai.zero_shot.network import ZeroShotSegmenter


@dataclass(frozen=True)
class Row:
    """One image segmented in one way.

    Attributes:
        task: the case's.
        image: the case's name.
        saliency: method of the map, or a rival; that has neither coarse mask nor prompt, and no map to point with.
        coarse: how the map became a mask.
        prompt: what SAM was given; "none": the coarse mask is the result.
        text: which text.
        present: whether the target is there: its mask is not empty.
        dsc: Dice similarity coefficient in [0, 1]; both masks empty is 1.
        nsd: normalised surface Dice at 2 pixels, in [0, 1].
        iou: intersection over union in [0, 1].
        pointing: share of the map's peak inside the mask; NaN where the target is absent or there is no map.
        presence: cosine with the text minus cosine with its opposites; NaN where the prompt set has none.
        seconds: from picture to mask for this text alone, both networks' image encoding included.
    """

    task: str
    image: str
    saliency: str
    coarse: str
    prompt: str
    text: str
    present: bool
    dsc: float
    nsd: float
    iou: float
    pointing: float
    presence: float
    seconds: float


class StudyRunner:
    """Runs a plan with the networks of one preset.

    Args:
        network: its zero-shot network.
        preset: what it was made from; a task it has parameters for is segmented with those.
        plan: what is varied.
        prompt_sets: for tasks whose prompt set has another name or is a file.
        few_shot: for plans whose rivals are shown examples.

    Raises:
        InputError: a method's parameter in the preset that is none.
    """

    def __init__(
        self,
        network: ZeroShotSegmenter,
        preset: Preset,
        plan: Plan,
        prompt_sets: Mapping[str, str] | None = None,
        few_shot: FewShot | None = None,
    ) -> None:
        self.network, self.preset, self.plan = network, preset, plan
        self.few_shot = FewShot({}) if few_shot is None else few_shot
        self.prompt_sets = dict(prompt_sets or {})
        self._loaded: dict[str, PromptSet] = {}

    def prompts_of(self, task: str) -> PromptSet:
        """The prompt set of a task.

        Raises:
            InputError: there is none of that name.
        """
        if task not in self._loaded:
            self._loaded[task] = load_prompt_set(self.prompt_sets.get(task, task))
        return self._loaded[task]

    def preset_of(self, task: str) -> Preset:
        """The preset with a task's parameters, where it has any."""
        return self.preset.for_task(task) if task in self.preset.tasks else self.preset

    def rows(self, case: Case) -> Iterator[Row]:
        """The rows of one case, in the order saliency, coarse mask, visual prompt, text.

        Raises:
            InputError: a file of the case that cannot be used.
        """
        picture, truth = case.load()
        prompts, network = self.prompts_of(case.task), self._network(case.task)
        choices = text_choices(self.plan.texts, prompts, case.finding)
        images = network.encode_images(picture.unsqueeze(0))
        _, encoding = _timed(images.embeddings)
        presence = self._presence(images, choices, prompts)
        for saliency in self.plan.saliencies:
            maps, mapping = self._maps(images, choices, network.with_settings({"saliency.method": saliency}))
            pointing = pointing_game(maps, truth.expand(len(maps), -1, -1))
            for coarse in self.plan.coarse:
                for prompt in self.plan.prompts:
                    combination = (saliency, coarse, prompt)
                    masks, masking = _timed(partial(self._masks, images, maps, network, combination))
                    scores = score_masks(masks, truth.expand(len(masks), -1, -1))
                    for k, choice in enumerate(choices):
                        yield Row(
                            case.task,
                            case.name,
                            *combination,
                            choice.name,
                            bool(truth.any()),
                            round(scores.dsc[k], 5),
                            round(scores.nsd[k], 5),
                            round(scores.iou[k], 5),
                            round(float(pointing[k]), 5),
                            round(float(presence[k]), 6),
                            round(encoding * (prompt != "none") + mapping[k] + masking / len(choices), 4),
                        )

        for rival in (name for name in self.plan.rivals if name in RIVALS):
            for k, choice in enumerate(choices):
                mask, seconds = _timed(partial(self._rival, rival, images, network, choice))
                row = row_of_mask(case, rival, choice.name, mask, truth)
                yield replace(row, presence=round(float(presence[k]), 6), seconds=round(encoding + seconds, 4))
        for name in self.plan.few_shot:
            way = self.few_shot.way(name, case.task, network)
            mask, seconds = _timed(partial(way, images))
            row = row_of_mask(case, name, self.few_shot.text(case.task), mask, truth)
            yield replace(row, seconds=round(encoding * (name != UNIVERSEG) + seconds, 4))

    def masks(self, case: Case, saliency: str, coarse: str, prompt: str, text: str) -> tuple[Tensor, Tensor, Tensor]:
        """One combination again, to be looked at: picture (3, H, W), truth (H, W) and result (H, W)."""
        picture, truth = case.load()
        network = self._network(case.task)
        images = network.encode_images(picture.unsqueeze(0))
        if saliency in FEW_SHOT:
            return picture, truth, self.few_shot.way(saliency, case.task, network)(images)
        choices = text_choices(self.plan.texts, self.prompts_of(case.task), case.finding)
        chosen = [choice for choice in choices if choice.name == text]
        if saliency in RIVALS:
            return picture, truth, self._rival(saliency, images, network, chosen[0])
        maps, _ = self._maps(images, chosen, network.with_settings({"saliency.method": saliency}))
        return picture, truth, self._masks(images, maps, network, (saliency, coarse, prompt))[0]

    def _rival(self, name: str, images: EncodedImages, network: ZeroShotSegmenter, choice: TextChoice) -> Tensor:
        """A rival's mask (H, W) bool of one text; several sentences are asked by their mean vector."""
        return METHODS[name](
            network, images, encode_texts(network.encoder, [TextTarget(choice.name, choice.sentences)])
        )

    def _network(self, task: str) -> ZeroShotSegmenter:
        return self.network.using(self.preset_of(task).settings)

    def _presence(self, images: EncodedImages, choices: Sequence[TextChoice], prompts: PromptSet) -> Tensor:
        """(K,): cosine of the image with each text minus that with the set's opposites."""
        if not prompts.opposites:
            return torch.full((len(choices),), torch.nan)
        vectors = torch.stack([self._vector(choice.sentences) for choice in choices])
        return ((vectors - self._vector(prompts.opposites)) @ images.vectors()[0]).cpu()

    def _vector(self, sentences: tuple[str, ...]) -> Tensor:
        return mean_direction(self.network.encoder.encode_text(list(sentences)))

    def _maps(
        self, images: EncodedImages, choices: Sequence[TextChoice], network: ZeroShotSegmenter
    ) -> tuple[Tensor, list[float]]:
        """Maps (K, H, W) of the texts, and the seconds that each would take alone."""
        asked = dict.fromkeys(part for choice in choices for part in _parts(choice))
        vectors = torch.stack([self._vector(sentences) for sentences in asked])
        _, seconds = _timed(lambda: images.grids(network.saliency, list(asked), vectors))
        maps = []
        for choice in choices:
            ensemble = network.with_settings({"prompt_ensemble": "maps" if choice.over_maps else "embeddings"})
            texts = encode_texts(network.encoder, [TextTarget(choice.name, choice.sentences)])
            maps.append(ensemble.saliency_maps(images, texts)[0, 0].cpu())
        return torch.stack(maps), [seconds / len(asked) * len(_parts(choice)) for choice in choices]

    def _masks(
        self, images: EncodedImages, maps: Tensor, network: ZeroShotSegmenter, combination: tuple[str, str, str]
    ) -> Tensor:
        """Masks (K, H, W) bool from maps (K, H, W), by saliency, coarse mask and visual prompt."""
        chosen = network.using(self.plan.settings(network.settings, *combination))
        coarse = chosen.coarse_masks(maps, images.pictures[0])
        if VISUAL_PROMPTS[combination[-1]] is None:
            return coarse
        shape = (coarse.shape[-2], coarse.shape[-1])
        probability = chosen.masks(images.embeddings()[0], chosen.visual_prompts(coarse), shape).probability
        return chosen.merge(probability, coarse)


def row_of_mask(case: Case, way: str, text: str, mask: Tensor, truth: Tensor) -> Row:
    """The row of a way that goes from a text to a mask in one: of masks (H, W) bool, found and true."""
    score = score_masks(mask[None], truth[None])
    return Row(
        case.task,
        case.name,
        way,
        coarse="",
        prompt="",
        text=text,
        present=bool(truth.any()),
        dsc=round(score.dsc[0], 5),
        nsd=round(score.nsd[0], 5),
        iou=round(score.iou[0], 5),
        pointing=float("nan"),
        presence=float("nan"),
        seconds=float("nan"),
    )


def _parts(choice: TextChoice) -> tuple[tuple[str, ...], ...]:
    """The groups of sentences that get a map each."""
    return tuple((sentence,) for sentence in choice.sentences) if choice.over_maps else (choice.sentences,)


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    return call(), time.perf_counter() - start
