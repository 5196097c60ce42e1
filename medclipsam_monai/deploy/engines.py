"""What segments a series: the zero-shot networks of a preset or of a bundle, or the checkpoint ensemble of a bundle."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from monai.utils import convert_to_tensor
from torch import Tensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.windows import WindowLike
from medclipsam_monai.io import Geometry, ImageSource, build_record, class_sizes, hash_files, read_image, request_key
from medclipsam_monai.io.dicom_seg.algorithm import Algorithm
from medclipsam_monai.prompts import OppositesLike, TextLike
from medclipsam_monai.transforms import DisplayRange
from medclipsam_monai.weak.ensemble.checkpoint_ensemble import CheckpointEnsemble
from medclipsam_monai.weak.nnunet.case_image import to_case_image
from medclipsam_monai.zero_shot.segmentation import Request
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter


@dataclass(frozen=True)
class Wish:
    """What is to be segmented, and how it is shown to the networks.

    Attributes:
        text: see `parse_targets`; None for what the engine has of its own.
        opposites: see `parse_targets`.
        window: see `parse_window`; None for the DICOM's own.
        slice_axis: how volumes are cut: "acquired", "axial", "coronal" or "sagittal".
        pictures: how many overlay pictures a series gets at most.
    """

    text: TextLike | None = None
    opposites: OppositesLike | None = None
    window: str | None = None
    slice_axis: str = "acquired"
    pictures: int = 12


@dataclass(frozen=True)
class EngineResult:
    """What was found in one series.

    Attributes:
        names: the K classes.
        label_map: (H, W[, D]) uint8, upright: 0 background, else the class's place from 1.
        display: (3, H, W[, D]) in [0, 1], upright: what the pictures are drawn on.
        geometry: puts both back on the files' own array.
        record: what `build_record` says, without outputs.
    """

    names: tuple[str, ...]
    label_map: Tensor
    display: Tensor
    geometry: Geometry
    record: dict[str, Any]


class EngineRequest(Protocol):
    """A wish made ready by an engine."""

    def key(self, input_sha256: str) -> str:
        """Hash of all that decides the result for one input."""


class Engine(Protocol):
    """Loaded networks."""

    algorithm: Algorithm

    def request(self, wish: Wish) -> Any:
        """Make a wish ready: an `EngineRequest`.

        Raises:
            InputError: the engine cannot fulfil it.
        """

    def find(self, source: ImageSource, request: Any) -> EngineResult:
        """Read a series and segment it.

        Raises:
            InputError: the series cannot be used.
        """


class TextEngine:
    """Segmentation by text.

    Args:
        segmenter: loaded networks.
        text: what to segment where a wish names nothing.
        opposites: see `parse_targets`, for that text.
        window: for wishes without one.
    """

    def __init__(
        self,
        segmenter: TextSegmenter,
        text: TextLike | None = None,
        opposites: OppositesLike | None = None,
        window: WindowLike | None = None,
    ) -> None:
        self.segmenter, self.text, self.opposites, self.window = segmenter, text, opposites, window
        self.algorithm = Algorithm(segmenter.preset.name, segmenter.weights)

    def request(self, wish: Wish) -> Request:
        """See `Engine`."""
        own = wish.text is None
        request = self.segmenter.request(
            self.text if own else wish.text,
            self.opposites if own and wish.opposites is None else wish.opposites,
            self.window if wish.window is None else wish.window,
            wish.slice_axis,
        )
        return replace(request, parameters={**request.parameters, "pictures": wish.pictures})

    def find(self, source: ImageSource, request: Request) -> EngineResult:
        """See `Engine`."""
        # The package's reader, not the SDK's series-to-volume operator: that one swaps the two numbers of PixelSpacing,
        # takes one series a run, and makes no volume of a multi-frame image.
        answer = replace(self.segmenter.answer(source, request), name=source.stem)
        return EngineResult(answer.found.names, answer.label_map, answer.display, answer.geometry, answer.record({}))


@dataclass(frozen=True)
class EnsembleRequest:
    """An ensemble's classes are its own; only how it is shown the image can be asked."""

    names: tuple[str, ...]
    preset: str
    weights: Mapping[str, str]
    parameters: Mapping[str, Any]

    @property
    def texts(self) -> dict[str, list[str]]:
        """No sentences: the classes were learnt."""
        return {name: [] for name in self.names}

    def key(self, input_sha256: str) -> str:
        """See `EngineRequest`."""
        return request_key(self.texts, self.preset, self.weights, self.parameters, input_sha256)


class EnsembleEngine:
    """Segmentation by a checkpoint ensemble that was trained on what a text found.

    Args:
        ensemble: the checkpoints.
        name: of the bundle.
        weights: SHA-256 of its file, by name.
        window: how the training saw 2-D images.
        slice_axis: how the training cut volumes; the wish has no say in it.
        threshold: of 1 - p(background).
    """

    def __init__(
        self,
        ensemble: CheckpointEnsemble,
        name: str,
        weights: Mapping[str, str],
        window: WindowLike | None = None,
        slice_axis: str = "acquired",
        threshold: float = 0.5,
    ) -> None:
        self.ensemble, self.window = ensemble, window
        self.slice_axis, self.threshold = slice_axis, threshold
        self.algorithm = Algorithm(name, weights)

    def request(self, wish: Wish) -> EnsembleRequest:
        """See `Engine`."""
        names = self.ensemble.names[1:]
        if wish.text is not None or wish.opposites is not None:
            raise InputError(f"the bundle's classes are those of its training ({', '.join(names)}); leave the text out")
        parameters = {
            "window": self.window if wish.window is None else wish.window,
            "slice_axis": self.slice_axis,
            "threshold": self.threshold,
            "pictures": wish.pictures,
        }
        return EnsembleRequest(names, self.algorithm.preset, self.algorithm.weights, parameters)

    def find(self, source: ImageSource, request: EnsembleRequest) -> EngineResult:
        """See `Engine`."""
        window, start = request.parameters["window"], time.perf_counter()
        image = read_image(source, self.slice_axis)
        prediction = self.ensemble.predict_case(to_case_image(image, window))
        labels = prediction.label_map(self.threshold)
        geometry = image.meta["geometry"]
        sizes = class_sizes(labels, image.meta["spacing"], request.names, geometry.voxel_volumes)
        record = build_record(
            input_name=source.stem,
            input_sha256=image.meta.get("sha256") or hash_files(source.files),
            texts=request.texts,
            preset=request.preset,
            weights=request.weights,
            parameters=request.parameters,
            classes=[{**size, "fraction": size["pixels"] / labels.numel(), "presence": None} for size in sizes],
            outputs={},
            seconds=time.perf_counter() - start,
        )
        record["uncertainty"] = prediction.score(self.threshold)
        display = convert_to_tensor(DisplayRange(window).view(image), track_meta=False)
        return EngineResult(request.names, labels, display, geometry, record)
