"""Runs of ``medclipsam segment`` that are forks of one process with its networks loaded, and are killed where asked."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from PIL import Image

from medclipsam_monai.phantoms.samples import sample_pictures
from medclipsam_monai.zero_shot.batch import segment_files
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter
from tools.robustness.kill_forks import Fork, Kill

PRESET = "demo"
TEXTS = ("lungs", "heart")


@dataclass(frozen=True)
class Run:
    """How a run ended.

    Attributes:
        ended: it came to its end.
        changes: how many times it opened a file for writing, renamed or removed one in the output folder.
        done: names of the images that it segmented.
        skipped: names of those that it took for finished.
        failed: those it could not do, by name, with the reason.
        trouble: the last line of an exception that no user should see.
    """

    ended: bool
    changes: int = 0
    done: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    failed: dict[str, str] = field(default_factory=dict)
    trouble: str = ""


@dataclass
class Bench:
    """A loaded segmenter, images, and the folders of clean runs by text."""

    segmenter: TextSegmenter
    images: list[Path]
    clean: dict[str, Path] = field(default_factory=dict)
    changes: int = 0

    @classmethod
    def set_up(cls, folder: Path) -> Bench:
        """Load the demo weights, write two pictures and a NIfTI slice, and run each text in a folder of its own."""
        torch.set_num_threads(1)  # threads do not outlive a fork
        inputs = folder / "images"
        inputs.mkdir(parents=True)
        chest = [path for name, path in sample_pictures().items() if name.startswith("xray")]
        images = [Path(shutil.copy(path, inputs)) for path in chest[:2]]
        with Image.open(chest[0]) as picture:
            slice_ = np.asarray(picture.convert("L")).T[:, ::-1, None].astype(np.int16)
        nib.save(nib.Nifti1Image(slice_, np.diag([-1.5, -1.5, 2.0, 1])), inputs / "slice.nii.gz")
        bench = cls(TextSegmenter.from_preset(PRESET, device="cpu"), [*images, inputs / "slice.nii.gz"])
        for text in TEXTS:
            bench.clean[text] = folder / f"clean {text}"
            run = bench.run(text, bench.clean[text])
            if len(run.done) != len(bench.images):
                raise RuntimeError(f"a run without any kill ended with {run}")
            bench.changes = run.changes
        return bench

    def run(self, text: str, output: Path, overwrite: bool = False, kill: Kill | None = None) -> Run:
        """One run, in a process of its own, to its end or to its kill."""
        return self.finish(self.start(text, output, overwrite, kill))

    def start(
        self,
        text: str,
        output: Path,
        overwrite: bool = False,
        kill: Kill | None = None,
        before: Callable[[], None] = lambda: None,
    ) -> Fork:
        """Start a run and go on; ``before`` is what is done to its process first."""

        def segment() -> dict[str, Any]:
            """What ``medclipsam segment`` does once its networks are loaded."""
            before()
            summary = segment_files(self.segmenter, self.images, text, output, overwrite=overwrite)
            names = [tuple(Path(label).name for label in labels) for labels in (summary.done, summary.skipped)]
            failed = {Path(label).name: reason for label, reason in summary.failed}
            return {"done": names[0], "skipped": names[1], "failed": failed}

        return Fork(segment, output, kill)

    def finish(self, fork: Fork) -> Run:
        """Wait for a run that was started."""
        ending = fork.finish()
        return Run(ending.ended, ending.changes, trouble=ending.trouble, **(ending.answer or {}))
