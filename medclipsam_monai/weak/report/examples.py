"""Cases as rows of pictures: image, zero-shot mask, the ensemble's mask and its entropy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medclipsam_monai.base.files import write_atomically
from medclipsam_monai.io.label_maps import read_label_map
from medclipsam_monai.transforms import DisplayRange
from medclipsam_monai.weak.ensemble.checkpoint_ensemble import CheckpointEnsemble
from medclipsam_monai.weak.nnunet.case_image import read_case_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Example:
    """A case to show.

    Attributes:
        title: a few words over its row.
        image: its file.
        mask: its zero-shot mask.
        truth: its true mask, None where there is none.
    """

    title: str
    image: Path
    mask: Path
    truth: Path | None = None


@dataclass(frozen=True)
class _Row:
    """What is drawn of a case, all (H, W): picture (H, W, 3) in [0, 1], label maps, entropy in bits."""

    title: str
    picture: np.ndarray
    zero_shot: np.ndarray
    ensemble: np.ndarray
    entropy: np.ndarray
    truth: np.ndarray | None


def draw_examples(
    ensemble: CheckpointEnsemble,
    examples: Sequence[Example],
    path: Path,
    threshold: float = 0.5,
) -> Path:
    """Draw a row a case; the true outline is dashed. Of a volume the slice with the most foreground is drawn.

    Args:
        ensemble: predicts the cases.
        examples: the cases, at least one.
        path: of the PNG.
        threshold: see `EnsemblePrediction.label_map`.

    Raises:
        InputError: a file cannot be read or written.
    """
    from matplotlib.figure import Figure  # not pyplot: no display, no global state

    figure = Figure(figsize=(10, 2.8 * len(examples)), layout="constrained")
    grid = figure.subplots(len(examples), 4, squeeze=False)
    for panels, example in zip(grid, examples, strict=True):
        _draw(panels, _row(ensemble, example, threshold))
    return write_atomically(path, lambda part: figure.savefig(part, dpi=100, format="png"))


def _row(ensemble: CheckpointEnsemble, example: Example, threshold: float) -> _Row:
    case = read_case_image(example.image, **ensemble.reading)
    found = ensemble.predict(example.image, **ensemble.reading)

    def labels(path: Path) -> np.ndarray:
        return read_label_map(path, case.geometry, ensemble.names[1:])

    predicted = found.label_map(threshold).numpy()
    fullest = (..., int((predicted > 0).sum(axis=(0, 1)).argmax())) if case.is_volume else ...
    return _Row(
        example.title,
        np.asarray(DisplayRange(ensemble.reading["window"] if case.is_volume else None)(case.array))[fullest].transpose(
            1, 2, 0
        ),
        labels(example.mask)[fullest],
        predicted[fullest],
        found.entropy.numpy()[fullest],
        None if example.truth is None else labels(example.truth)[fullest],
    )


def _draw(panels: Sequence[Axes], row: _Row) -> None:
    for axes, title in zip(panels, (row.title, "zero-shot mask", "ensemble", "entropy"), strict=True):
        axes.set_title(title, fontsize=8)
        axes.set(xticks=[], yticks=[])
        axes.imshow(row.picture)
    for axes, mask in zip(panels[1:3], (row.zero_shot, row.ensemble), strict=True):
        axes.imshow(np.ma.masked_equal(mask, 0), alpha=0.5, cmap="autumn", interpolation="nearest")
        if row.truth is not None and 0 < (row.truth > 0).mean() < 1:
            axes.contour(row.truth > 0, [0.5], colors="white", linewidths=0.8, linestyles="dashed")
    panels[3].imshow(row.entropy, cmap="inferno", vmin=0)
