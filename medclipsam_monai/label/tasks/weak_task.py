"""The segmentation by the trained ensemble: what the annotators' labels and the gated pseudo-labels taught it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from medclipsam_monai.label.http_errors import CONFLICT, http_errors
from medclipsam_monai.label.models import ServedModels
from medclipsam_monai.label.options import number_option
from medclipsam_monai.label.tasks.answers import send_label

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
        """As MONAI Label's, with the classes of the ensemble that is served now."""
        with http_errors():
            ensemble = self.models.ensemble()
        return {**super().info(), "labels": list(ensemble.names[1:]) if ensemble else []}

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
            threshold = number_option(request, "threshold", self.config()["threshold"], 0.01, 1)
            prediction = ensemble.predict(Path(request["image"]), **ensemble.reading)
            assert prediction.geometry is not None  # it was read from a file
            file = send_label(prediction.label_map(threshold), prediction.geometry, request)
        return file, {
            "label_names": {name: number for number, name in enumerate(prediction.names[1:], start=1)},
            "uncertainty": prediction.score(threshold),
            "members": len(prediction.members),
            "seconds": round(time.perf_counter() - start, 3),
        }
