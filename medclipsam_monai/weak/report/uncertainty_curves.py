"""Pictures of an ensemble's uncertainty: against the DSC, as error-retention curves, and as maps beside the image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from medclipsam_monai.base.files import write_atomically
from medclipsam_monai.weak.ensemble.uncertainty import RetentionCurve, correlation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_scores(scores: Mapping[str, Sequence[float]], dsc: Sequence[float], path: str | Path) -> Path:
    """Draw each uncertainty score against the DSC, one image a dot, with both correlations.

    Args:
        scores: values by the score's name, one an image.
        dsc: of the same images, in [0, 1].
        path: of the PNG.

    Raises:
        ValueError: no score, two lengths, or a number that is not finite.
        InputError: the file cannot be written.
    """
    if not scores:
        raise ValueError("plot_scores needs at least one score, got none")
    figure, panels = _panels(len(scores))
    for axes, (name, values) in zip(panels, scores.items(), strict=True):
        found = correlation(values, dsc)
        axes.scatter(list(values), list(dsc), s=14, color="tab:blue", alpha=0.7)
        title = f"Pearson {_number(found.pearson)}, Spearman {_number(found.spearman)} ({found.images} images)"
        axes.set(xlabel=name, ylabel="DSC", ylim=(-0.03, 1.03), title=title)
        axes.grid(alpha=0.3)
    return _write(figure, path)


def plot_retention(curves: Mapping[str, RetentionCurve], path: str | Path) -> Path:
    """Draw error-retention curves between random order and the oracle, with their areas.

    Args:
        curves: by name, all over the same images' errors.
        path: of the PNG.

    Raises:
        ValueError: no curve, or curves over different errors.
        InputError: the file cannot be written.
    """
    if not curves:
        raise ValueError("plot_retention needs at least one curve, got none")
    first = next(iter(curves.values()))
    oracles = [curve.oracle for curve in curves.values()]
    if any(oracle.shape != first.oracle.shape or not torch.allclose(oracle, first.oracle) for oracle in oracles):
        raise ValueError("the curves must be over the same errors, got several oracles")
    figure, (axes,) = _panels(1)
    for name, curve in curves.items():
        axes.plot(curve.fraction, curve.error, label=f"{name}: {curve.area:.4f}")
    ends = [0.0, float(first.error[-1])]
    axes.plot([0, 1], ends, color="grey", linestyle=":", label=f"random: {first.random_area:.4f}")
    axes.plot(first.fraction, first.oracle, color="black", linestyle="--", label=f"oracle: {first.oracle_area:.4f}")
    axes.set(
        xlabel="images kept, the surest first", ylabel="mean error (1 - DSC)", title="error retention and its area"
    )
    axes.legend()
    axes.grid(alpha=0.3)
    return _write(figure, path)


def _panels(number: int, height: float = 4.0) -> tuple[Figure, list[Axes]]:
    """A figure with axes side by side."""
    from matplotlib.figure import Figure  # not pyplot: no display, no global state

    figure = Figure(figsize=(max(4.6 * number, 5.6), height), layout="constrained")
    return figure, list(np.atleast_1d(figure.subplots(1, number)))


def _number(value: float) -> str:
    return "unknown" if math.isnan(value) else f"{value:.2f}"


def _write(figure: Figure, path: str | Path) -> Path:
    return write_atomically(Path(path), lambda part: figure.savefig(part, dpi=120))
