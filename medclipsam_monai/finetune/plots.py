"""A picture of a training: loss and retrieval by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medclipsam_monai.base.files import write_atomically


def plot_history(rows: Sequence[dict[str, float]], path: str | Path, key_metric: str) -> Path:
    """Draw the loss, and the key metric with its two directions, over the epochs.

    Args:
        rows: one an epoch, with "epoch", "loss" (not in epoch 0) and metrics.
        path: of the PNG.
        key_metric: name of the main metric.
    """
    from matplotlib.figure import Figure  # not pyplot: no display, no global state

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    trained = [row for row in rows if "loss" in row]
    left.plot([row["epoch"] for row in trained], [row["loss"] for row in trained], marker=".")
    left.set(title="training loss", xlabel="epoch")
    for way in ("image_to_text", "text_to_image"):
        name = f"{key_metric}_{way}_top1"
        known = [row for row in rows if name in row]
        values = [100 * row[name] for row in known]
        spread = [100 * row.get(f"{name}_sd", 0.0) for row in known]
        right.errorbar([row["epoch"] for row in known], values, spread, marker=".", capsize=2, label=way)
    right.set(title="retrieval, top-1 in %", xlabel="epoch")
    right.legend()
    for axes in (left, right):
        axes.xaxis.get_major_locator().set_params(integer=True)
    return write_atomically(Path(path), lambda part: figure.savefig(part, dpi=120))
