"""What weak supervision is worth: zero-shot masks, the last checkpoint and the ensemble on images with true masks.

The images are none of those that were trained on. The zero-shot masks are those that pseudo-labels are made of, here
without the quality gate: every image counts.
"""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import write_text
from medclipsam_monai.base.json_files import write_json
from medclipsam_monai.io import find_inputs
from medclipsam_monai.io.label_maps import find_given, read_label_map
from medclipsam_monai.metrics import score_masks
from medclipsam_monai.prompts import OppositesLike, TextLike
from medclipsam_monai.weak.ensemble.checkpoint_ensemble import CheckpointEnsemble
from medclipsam_monai.weak.ensemble.uncertainty import correlation, retention_curve
from medclipsam_monai.weak.folders import WorkFolders
from medclipsam_monai.weak.nnunet.case_image import read_case_image
from medclipsam_monai.weak.pseudo.labels import write_pseudo_labels
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter

METHODS = ("zero_shot", "last_checkpoint", "ensemble")
TOLERANCE = 2.0
"""Of the NSD, in pixels, as in the papers."""


@dataclass(frozen=True)
class ImageResult:
    """How the methods did on one image.

    Attributes:
        stem: its name.
        image: its file.
        zero_shot: its zero-shot mask.
        truth: its true mask.
        dsc: mean over the classes by method.
        nsd: the same.
        score: the ensemble's boundary-normalised uncertainty, see `uncertainty_score`.
        mean_entropy: of the ensemble, in bits.
    """

    stem: str
    image: Path
    zero_shot: Path
    truth: Path
    dsc: dict[str, float]
    nsd: dict[str, float]
    score: float
    mean_entropy: float


@dataclass(frozen=True)
class EvaluationFolders:
    """Where an evaluation lies.

    Args:
        root: the folder for it.
    """

    root: Path

    @property
    def zero_shot(self) -> WorkFolders:
        """The zero-shot masks of the test images."""
        return WorkFolders(self.root / "zero_shot")

    @property
    def ensemble(self) -> Path:
        """The ensemble's masks, maps and records."""
        return self.root / "ensemble"

    @property
    def table(self) -> Path:
        return self.root / "cases.csv"

    @property
    def summary(self) -> Path:
        return self.root / "summary.json"


def evaluate(
    segmenter: TextSegmenter,
    ensemble: CheckpointEnsemble,
    test_dir: str | Path,
    text: TextLike,
    output: str | Path,
    opposites: OppositesLike | None = None,
    threshold: float = 0.5,
) -> list[ImageResult]:
    """Segment test images in three ways and score them; writes the masks, a table and a summary.

    Images are read as they were for training.

    Args:
        segmenter: the networks that made the pseudo-labels.
        ensemble: the trained one.
        test_dir: ``images/`` and, under the same names, ``labels/``.
        text: as in training.
        output: folder for all of it.
        opposites: as in training.
        threshold: see `EnsemblePrediction.label_map`.

    Raises:
        InputError: no image, an image without its label, or a label of another size.
    """
    folders = EvaluationFolders(Path(output))
    images, labels = Path(test_dir) / "images", Path(test_dir) / "labels"
    if not images.is_dir() or not labels.is_dir():
        raise InputError(f"{test_dir}: must hold the folders images and labels")
    stems = [source.stem for source in find_inputs([images])]
    truth = find_given(labels, stems)
    missing = [stem for stem in stems if stem not in truth]
    if missing:
        raise InputError(f"{labels}: {len(missing)} of {len(stems)} images have no label, the first is {missing[0]}")
    zero_shot = write_pseudo_labels(segmenter, [images], text, folders.zero_shot, opposites, **ensemble.reading)
    last = ensemble.member_alone(-1)
    results = []
    for label in zero_shot:
        case = read_case_image(label.image, **ensemble.reading)
        found = ensemble.predict_case(case)
        found.save(folders.ensemble, label.stem, threshold)
        single = last.predict_case(case).label_map(threshold)
        given, true = (
            torch.from_numpy(read_label_map(path, case.geometry, ensemble.names[1:]))
            for path in (label.mask, truth[label.stem])
        )
        masks = dict(zip(METHODS, (given, single, found.label_map(threshold)), strict=True))
        scores = {name: _scores(mask, true, len(ensemble.names) - 1) for name, mask in masks.items()}
        results.append(
            ImageResult(
                label.stem,
                label.source,
                label.mask,
                truth[label.stem],
                {name: dsc for name, (dsc, _) in scores.items()},
                {name: nsd for name, (_, nsd) in scores.items()},
                found.score(threshold),
                float(found.entropy.mean()),
            )
        )
    write_results(results, folders)
    return results


def _scores(labels: Tensor, truth: Tensor, classes: int) -> tuple[float, float]:
    """Mean DSC and NSD over the classes."""
    numbers = range(1, classes + 1)
    found, true = (torch.stack([values == number for number in numbers]) for values in (labels, truth))
    scores = score_masks(found, true, TOLERANCE)
    return statistics.mean(scores.dsc), statistics.mean(scores.nsd)


def write_results(results: Sequence[ImageResult], folders: EvaluationFolders) -> None:
    """Write ``cases.csv`` and ``summary.json``."""
    text = io.StringIO()
    columns = [f"{metric}_{name}" for metric in ("dsc", "nsd") for name in METHODS]
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["case", *columns, "score", "mean_entropy"])
    for result in results:
        values = [getattr(result, metric)[name] for metric in ("dsc", "nsd") for name in METHODS]
        table.writerow([result.stem, *(round(v, 5) for v in (*values, result.score, result.mean_entropy))])
    write_text(folders.table, text.getvalue())
    write_json(summarise(results), folders.summary)


def summarise(results: Sequence[ImageResult]) -> dict[str, Any]:
    """Means, deviations, and what the uncertainty is worth."""
    methods = {
        name: {
            metric: {
                "mean": float(np.mean([getattr(result, metric)[name] for result in results])),
                "std": float(np.std([getattr(result, metric)[name] for result in results])),
            }
            for metric in ("dsc", "nsd")
        }
        for name in METHODS
    }
    dsc = [result.dsc["ensemble"] for result in results]
    fit = correlation([result.score for result in results], dsc)
    curve = retention_curve([1 - value for value in dsc], [result.score for result in results])
    return {
        "images": len(results),
        "nsd_tolerance_px": TOLERANCE,
        "methods": methods,
        "score_against_dsc": {"pearson": _known(fit.pearson), "spearman": _known(fit.spearman)},
        "error_retention": {
            "area": curve.area,
            "random_area": curve.random_area,
            "oracle_area": curve.oracle_area,
            "rejection_ratio": _known(curve.rejection_ratio),
        },
    }


def _known(value: float) -> float | None:
    """None for a figure that so few or so equal images do not have; JSON knows no NaN."""
    return None if math.isnan(value) else value
