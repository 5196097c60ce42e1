"""A layer and a question in, labels on the layer's grid out; networks and image are kept for the next question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.windows import WindowLike
from medclipsam_monai.io import restore_geometry
from medclipsam_monai.napari.corrections import Correction
from medclipsam_monai.napari.layers import AS_SHOWN, LayerImage
from medclipsam_monai.presets import DEFAULT_PRESET
from medclipsam_monai.prompts import TextTarget
from medclipsam_monai.zero_shot.class_records import size_words
from medclipsam_monai.zero_shot.clicks.segment import segment_clicks
from medclipsam_monai.zero_shot.opened import OpenedImage
from medclipsam_monai.zero_shot.segmentation import Segmentation
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter
from medclipsam_monai.zero_shot.volumes.progress import Progress

_ALWAYS = {"presence_threshold": 0.0}


@dataclass(frozen=True)
class Question:
    """What the dock asks with.

    Attributes:
        texts: see `parse_targets`.
        preset: its name.
        device: see `resolve_device`.
        always: a mask at any price, for who knows that the target is there.
        window: see `DisplayRange`.
        slice_axis: see `TextSegmenter.open`.
    """

    texts: tuple[str, ...] = ()
    preset: str = DEFAULT_PRESET
    device: str = "auto"
    always: bool = False
    window: WindowLike | None = None
    slice_axis: str = "acquired"


@dataclass(frozen=True, eq=False)
class LayerLabels:
    """What was found.

    Attributes:
        labels: uint8 of the layer's shape, without colours: 0 background, else the class's place from 1.
        record: what `medclipsam segment` writes beside a mask, see `Segmentation.record`.
        warnings: a line for each thing that a person should know before using the labels.
    """

    labels: np.ndarray
    record: Mapping[str, Any]
    warnings: tuple[str, ...]

    @property
    def features(self) -> dict[str, list[Any]]:
        """A row for each label, the background's first, as a labels layer takes them."""
        classes = self.record["classes"]
        return {
            "index": [0, *(one["label"] for one in classes)],
            "class": ["background", *(one["name"] for one in classes)],
            "presence": [float("nan"), *(_number(one["presence"]) for one in classes)],
            "quality": [float("nan"), *(_number(one["quality"]) for one in classes)],
            "size": [float("nan"), *(_number(one["size"]) for one in classes)],
            "unit": ["", *(one["unit"] for one in classes)],
        }

    @property
    def report(self) -> list[str]:
        """A line for each class, then the warnings."""
        return [*map(_line, self.record["classes"]), *(f"Warning: {line}" for line in self.warnings)]


class Session:
    """The networks and the image that were asked last; not to be used by two threads at once."""

    def __init__(self) -> None:
        self._loaded: tuple[tuple[str, str], TextSegmenter] | None = None
        self._opened: tuple[tuple[Any, ...], OpenedImage] | None = None

    def segment(self, image: LayerImage, question: Question, progress: Progress = False) -> LayerLabels:
        """Segment a layer's image by text.

        Raises:
            InputError: an image, a text or a preset that cannot be used.
        """
        opened = self.open(image, question)
        settings = _ALWAYS if question.always else None
        found = opened(list(question.texts), settings=settings, progress=progress)
        return _on_layer(image, found)

    def correct(
        self,
        image: LayerImage,
        question: Question,
        correction: Correction,
        labels: np.ndarray,
        number: int,
        target: TextTarget | None = None,
    ) -> np.ndarray:
        """Ask the segmenter anew in the slices that hold points or boxes.

        Args:
            image: that was drawn on.
            question: as the labels were made with; its texts are not read.
            correction: what was drawn.
            labels: of the image's shape; left as they are.
            number: the label that is corrected.
            target: the class of that label, whose text counts besides where no box is drawn; None for points alone.

        Returns:
            The labels, in these slices with the new mask in place of the old one of this label.

        Raises:
            InputError: labels of another shape, or what `Correction.clicks` refuses.
        """
        if labels.shape != image.shape:
            raise InputError(
                f"the labels' shape {labels.shape} is not that of {image.name!r}, {image.shape}; choose its own labels"
            )
        opened = self.open(image, question)
        segmenter = opened.segmenter.with_settings(_ALWAYS) if question.always else opened.segmenter
        clicks = correction.clicks(image, opened.geometry)
        mask = segment_clicks(opened, clicks, target, segmenter)
        asked = torch.zeros_like(mask)
        for slice_number in clicks:
            asked[(..., slice_number) if mask.ndim == 3 else ...] = True
        new, there = (image.restored(restore_geometry(one, opened.geometry)) for one in (mask, asked))
        corrected = labels.copy()
        corrected[there & (labels == number)] = 0
        corrected[new] = number
        return corrected

    def open(self, image: LayerImage, question: Question) -> OpenedImage:
        """The image as its array is now; what the networks made of it before is kept while nothing changed.

        Raises:
            InputError: an image or a preset that cannot be used.
        """
        segmenter = self._segmenter(question.preset, question.device)
        opened = segmenter.open(window=question.window, slice_axis=question.slice_axis, **image.to_open())
        key = (opened.sha256, segmenter, image.world, image.matrix.tobytes(), question.window, question.slice_axis)
        if self._opened is None or self._opened[0] != key:
            self._opened = (key, opened)
        return self._opened[1]

    def _segmenter(self, preset: str, device: str) -> TextSegmenter:
        if self._loaded is None or self._loaded[0] != (preset, device):
            self._loaded = self._opened = None  # the networks before go first
            self._loaded = ((preset, device), TextSegmenter.from_preset(preset, device))
        return self._loaded[1]


def _on_layer(image: LayerImage, found: Segmentation) -> LayerLabels:
    measured = found if image.known else replace(found, spacing=None)  # a size in voxels, not in millimetres
    record = {**measured.record({}), "input": image.name}
    return LayerLabels(image.restored(found.stored_mask()), record, (*found.warnings, *_doubts(image)))


def _doubts(image: LayerImage) -> list[str]:
    if len(image.shape) == 2 or image.world != AS_SHOWN or not image.turned:
        return []
    return ["the layer is turned in the world, and it is not known how the world lies in the patient: choose its axes"]


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _line(one: Mapping[str, Any]) -> str:
    told = [] if one["presence"] is None else [f"presence {one['presence']:.2f}"]
    if one.get("size_reason"):
        told.append("likely not there")
    if not one["pixels"]:
        told.append("nothing found")
    elif one["size"] is not None:
        told.append(size_words(one))
    if one["pixels"] and "slices" in one:
        told.append(one["slices"]["words"])
    return f"{one['name']}: {', '.join(told)}"


def sentences(record: Mapping[str, Any], name: str) -> TextTarget:
    """A class of a record as the target that it was asked for with."""
    texts: Mapping[str, Sequence[str]] = record["texts"]
    opposites: Mapping[str, Sequence[str]] = record["parameters"].get("opposites", {})
    return TextTarget(name, tuple(texts[name]), tuple(opposites.get(name, ())))
