"""The segmentation by the trained ensemble: what the annotators' labels and the gated pseudo-labels taught it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from medclipsam_monai.label.http_errors import CONFLICT, http_errors
from medclipsam_monai.label.models import ServedModels
from medclipsam_monai.label.options import number_option, refuse_misspelt
from medclipsam_monai.label.tasks.answers import centroids, send_label
from medclipsam_monai.label.viewers import answer_numbers, numbered
from medclipsam_monai.prompts import parse_targets

NOT_TRAINED = "there is no trained ensemble yet: train first, or start the server with --conf ensemble FILE"


class WeakSegmentation(InferTask):
    """The nnU-Net ensemble, the newest whole one at each request.

    Args:
        models: the networks.
    """

    def __init__(self, models: ServedModels) -> None:
        super().__init__(
            type=InferType.SEGMENTATION,
            labels=[],
            dimension=3,
            description="Segments by the nnU-Net ensemble that was trained on the labels and on pseudo-labels",
            config={"threshold": 0.5},
        )
        self.models = models

    def is_valid(self) -> bool:
        """Whether there is an ensemble; clients are not shown the task before."""
        return self.models.ensemble_file.is_file()

    def info(self) -> dict[str, Any]:
        """As MONAI Label's, with the server's classes up to the last one of the ensemble that is served now."""
        with http_errors():
            ensemble = self.models.ensemble()
            targets = parse_targets(list(ensemble.names[1:])) if ensemble else ()
            last = max(self.models.classes.numbers(targets, keep=True), default=0)
        return {**super().info(), "labels": self.models.classes.names()[:last]}

    def check(self, request: Mapping[str, Any]) -> None:
        """The options of requests to come.

        Raises:
            InputError: one that cannot be used.
            HTTPException: 409 before the first training.
        """
        self._threshold(request)
        if not self.is_valid():
            raise HTTPException(CONFLICT, NOT_TRAINED)

    def _threshold(self, request: Mapping[str, Any]) -> float:
        refuse_misspelt(request, self.config())
        return number_option(request, "threshold", self.config()["threshold"], 0.01, 1)

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Segment ``request["image"]``; "threshold" is that of `EnsemblePrediction.label_map`.

        Returns:
            The label map's file, and "label_names", "uncertainty" (boundary-normalised entropy), "members", "seconds".

        Raises:
            InputError: an image or an option that cannot be used.
            HTTPException: 409 before the first training.
        """
        start = time.perf_counter()
        with self.models.lock:
            ensemble = self.models.ensemble()
            if ensemble is None:
                raise HTTPException(CONFLICT, NOT_TRAINED)
            threshold = self._threshold(request)
            prediction = ensemble.predict(Path(request["image"]), **ensemble.reading)
            assert prediction.geometry is not None  # it was read from a file
            targets = self.models.classes.served(parse_targets(list(prediction.names[1:])))
            numbers = answer_numbers(request, self.models.classes, targets)
            labels = numbered(prediction.label_map(threshold), list(numbers.values()))
            file = send_label(labels, prediction.geometry, request)
        return file, {
            "label_names": numbers,
            "centroids": centroids(labels, prediction.geometry, numbers),
            "uncertainty": prediction.score(threshold),
            "members": len(prediction.members),
            "seconds": round(time.perf_counter() - start, 3),
        }
