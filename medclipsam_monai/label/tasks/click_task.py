"""Correction by clicks and boxes: SAM answers from the embedding that the text segmentation left with the image."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType
from torch import Tensor

from medclipsam_monai.base.checked_fields import shown
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.label.models import ServedModels
from medclipsam_monai.label.options import (
    TextOptions,
    option,
    preset_choices,
    read_text_options,
    refuse_misspelt,
    text_config,
)
from medclipsam_monai.label.tasks.answers import send_label
from medclipsam_monai.label.tasks.clicks import read_clicks
from medclipsam_monai.label.tasks.text_task import largest_components, options_segmenter, shown_segmenter
from medclipsam_monai.label.viewers import answer_numbers, is_slicer, numbered
from medclipsam_monai.presets import DEFAULT_PRESET
from medclipsam_monai.prompts import TextTarget
from medclipsam_monai.zero_shot.clicks.segment import segment_clicks

_OBJECT = "object"
_PROMPTS = ("foreground", "background", "roi", "roi_order")


class ClickSegmentation(InferTask):
    """Clicks and a box to the mask of one class, on the slices that hold them; with a text, its box counts as well.

    Args:
        models: the networks.
        preset: the preset a client shows first.
    """

    def __init__(self, models: ServedModels, preset: str = DEFAULT_PRESET) -> None:
        super().__init__(
            type=InferType.DEEPGROW,
            labels=[],
            dimension=2,  # viewers then send the clicks of the slice shown, and replace the mask there only
            description="Segments what is clicked at or boxed; with a text, what the text describes is corrected",
            config=text_config("", preset_choices(preset), models.examples.by_default),
        )
        self.models = models

    def is_valid(self) -> bool:
        return True

    def check(self, request: Mapping[str, Any]) -> None:
        """Raises an InputError: clicks are of one image, and those of a batch are many."""
        raise InputError("clicks are made in one image at a time; a batch takes the models text and weak")

    def info(self) -> dict[str, Any]:
        """As MONAI Label's, with all classes of the server in the order of their numbers."""
        return {**super().info(), "labels": self.models.classes.names()}

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Segment at the request's clicks, see `read_clicks`; the options are those of `text_config`.

        Returns:
            The file of a label map of 0 and the class's number, and "label_names", "slices" (of the upright image) and
            "seconds". The class is that of the text, else the served one that "label" names; without either, and for
            a segment of 3D Slicer's own, the answer is a mask of 0 and 1.

        Raises:
            InputError: an image, a click or an option that cannot be used, or a "label" that is no served class.
        """
        start = time.perf_counter()
        refuse_misspelt(request, [*self.config(), *_PROMPTS])
        text = option(request, "text", "")
        options = read_text_options(request, self.config(), text or _OBJECT)
        if len(options.targets) > 1:
            raise InputError(f"clicks correct one class at a time, got {len(options.targets)}; give one text")
        target = self._target(request, options, bool(text))
        with self.models.lock:
            segmenter = options_segmenter(self.models, options)
            opened = self.models.open(segmenter, request["image"], options.window, options.slice_axis)
            clicks = read_clicks(request, opened.geometry)
            described = options.targets[0] if text else None
            if target and described and options.examples:
                segmenter, described, _ = shown_segmenter(self.models, options, target, opened)
            mask = segment_clicks(opened, clicks, described, segmenter)
        labels = mask.to(torch.uint8)
        if options.largest_component:
            labels = _largest_of_slices(labels, clicks)
        numbers = answer_numbers(request, self.models.classes, [target]) if target else {_OBJECT: 1}
        file = send_label(numbered(labels, list(numbers.values())), opened.geometry, request)
        return file, {
            "label_names": numbers,
            "slices": sorted(clicks),
            "seconds": round(time.perf_counter() - start, 3),
        }

    def _target(self, request: Mapping[str, Any], options: TextOptions, by_text: bool) -> TextTarget | None:
        """The class that is clicked at, None where the request names none.

        3D Slicer sends the name of the segment that is edited, whatever it is, and keeps the answer under that name.
        """
        classes, label = self.models.classes, request.get("label")
        if by_text:
            return classes.served(options.targets)[0]
        number = classes.number(label) if isinstance(label, str) else None
        if number is not None:
            return classes.target(number)
        if label not in (None, "") and not is_slicer(request):
            listed = ", ".join(classes.names())
            line = f"label must be a served class, one of {listed} (a new word is served once it was a text)"
            raise InputError(f"{line}, got {shown(label)}")
        return None


def _largest_of_slices(labels: Tensor, numbers: Iterable[int]) -> Tensor:
    """The largest component alone of each of some slices of labels (H, W[, D])."""
    for number in numbers:
        place = (..., number) if labels.ndim == 3 else ...
        labels[place] = largest_components(labels[place], 1)
    return labels
