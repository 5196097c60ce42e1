"""An Ignite handler that writes the embeddings of a table's images and captions."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from torch import Tensor

from medclipsam_monai.base.files import write_atomically, write_text
from medclipsam_monai.finetune.data.dataset import ImageTextDataset


class SaveEmbeddings:
    """Write ``embeddings.npz`` and ``embeddings.csv`` at the end of a run.

    The first has the arrays ``image`` and ``text``, (N, E) float32 of length 1: their products are cosines. The second
    names image and caption of each of the N rows.

    Args:
        folder: for both files.
        dataset: whose items the engine runs over, in its order.
    """

    def __init__(self, folder: str | Path, dataset: ImageTextDataset) -> None:
        self.folder = Path(folder)
        self.dataset = dataset
        self._parts: list[tuple[Tensor, Tensor]] = []

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self.write)

    def _start(self, engine: Engine) -> None:
        self._parts = []

    def _collect(self, engine: Any) -> None:
        image, text = (torch.nn.functional.normalize(part.float(), dim=-1) for part in engine.state.output["pred"])
        self._parts.append((image.detach().cpu(), text.detach().cpu()))

    def write(self, engine: Engine) -> None:
        """Write both files.

        Raises:
            InputError: one cannot be written.
        """
        image, text = (torch.cat(parts).numpy() for parts in zip(*self._parts, strict=True))

        def save(part: Path) -> None:
            with part.open("wb") as file:
                np.savez(file, image=image, text=text)

        write_atomically(self.folder / "embeddings.npz", save)
        rows = io.StringIO(newline="")
        table = csv.writer(rows, lineterminator="\n")
        table.writerow(["image", "caption"])
        table.writerows([pair.image, pair.caption] for pair in self.dataset.pairs)
        write_text(self.folder / "embeddings.csv", rows.getvalue())
