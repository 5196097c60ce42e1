"""Segment the shipped phantom pictures by text and lay the results side by side: what scripts/demo.sh shows."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from medclipsam_monai import TextSegmenter
from medclipsam_monai.phantoms.samples import sample_pictures
from medclipsam_monai.zero_shot.text_segmenter import Segmentation

# Picture, texts, and what is seen where a text's class is absent.
CASES: list[tuple[str, list[str], list[str]]] = [
    ("xray_normal", ["lungs"], []),
    ("xray_normal", ["heart"], []),
    ("xray_pacemaker", ["pacemaker"], []),
    ("ct_chest", ["lungs", "heart"], []),
    ("ct_abdomen", ["liver", "kidneys"], []),
    ("breast_malignant", ["malignant tumor"], []),
    ("breast_cyst", ["cyst"], []),
    ("brain_tumour", ["brain tumor"], []),
    ("brain_normal", ["brain tumor"], ["no brain tumor"]),
]
COLUMNS = 3


def name_of(picture: str, texts: list[str]) -> str:
    """Start of the file names of a case."""
    return "-".join([picture, *texts]).replace(" ", "_")


def describe(segmentation: Segmentation) -> str:
    """One line: each class, its size and, where it was asked, its presence."""
    parts = []
    for k, name in enumerate(segmentation.found.names):
        share = float((segmentation.label_map == k + 1).float().mean())
        presence = segmentation.found.presence[k]
        parts.append(f"{name} {share:.1%}" + ("" if presence is None else f" (presence {presence:.2f})"))
    return ", ".join(parts)


def contact_sheet(pictures: list[Path]) -> Image.Image:
    """All pictures on one page."""
    tiles = [Image.open(path) for path in pictures]
    width, height = max(tile.width for tile in tiles), max(tile.height for tile in tiles)
    sheet = Image.new("RGB", (width * COLUMNS, height * -(-len(tiles) // COLUMNS)))
    for n, tile in enumerate(tiles):
        sheet.paste(tile, (n % COLUMNS * width, n // COLUMNS * height))
    return sheet


def main(folder: Path) -> None:
    """Segment every case into ``folder``."""
    warnings.simplefilter("ignore", FutureWarning)
    segmenter = TextSegmenter.from_preset("demo")
    samples = sample_pictures()
    overlays = []
    for picture, texts, opposites in CASES:
        pixels = np.asarray(Image.open(samples[picture]))
        segmentation = segmenter(pixels, texts, opposites)
        written = segmentation.save(folder, stem=name_of(picture, texts), overwrite=True)
        overlays += [path for path in written if path.name.endswith("_overlay.png")]
        print(f"{picture:18}{describe(segmentation)}", flush=True)
    contact_sheet(overlays).save(folder / "demo.png")
    print(f"masks, overlays and records are in {folder}, all pictures together in {folder / 'demo.png'}")
    print("The demo weights know phantoms only: real images need real weights, see the README.")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo_output"))
