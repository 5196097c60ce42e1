"""A report of segmentation scores: one row an image and class, and what they say together.

The rows go to a CSV file for whoever wants to look at single images; the summary goes to a JSON file with spread and a
confidence interval beside each mean, since a mean over a hundred images is easily off by a few points.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path

import numpy as np

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import write_text
from medclipsam_monai.base.json_files import write_json
from medclipsam_monai.metrics.segmentation import SegmentationScores

METRICS = ("dsc", "nsd", "iou")
CONFIDENCE = 0.95


@dataclass(frozen=True)
class ScoreRow:
    """Scores of one class of one image; units as in `SegmentationScores`."""

    image: str
    class_name: str
    dsc: float
    nsd: float
    iou: float
    pred_area: float
    truth_area: float


@dataclass(frozen=True)
class Statistics:
    """What n values say together.

    Attributes:
        number: n.
        mean: their mean.
        std: their sample standard deviation (n - 1), None for a single value.
        median: their median.
        q1: first quartile, interpolated linearly.
        q3: third quartile.
        ci_low: lower end of the 95 % bootstrap confidence interval of the mean, None for a single value.
        ci_high: its upper end.
    """

    number: int
    mean: float
    std: float | None
    median: float
    q1: float
    q3: float
    ci_low: float | None
    ci_high: float | None


@dataclass(frozen=True)
class ScoreSummary:
    """Statistics of a report.

    Attributes:
        classes: for each class, for "dsc", "nsd" and "iou", over the images that were scored for it.
        overall: for "dsc", "nsd" and "iou", over images, each the mean of its classes.
    """

    classes: dict[str, dict[str, Statistics]]
    overall: dict[str, Statistics]


def describe(values: Sequence[float], resamples: int = 2000, seed: int = 0) -> Statistics:
    """Statistics of values, with a percentile bootstrap of their mean.

    Args:
        values: n numbers, at least one.
        resamples: how many times n of them are drawn with replacement.
        seed: of the draws; the same seed gives the same interval.

    Raises:
        ValueError: no values, a value that is not finite, or fewer than one resample.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0 or not np.isfinite(array).all():
        raise ValueError(f"values must be a list of finite numbers, got {list(values)}")
    if resamples < 1:
        raise ValueError(f"resamples must be positive, got {resamples}")
    q1, median, q3 = np.quantile(array, (0.25, 0.5, 0.75)).tolist()
    std = ci_low = ci_high = None
    if array.size > 1:  # one value says nothing about the spread
        rng = np.random.default_rng(seed)
        means = [rng.choice(array, array.size).mean() for _ in range(resamples)]
        ci_low, ci_high = np.quantile(means, (0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2)).tolist()
        std = float(array.std(ddof=1))
    return Statistics(array.size, float(array.mean()), std, median, q1, q3, ci_low, ci_high)


class SegmentationReport:
    """Gathers the scores of images, then writes and sums them up.

    Examples:
        >>> from medclipsam_monai.metrics.segmentation import score_masks
        >>> truth = np.array([[[1, 1, 0, 0]], [[0, 0, 0, 1]]])
        >>> pred = np.array([[[1, 0, 0, 0]], [[0, 0, 0, 1]]])
        >>> report = SegmentationReport()
        >>> report.add("case_1.png", ["left lung", "right lung"], score_masks(pred, truth))
        >>> [round(row.dsc, 3) for row in report.rows]
        [0.667, 1.0]
        >>> report.write_csv("scores.csv").name, report.write_summary("summary.json").name
        ('scores.csv', 'summary.json')
    """

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], ScoreRow] = {}

    @property
    def rows(self) -> tuple[ScoreRow, ...]:
        """All rows in the order they were added."""
        return tuple(self._rows.values())

    def add(self, image: str, classes: Sequence[str], scores: SegmentationScores) -> None:
        """Adds a row for each class of an image.

        Args:
            image: name of the image.
            classes: K names in the order of the masks' channels.
            scores: of K classes, from `score_masks`.

        Raises:
            ValueError: there are more or fewer names than classes.
            InputError: this class of this image is in the report already.
        """
        columns = list(zip(*astuple(scores), strict=True))
        if len(classes) != len(columns):
            raise ValueError(f"each class needs one name, got {len(classes)} names for scores of {len(columns)}")
        added = [ScoreRow(image, name, *values) for name, values in zip(classes, columns, strict=True)]
        keys = [(row.image, row.class_name) for row in added]
        for number, key in enumerate(keys):
            if key in self._rows or key in keys[:number]:
                raise InputError(f'class "{key[1]}" of image "{image}" was scored twice: each needs its own name')
        self._rows.update(zip(keys, added, strict=True))

    def summary(self, resamples: int = 2000, seed: int = 0) -> ScoreSummary:
        """Statistics of each class and overall.

        Overall means images, not rows: the classes of an image are not independent, so the bootstrap draws images.

        Args:
            resamples: of the bootstrap.
            seed: of the bootstrap.

        Raises:
            InputError: the report is empty.
        """
        if not self._rows:
            raise InputError("no image was scored, so there is nothing to sum up")
        by_class: dict[str, list[ScoreRow]] = {}
        by_image: dict[str, list[ScoreRow]] = {}
        for row in self.rows:
            by_class.setdefault(row.class_name, []).append(row)
            by_image.setdefault(row.image, []).append(row)
        return ScoreSummary(
            classes={
                name: {m: describe([getattr(row, m) for row in rows], resamples, seed) for m in METRICS}
                for name, rows in by_class.items()
            },
            overall={
                m: describe(
                    [float(np.mean([getattr(row, m) for row in rows])) for rows in by_image.values()], resamples, seed
                )
                for m in METRICS
            },
        )

    def write_csv(self, path: str | Path) -> Path:
        """Writes the rows, one line an image and class, numbers to 6 decimals, under a line of column names.

        Args:
            path: file to write; its folder is made if need be.

        Returns:
            The path.

        Raises:
            InputError: the file cannot be written.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["class" if f.name == "class_name" else f.name for f in fields(ScoreRow)])
        for row in self.rows:
            # 6 decimals: beyond that float32 scores are noise.
            writer.writerow([round(value, 6) if isinstance(value, float) else value for value in astuple(row)])
        return write_text(Path(path), text.getvalue())

    def write_summary(self, path: str | Path, resamples: int = 2000, seed: int = 0) -> Path:
        """Writes `summary` as JSON.

        Args:
            path: file to write; its folder is made if need be.
            resamples: of the bootstrap.
            seed: of the bootstrap.

        Returns:
            The path.

        Raises:
            InputError: the report is empty, or the file cannot be written.
        """
        content = {
            "confidence": CONFIDENCE,
            "resamples": resamples,
            "seed": seed,
            **asdict(self.summary(resamples, seed)),
        }
        return write_json(content, path)
