"""The text segmentation of the app: an image and words in, a label map in the image's own geometry out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType
from torch import Tensor

from medclipsam_monai.base.checked_fields import shown
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import Geometry
from medclipsam_monai.label.examples.joined import Found, joined
from medclipsam_monai.label.models import ServedModels
from medclipsam_monai.label.options import (
    TextOptions,
    option,
    preset_choices,
    read_text_options,
    refuse_misspelt,
    split_texts,
    text_config,
)
from medclipsam_monai.label.tasks.answers import centroids, send_label
from medclipsam_monai.label.viewers import answer_numbers, numbered
from medclipsam_monai.presets import DEFAULT_PRESET
from medclipsam_monai.prompts import TextTarget, parse_targets
from medclipsam_monai.transforms import KeepLargestComponents
from medclipsam_monai.zero_shot.class_records import slices_of
from medclipsam_monai.zero_shot.opened import OpenedImage
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter


class TextSegmentation(InferTask):
    """Free text to masks: "lungs", or several classes as "lungs; heart", or "NAME=a sentence".

    Args:
        models: the networks.
        text: what a client shows as the text before its user changes it.
        preset: the preset a client shows first.

    Raises:
        InputError: a text that is none.
    """

    def __init__(self, models: ServedModels, text: str = "lungs", preset: str = DEFAULT_PRESET) -> None:
        models.classes.numbers(parse_targets(split_texts(text)))
        super().__init__(
            type=InferType.SEGMENTATION,
            labels=[],
            dimension=3,
            description="Segments what the text describes; several classes are separated by ';'",
            config=text_config(text, preset_choices(preset), models.examples.by_default),
        )
        self.models = models

    def is_valid(self) -> bool:
        return True

    def info(self) -> dict[str, Any]:
        """As MONAI Label's, with all classes of the server in the order of their numbers."""
        return {**super().info(), "labels": self.models.classes.names()}

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Segment ``request["image"]``; the options are those of `text_config`.

        Returns:
            The label map's file, and what a client gets with it: "label_names" (number by class, see
            `answer_numbers`), "centroids", "classes" (for each its pixels, presence, SAM's quality and object
            score, its boxes, how many examples showed it and, of a volume, its slices) and "seconds".

        Raises:
            InputError: an image or an option that cannot be used.
        """
        start = time.perf_counter()
        options = self._options(request)
        with self.models.lock:
            found, geometry, examples = self._segment(request["image"], options)
        labels = found.label_map
        if options.largest_component:
            labels = largest_components(labels, len(options.targets))
        numbers = answer_numbers(request, self.models.classes, options.targets)
        answered = numbered(labels, list(numbers.values()))
        file = send_label(answered, geometry, request)
        return file, {
            "label_names": numbers,
            "centroids": centroids(answered, geometry, numbers),
            "classes": _classes(found, geometry, labels, examples),
            "seconds": round(time.perf_counter() - start, 3),
        }

    def check(self, request: Mapping[str, Any]) -> None:
        """The options of requests to come.

        Raises:
            InputError: one that cannot be used.
        """
        self.models.classes.numbers(self._options(request).targets)

    def _options(self, request: Mapping[str, Any]) -> TextOptions:
        """The request's options; its classes are those of its text and those that OHIF's panel has ticked."""
        refuse_misspelt(request, self.config())
        ticked = [self.models.classes.target(number) for number in _label_prompt(request)]
        text = option(request, "text", "") if ticked else option(request, "text", self.config()["text"])
        asked = parse_targets(split_texts(text)) if text or not ticked else ()
        options = read_text_options(request, self.config(), [*asked, *(one for one in ticked if one not in asked)])
        return replace(options, targets=self.models.classes.served(options.targets))

    def _segment(self, image: str, options: TextOptions) -> tuple[Found, Geometry, list[int]]:
        """What is found of all classes, the image's geometry, and of each class how many examples showed it."""
        segmenter = options_segmenter(self.models, options)
        opened = self.models.open(segmenter, image, options.window, options.slice_axis)
        if not options.examples:
            return (
                self._answer(opened, segmenter, options.targets, options),
                opened.geometry,
                [0] * len(options.targets),
            )
        parts = [shown_segmenter(self.models, options, target, opened) for target in options.targets]
        keep = ("probability",) if len(parts) > 1 else ()
        answers = (self._answer(opened, shown, [target], options, keep) for shown, target, _ in parts)
        return joined(answers), opened.geometry, [count for _, _, count in parts]

    def _answer(
        self,
        opened: OpenedImage,
        segmenter: TextSegmenter,
        targets: Sequence[TextTarget],
        options: TextOptions,
        keep: Sequence[str] = (),
    ) -> Found:
        asked = segmenter.request(targets, window=options.window, slice_axis=options.slice_axis)
        return opened.answer(asked, segmenter, keep=keep).found


def options_segmenter(models: ServedModels, options: TextOptions) -> TextSegmenter:
    """The networks that a request's options ask for.

    Raises:
        InputError: weights are missing or broken.
    """
    return _with_threshold(models.text_segmenter(options.preset, options.method), options.threshold)


def shown_segmenter(
    models: ServedModels, options: TextOptions, target: TextTarget, opened: OpenedImage
) -> tuple[TextSegmenter, TextTarget, int]:
    """As `options_segmenter`, with the examples of a class, see `ServedExamples.shown`."""
    plain = models.text_segmenter(options.preset, options.method)

    def opener(image: Path) -> OpenedImage:
        return models.open(plain, image, options.window, options.slice_axis, keep=False)

    shown, described, count = models.examples.shown(plain, target, opened, options.window, opener)
    return _with_threshold(shown, options.threshold), described, count


def _with_threshold(segmenter: TextSegmenter, threshold: float) -> TextSegmenter:
    if threshold == segmenter.preset.settings.threshold:
        return segmenter
    return segmenter.with_settings({"threshold": threshold})


def largest_components(labels: Tensor, classes: int) -> Tensor:
    """Of each class 1..``classes`` of a label map (H, W[, D]) its largest component alone."""
    numbers = range(1, classes + 1)
    kept = torch.as_tensor(KeepLargestComponents(1)(torch.stack([labels == number for number in numbers])))
    return torch.where(kept.any(dim=0), labels, 0)


def _label_prompt(request: Mapping[str, Any]) -> list[int]:
    """Numbers of classes, as OHIF's class prompts send them."""
    numbers = request.get("label_prompt") or []
    if not isinstance(numbers, list) or not all(type(number) is int for number in numbers):
        raise InputError(f"label_prompt must be a list of numbers of classes, got {shown(numbers)}")
    return numbers


def _classes(found: Found, geometry: Geometry, labels: Tensor, examples: Sequence[int]) -> list[dict[str, Any]]:
    """What a client is told of each class; of a volume also the slices that show it, as the file counts them."""
    return [
        {
            "name": name,
            "pixels": int((labels == k + 1).sum()),
            "presence": found.presence[k],
            "quality": found.quality[k],
            "object_score": found.object_score[k],
            "boxes": found.boxes[k].round(decimals=2).tolist(),
            "examples": examples[k],
            **({"slices": slices_of(labels == k + 1, geometry)} if labels.ndim == 3 else {}),
        }
        for k, name in enumerate(found.names)
    ]
