"""Pictures of an ensemble's uncertainty: against the DSC, as error-retention curves, and as maps beside the image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from medclipsam_monai.files import write_atomically
from medclipsam_monai.weak.prediction import EnsemblePrediction
from medclipsam_monai.weak.uncertainty import RetentionCurve, correlation

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


def plot_maps(image: Tensor, prediction: EnsemblePrediction, path: str | Path, threshold: float = 0.5) -> Path:
    """Draw an image with the mask's outline, its foreground probability, entropy and mutual information, side by side.

    Of a volume the slice with the most entropy is drawn. The colours of the mutual information end at its maximum.

    Args:
        image: display image (1 or 3, H, W[, D]) in [0, 1].
        prediction: of this image.
        path: of the PNG.
        threshold: of the mask.

    Raises:
        ValueError: the image is of another size.
        InputError: the file cannot be written.
    """
    if image.shape[1:] != prediction.entropy.shape:
        raise ValueError(f"image must be (C, {tuple(prediction.entropy.shape)}), got {tuple(image.shape)}")
    labels, maps = prediction.label_map(threshold), {"foreground probability": 1 - prediction.probability[0]}
    maps["entropy, bits"] = prediction.entropy
    if prediction.mutual_information is not None:
        maps["mutual information, bits"] = prediction.mutual_information
    if image.ndim == 4:
        best = int(prediction.entropy.sum(dim=(0, 1)).argmax())
        image, labels = image[..., best], labels[..., best]
        maps = {name: values[..., best] for name, values in maps.items()}
    figure, panels = _panels(1 + len(maps), height=3.4)
    panels[0].imshow(np.asarray(image.expand(3, -1, -1).permute(1, 2, 0)).clip(0, 1))
    if labels.any() and not labels.all():
        panels[0].contour(np.asarray(labels) > 0, levels=[0.5], colors="orange", linewidths=1)
    panels[0].set(title="image and mask")
    bits = math.log2(len(prediction.names))
    for axes, (name, values) in zip(panels[1:], maps.items(), strict=True):
        top = bits if name.startswith("entropy") else 1.0
        top = max(float(values.max()), 1e-6) if name.startswith("mutual") else top  # far below the entropy
        figure.colorbar(axes.imshow(np.asarray(values), cmap="inferno", vmin=0, vmax=top), ax=axes, shrink=0.8)
        axes.set(title=name)
    for axes in panels:
        axes.set_axis_off()
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
