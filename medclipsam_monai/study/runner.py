"""Scores of a case under every combination of a plan; each network sees an image once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from medclipsam_monai.metrics import pointing_game, score_masks
from medclipsam_monai.networks.sam.segmenter import ImageEmbedding
from medclipsam_monai.presets.methods import checked, make_coarse, make_saliency
from medclipsam_monai.presets.preset import Preset
from medclipsam_monai.prompts import PromptSet, load_prompt_set
from medclipsam_monai.saliency.maps import consensus
from medclipsam_monai.study.cases import Case
from medclipsam_monai.study.conditions import VISUAL_PROMPTS, Plan, TextChoice, text_choices
from medclipsam_monai.transforms import PromptsFromMask
from medclipsam_monai.zero_shot.network import EncodedTargets, ZeroShotSegmenter


@dataclass(frozen=True)
class Row:
    """One image segmented in one way.

    Attributes:
        task: the case's.
        image: the case's name.
        saliency: method of the map.
        coarse: how the map became a mask.
        prompt: what SAM was given; "none": the coarse mask is the result.
        text: which text.
        present: whether the target is there: its mask is not empty.
        dsc: Dice similarity coefficient in [0, 1]; both masks empty is 1.
        nsd: normalised surface Dice at 2 pixels, in [0, 1].
        iou: intersection over union in [0, 1].
        pointing: share of the map's peak inside the mask; NaN where the target is absent.
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

    Raises:
        InputError: a method's parameter in the preset that is none.
    """

    def __init__(
        self, network: ZeroShotSegmenter, preset: Preset, plan: Plan, prompt_sets: Mapping[str, str] | None = None
    ) -> None:
        self.network, self.preset, self.plan = network, preset, plan
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
        prompts, preset = self.prompts_of(case.task), self.preset_of(case.task)
        choices = text_choices(self.plan.texts, prompts, case.finding)
        batch = picture.unsqueeze(0).to(self.network.encoder.device)
        embedding, encoding = _timed(lambda: self.network.encode_image(batch))
        presence = self._presence(batch, choices, prompts)
        for saliency in self.plan.saliencies:
            maps, mapping = self._maps(batch, choices, preset, saliency)
            pointing = pointing_game(maps, truth.expand(len(maps), -1, -1))
            for coarse in self.plan.coarse:
                for prompt in self.plan.prompts:
                    combination = (saliency, coarse, prompt)
                    masks, masking = _timed(partial(self._masks, batch, maps, embedding, preset, *combination))
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

    def masks(self, case: Case, saliency: str, coarse: str, prompt: str, text: str) -> tuple[Tensor, Tensor, Tensor]:
        """One combination again, to be looked at: picture (3, H, W), truth (H, W) and result (H, W)."""
        picture, truth = case.load()
        preset = self.preset_of(case.task)
        choices = text_choices(self.plan.texts, self.prompts_of(case.task), case.finding)
        chosen = [choice for choice in choices if choice.name == text]
        batch = picture.unsqueeze(0).to(self.network.encoder.device)
        maps, _ = self._maps(batch, chosen, preset, saliency)
        found = self._masks(batch, maps, self.network.encode_image(batch), preset, saliency, coarse, prompt)
        return picture, truth, found[0]

    @torch.no_grad()
    def _presence(self, image: Tensor, choices: Sequence[TextChoice], prompts: PromptSet) -> Tensor:
        """(K,): cosine of the image with each text minus that with the set's opposites."""
        if not prompts.opposites:
            return torch.full((len(choices),), torch.nan)
        embedding = F.normalize(self.network.encoder.encode_image(image)[0], dim=-1)
        vectors = torch.stack([self._vector(choice.sentences) for choice in choices])
        return ((vectors - self._vector(prompts.opposites)) @ embedding).cpu()

    def _vector(self, sentences: tuple[str, ...]) -> Tensor:
        return F.normalize(self.network.encoder.encode_text(list(sentences)).mean(dim=0), dim=0)

    def _maps(
        self, image: Tensor, choices: Sequence[TextChoice], preset: Preset, saliency: str
    ) -> tuple[Tensor, list[float]]:
        """Maps (K, H, W) of the texts, and the seconds that each would take alone."""
        asked = dict.fromkeys(part for choice in choices for part in _parts(choice))
        vectors = torch.stack([self._vector(sentences) for sentences in asked])
        method = make_saliency(preset.with_settings({"saliency.method": saliency}).saliency)
        found, seconds = _timed(lambda: method(self.network.encoder, image, vectors)[0].cpu())
        by_text = dict(zip(asked, found, strict=True))
        maps = [consensus(torch.stack([by_text[part] for part in _parts(choice)])) for choice in choices]
        return torch.stack(maps), [seconds / len(asked) * len(_parts(choice)) for choice in choices]

    def _masks(
        self, image: Tensor, maps: Tensor, embedding: list[ImageEmbedding], preset: Preset, *combination: str
    ) -> Tensor:
        """Masks (K, H, W) bool from maps (K, H, W), by saliency, coarse mask and visual prompt."""
        chosen, prompt = self.plan.preset(preset, *combination), combination[-1]
        make_mask = make_coarse(chosen.coarse)
        if VISUAL_PROMPTS[prompt] is None:
            return torch.as_tensor(make_mask(maps, image[0].cpu()))
        options: dict[str, Any] = {"fusion": chosen.fusion, "threshold": chosen.threshold, "amp": self.network.amp}
        network = ZeroShotSegmenter(
            self.network.encoder,
            self.network.segmenter,
            lambda *_: maps.unsqueeze(0),
            make_mask,
            checked("prompts", PromptsFromMask, chosen.prompts),
            **options,
        )
        names = tuple(str(k) for k in range(len(maps)))
        unused = torch.zeros(len(maps), 1)
        targets = EncodedTargets(names, tuple(unused.split(1)), unused, (None,) * len(maps))
        return network.segment_encoded(image, embedding, targets)[0].mask


def _parts(choice: TextChoice) -> tuple[tuple[str, ...], ...]:
    """The groups of sentences that get a map each."""
    return tuple((sentence,) for sentence in choice.sentences) if choice.over_maps else (choice.sentences,)


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    return call(), time.perf_counter() - start
