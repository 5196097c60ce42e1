"""Short fine-tunings by the bundle's own train.json that are killed and go on, and must end as an unbroken one does."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigWorkflow

from medclipsam_monai.base.files import PREFIX
from medclipsam_monai.finetune.checkpoint import BEST, LAST
from tools.robustness.kill_forks import Ending, Fork, Kill

_BUNDLE = Path(__file__).parents[3] / "bundles" / "medclipsam_finetune"
_SHORT: dict[str, Any] = {
    "num_phantoms": 16,
    "validation_fraction": 0.5,
    "epochs": 3,
    "batch_size": 4,
    "retrieval_batch": 4,
}
_EXPORT = "clip"


@dataclass
class ClipBench:
    """A folder with an unbroken fine-tuning to compare with, and how many changes it made there."""

    clean: Path
    changes: int = 0

    @classmethod
    def set_up(cls, folder: Path) -> ClipBench:
        """Train once without any kill.

        Raises:
            RuntimeError: that went wrong already.
        """
        torch.set_num_threads(1)  # threads do not outlive a fork
        bench = cls(folder / "clean clip")
        ending = bench.run(bench.clean)
        if not ending.ended or ending.trouble:
            raise RuntimeError(f"a fine-tuning without any kill ended with {ending}")
        bench.changes = ending.changes
        return bench

    def run(self, folder: Path, resume: bool = False, kill: Kill | None = None) -> Ending:
        """One training, in a process of its own, to its end or to its kill."""

        def train() -> None:
            logging.disable()
            flow = ConfigWorkflow(
                workflow_type="train",
                config_file=str(_BUNDLE / "configs" / "train.json"),
                meta_file=str(_BUNDLE / "configs" / "metadata.json"),
                logging_file=False,
                bundle_root=str(_BUNDLE),
                device=torch.device("cpu"),
                output_dir=str(folder),
                ckpt_dir=str(folder),
                resume=resume,
                **_SHORT,
            )
            flow.initialize()
            flow.run()

        return Fork(train, folder, kill).finish()

    def wrong(self, folder: Path) -> Iterator[str]:
        """What is wrong with a training that went on after a kill and came to its end."""
        for name, part in ((LAST, "network"), (BEST, None)):
            one, other = _weights(folder / name, part), _weights(self.clean / name, part)
            if one is None or other is None:
                yield f"{name} is missing or damaged"
            elif one.keys() != other.keys() or not all(torch.equal(one[key], other[key]) for key in one):
                yield f"{name} holds other weights than an unbroken training's"
        if _history(folder) != _history(self.clean):
            yield "history.json is not that of an unbroken training"
        exported = sorted(path.name for path in (self.clean / _EXPORT).iterdir())
        for name in exported:
            path = folder / _EXPORT / name
            if not path.is_file() or path.read_bytes() != (self.clean / _EXPORT / name).read_bytes():
                yield f"the exported {name} is not that of an unbroken training"
        yield from (f"{path.name} is left over" for path in sorted(folder.rglob(f"{PREFIX}*")))

    def torn(self, folder: Path) -> Iterator[str]:
        """What a killed training left under a final name and that is not whole."""
        for name, part in ((LAST, "network"), (BEST, None)):
            if (folder / name).exists() and _weights(folder / name, part) is None:
                yield f"{name} is torn"
        if (folder / "history.json").exists() and not _history(folder):
            yield "history.json is torn"


def _weights(path: Path, part: str | None) -> dict[str, torch.Tensor] | None:
    try:
        content: Any = torch.load(path, weights_only=True)
        weights: dict[str, torch.Tensor] = content[part] if part else content
    except Exception:  # torch has many ways to say that a file is damaged
        return None
    return weights


def _history(folder: Path) -> list[dict[str, float]]:
    try:
        rows: list[dict[str, float]] = json.loads((folder / "history.json").read_text(encoding="utf-8"))["epochs"]
    except (OSError, ValueError, KeyError):
        return []
    return rows
