"""A picture of a training: losses, nnU-Net's Dice with the pseudo-labels, and the learning rate by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medclipsam_monai.base.files import write_atomically
from medclipsam_monai.weak.nnunet.training import EpochFigures


def plot_progress(rows: Sequence[EpochFigures], path: Path) -> Path:
    """Draw the figures of every epoch.

    Args:
        rows: of `read_progress`.
        path: of the PNG.

    Raises:
        InputError: the file cannot be written.
    """
    from matplotlib.figure import Figure  # not pyplot: no display, no global state

    figure = Figure(figsize=(12, 3.5), layout="constrained")
    loss, dice, rate = figure.subplots(1, 3)
    epochs = [row.epoch for row in rows]
    loss.plot(epochs, [row.train_loss for row in rows], label="training")
    loss.plot(epochs, [row.val_loss for row in rows], label="validation")
    loss.legend()
    loss.set(title="loss (Dice and cross-entropy)")
    dice.plot(epochs, [row.pseudo_dice for row in rows])
    dice.set(title="Dice with the pseudo-labels", ylim=(0, 1))
    rate.plot(epochs, [row.lr for row in rows])
    rate.set(title="learning rate")
    for axes in (loss, dice, rate):
        axes.set(xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
    return write_atomically(path, lambda part: figure.savefig(part, dpi=110, format="png"))
