"""A folder of chest X-rays to measure with: phantoms, enlarged to a few sizes, with the grain of a detector."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from medclipsam_monai.phantoms import make_phantom
from medclipsam_monai.phantoms.seeds import THROUGHPUT

TEXT = "lungs"
SIZES = ((512, 512), (512, 416), (448, 512))
"""Rows and columns."""

_ALIKE = 20  # pictures of one size that follow each other, as in folders of one scanner after the other
_GRAIN = 3.0  # grey levels


def draw_pictures(folder: Path, count: int, sizes: Sequence[tuple[int, int]] = SIZES) -> list[Path]:
    """Draw grey 8-bit PNG files, the same ones whenever it is called.

    Args:
        folder: made if it is not there.
        count: how many, at most 10,000.
        sizes: rows and columns; 20 pictures of one size follow each other.

    Returns:
        The files in the order of their names.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number, seed in enumerate(THROUGHPUT.seeds(count)):
        rows, columns = sizes[number // _ALIKE % len(sizes)]
        phantom = Image.fromarray((make_phantom("chest_xray", seed, captions=0).image * 255).astype(np.uint8))
        pixels = np.asarray(phantom.resize((columns, rows), Image.Resampling.BICUBIC), np.float32)
        grain = np.random.default_rng(seed).normal(0, _GRAIN, pixels.shape)
        files.append(folder / f"{number:05}.png")
        Image.fromarray((pixels + grain).round().clip(0, 255).astype(np.uint8)).save(files[-1])
    return files
