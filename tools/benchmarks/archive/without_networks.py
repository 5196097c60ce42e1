"""`medclipsam archive` with networks that find nothing at once: the child of `tools.benchmarks.archive.simulate`.

python -m tools.benchmarks.archive.without_networks SOURCE --output FOLDER ...
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from medclipsam_monai.archive import run
from medclipsam_monai.archive.run import Loader
from medclipsam_monai.base.memory_cache import MemoryCache
from medclipsam_monai.cli.main import main as medclipsam
from medclipsam_monai.zero_shot.one_image.reading import ShownImage
from medclipsam_monai.zero_shot.result import ZeroShotResult
from medclipsam_monai.zero_shot.segmentation import Request, Segmentation
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter


class EmptySegmenter(TextSegmenter):
    """Finds nothing in any picture, and takes no time for it."""

    def opened(self, shown: ShownImage, memory: MemoryCache[Any] | None = None) -> Any:
        """What answers for one picture."""
        return _Empty(shown)

    def answer_together(self, images: Sequence[ShownImage], request: Request) -> list[Segmentation]:
        """Nothing, for each."""
        return [_Empty(image).answer(request) for image in images]


@dataclass(frozen=True)
class _Empty:
    shown: ShownImage

    def answer(self, request: Request, progress: bool = False) -> Segmentation:
        """Nothing, for each class."""
        shape = (len(request.targets), *self.shown.display.shape[-2:])
        nothing, none = torch.zeros(shape), (None,) * shape[0]
        found = ZeroShotResult(
            names=tuple(target.name for target in request.targets),
            probability=nothing,
            mask=nothing > 0,
            coarse=nothing > 0,
            saliency=nothing,
            boxes=(torch.zeros(0, 4),) * shape[0],
            presence=none,
            quality=none,
            object_score=none,
        )
        return self.shown.answered(found, request, 0.0)


@dataclass(frozen=True)
class EmptyLoader(Loader):
    """Loads networks, which only say what is asked, and looks at no picture with them."""

    def __call__(self, device: str) -> TextSegmenter:
        """Load them."""
        loaded = super().__call__(device)
        return EmptySegmenter(loaded.network, loaded.preset, loaded.weights)


def main(*words: str) -> None:
    """One run with the words of its command line."""
    run.Loader = EmptyLoader  # type: ignore[misc]
    sys.argv = ["medclipsam", "archive", *words]
    medclipsam()


if __name__ == "__main__":
    # its classes are to be found under the name that other processes know them by
    from tools.benchmarks.archive import without_networks as module

    module.main(*sys.argv[1:])
