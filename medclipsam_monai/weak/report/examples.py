"""Examples of the report, a strip of four pictures each: image, zero-shot mask, the ensemble's mask, its entropy."""

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
    """An image to show.

    Attributes:
        title: a few words over its strip.
        image: its file.
        mask: its zero-shot mask.
        truth: its true mask, None where there is none.
    """

    title: str
    image: Path
    mask: Path
    truth: Path | None = None


@dataclass(frozen=True)
class _Strip:
    """What is drawn of an example, all (H, W): picture (H, W, 3) in [0, 1], label maps, entropy in bits."""

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
    """Draw a strip an example; the true outline is dashed. Of a volume the slice with the most foreground is drawn.

    Args:
        ensemble: predicts the examples.
        examples: at least one.
        path: of the PNG.
        threshold: see `EnsemblePrediction.label_map`.

    Raises:
        InputError: a file cannot be read or written.
    """
    from matplotlib.figure import Figure  # not pyplot: no display, no global state

    figure = Figure(figsize=(10, 2.8 * len(examples)), layout="constrained")
    grid = figure.subplots(len(examples), 4, squeeze=False)
    for panels, example in zip(grid, examples, strict=True):
        _draw(panels, _strip(ensemble, example, threshold))
    return write_atomically(path, lambda part: figure.savefig(part, dpi=100, format="png"))


def _strip(ensemble: CheckpointEnsemble, example: Example, threshold: float) -> _Strip:
    case = read_case_image(example.image, **ensemble.reading)
    found = ensemble.predict_case(case)

    def labels(path: Path) -> np.ndarray:
        return read_label_map(path, case.geometry, ensemble.names[1:])

    predicted = found.label_map(threshold).numpy()
    fullest = (..., int((predicted > 0).sum(axis=(0, 1)).argmax())) if case.is_volume else ...
    display = DisplayRange(ensemble.reading["window"] if case.is_volume else None)
    return _Strip(
        example.title,
        np.asarray(display(case.array))[fullest].transpose(1, 2, 0),
        labels(example.mask)[fullest],
        predicted[fullest],
        found.entropy.numpy()[fullest],
        None if example.truth is None else labels(example.truth)[fullest],
    )


def _draw(panels: Sequence[Axes], strip: _Strip) -> None:
    for axes, title in zip(panels, (strip.title, "zero-shot mask", "ensemble", "entropy"), strict=True):
        axes.set_title(title, fontsize=8)
        axes.set(xticks=[], yticks=[])
        axes.imshow(strip.picture)
    for axes, mask in zip(panels[1:3], (strip.zero_shot, strip.ensemble), strict=True):
        axes.imshow(np.ma.masked_equal(mask, 0), alpha=0.5, cmap="autumn", interpolation="nearest")
        if strip.truth is not None and 0 < (strip.truth > 0).mean() < 1:
            axes.contour(strip.truth > 0, [0.5], colors="white", linewidths=0.8, linestyles="dashed")
    panels[3].imshow(strip.entropy, cmap="inferno", vmin=0)
