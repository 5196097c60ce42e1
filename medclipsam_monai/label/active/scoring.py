"""Scores of the datastore's images, the less sure the higher, kept in what the datastore knows of each image.

Before any training: how much the zero-shot masks depend on the wording. Afterwards: the entropy of the trained
ensemble. A score says what it was made with; an image is scored again when that, or its file, is another.
"""

from __future__ import annotations

import hashlib
import logging
from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.exception import ImageNotFoundException
from monailabel.interfaces.tasks.scoring import ScoringMethod

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.label.active.disagreement import prompt_disagreement
from medclipsam_monai.label.active.embeddings import file_key
from medclipsam_monai.label.models import ServedModels
from medclipsam_monai.label.options import (
    PROCESS_OPTIONS,
    TextOptions,
    preset_choices,
    read_text_options,
    refuse_unknown,
    text_config,
)
from medclipsam_monai.presets import DEFAULT_PRESET
from medclipsam_monai.weak.ensemble.checkpoint_ensemble import CheckpointEnsemble
from medclipsam_monai.zero_shot.wordings.agreement import wordings

logger = logging.getLogger(__name__)

ENSEMBLE_ENTROPY = "ensemble_entropy"
PROMPT_DISAGREEMENT = "prompt_disagreement"
_WORDING_OPTIONS = ("text", "opposites", "preset", "window", "slice_axis")


class ImageScoring(ScoringMethod):
    """Scores all images of a datastore, those that are labelled too: it tells which labels to look at again.

    Args:
        models: the networks.
        key: under which an image's score is kept, beside "KEY_of": what it was made with.
        description: what clients show.
    """

    def __init__(self, models: ServedModels, key: str, description: str) -> None:
        super().__init__(description)
        self.models, self.key = models, key

    @abstractmethod
    def scorer(self, request: Mapping[str, Any]) -> tuple[str, Callable[[Path], float]] | None:
        """What scores with, as a hash, and the function of an image's path; None if there is nothing to score with yet.

        Raises:
            InputError: the request cannot be used.
        """

    def check(self, request: Mapping[str, Any]) -> None:
        """The options of a scoring, before it is queued.

        Raises:
            InputError: one that cannot be used.
        """
        refuse_unknown(request, [], [*PROCESS_OPTIONS, "method"])

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Score what has no score of this kind yet; a run that was stopped goes on.

        Returns:
            {"method", "scored", "kept": numbers of images, "failed": {image: why}, "note": if nothing could be done}.

        Raises:
            InputError: the request cannot be used.
        """
        summary: dict[str, Any] = {"method": self.key, "scored": 0, "kept": 0, "failed": {}}
        found = self.scorer(request)
        if found is None:
            return {**summary, "note": "there is no trained ensemble yet: train first"}
        made_with, score = found
        for image in datastore.list_images():
            try:
                summary["scored" if self._update(image, datastore, made_with, score) else "kept"] += 1
            except (InputError, OSError, ImageNotFoundException) as error:
                summary["failed"][image] = " ".join(str(error).split())
                logger.warning("image %s cannot be scored: %s", image, summary["failed"][image])
        return summary

    def _update(self, image: str, datastore: Datastore, made_with: str, score: Callable[[Path], float]) -> bool:
        """Score an image and keep the score; False where it has this very score already."""
        uri = datastore.get_image_uri(image)
        if not uri:
            raise InputError("was removed meanwhile")
        mark = hashlib.sha256(f"{made_with} {file_key(uri)}".encode()).hexdigest()[:16]
        if datastore.get_image_info(image).get(f"{self.key}_of") == mark:
            return False
        with self.models.lock:
            value = score(Path(uri))
        datastore.update_image_info(image, {self.key: round(value, 6), f"{self.key}_of": mark})
        return True


class EnsembleEntropyScoring(ImageScoring):
    """Boundary-normalised entropy of the trained ensemble, see `EnsemblePrediction.score`.

    Args:
        models: the networks.
    """

    def __init__(self, models: ServedModels) -> None:
        super().__init__(models, ENSEMBLE_ENTROPY, "How unsure the trained ensemble is, image by image")

    def scorer(self, request: Mapping[str, Any]) -> tuple[str, Callable[[Path], float]] | None:
        """The ensemble that is served now; it scores all images, also if another one takes its place meanwhile."""
        ensemble = self.models.ensemble()
        if ensemble is None:
            return None
        return ensemble_hash(ensemble), lambda path: ensemble.predict(path, **ensemble.reading).score()


class PromptDisagreementScoring(ImageScoring):
    """Disagreement of wordings of the text, see `prompt_disagreement`; needs no training.

    Args:
        models: the networks.
        text: the target where a request names none; several sentences of a class are its wordings.
        preset: name of the networks and their parameters.
    """

    def __init__(self, models: ServedModels, text: str = "lungs", preset: str = DEFAULT_PRESET) -> None:
        super().__init__(models, PROMPT_DISAGREEMENT, "How much the mask depends on the wording; needs no training")
        self.config = text_config(text, preset_choices(preset))

    def check(self, request: Mapping[str, Any]) -> None:
        """As `ImageScoring.check`, of the request's "text", "preset", "window" and "slice_axis"."""
        refuse_unknown(request, _WORDING_OPTIONS, [*PROCESS_OPTIONS, *self.config])
        self._options(request)

    def _options(self, request: Mapping[str, Any]) -> TextOptions:
        asked_for = {name: value for name, value in request.items() if name != "method"}  # there it names the scoring
        return read_text_options(asked_for, self.config)

    def scorer(self, request: Mapping[str, Any]) -> tuple[str, Callable[[Path], float]]:
        """The networks and wordings of the request's "text", "preset", "window" and "slice_axis"."""
        options = self._options(request)
        segmenter = self.models.text_segmenter(options.preset, options.method)
        asked = segmenter.request(options.targets, window=options.window, slice_axis=options.slice_axis).key("")
        words = [wording.sentences for target in options.targets for wording in wordings(target)]
        made_with = hashlib.sha256(f"{asked} {words}".encode()).hexdigest()

        def score(path: Path) -> float:
            opened = self.models.open(segmenter, path, options.window, options.slice_axis, keep=False)
            return prompt_disagreement(segmenter, opened, options.targets)

        return made_with, score


def ensemble_hash(ensemble: CheckpointEnsemble) -> str:
    """SHA-256 over the members' weights."""
    digest = hashlib.sha256()
    for member in ensemble.members:
        for name, tensor in sorted(member.weights().items()):
            digest.update(name.encode())
            digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
