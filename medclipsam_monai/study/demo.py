"""Shipped phantom pictures, and a phantom volume, segmented by text: the first minute with the package."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from medclipsam_monai.phantoms.samples import sample_pictures
from medclipsam_monai.phantoms.seeds import VOLUMES
from medclipsam_monai.phantoms.volumes import make_phantom_volume, save_phantom_volume
from medclipsam_monai.presets import DEFAULT_PRESET
from medclipsam_monai.zero_shot.class_records import slices_of
from medclipsam_monai.zero_shot.segmentation import Segmentation
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter

PRESET = "demo"
"""What segments the pictures, whatever the default is: they are phantoms, and this one was trained on phantoms."""
_COLUMNS = 3


@dataclass(frozen=True)
class DemoCase:
    """A shipped picture, the texts to segment it by, and what is seen where a text's class is absent."""

    picture: str
    texts: tuple[str, ...]
    opposites: tuple[str, ...] = ()

    @property
    def stem(self) -> str:
        """Start of the names of its files."""
        return "-".join([self.picture, *self.texts]).replace(" ", "_")


CASES = (
    DemoCase("xray_normal", ("lungs",)),
    DemoCase("xray_normal", ("heart",)),
    DemoCase("xray_pacemaker", ("pacemaker",)),
    DemoCase("ct_chest", ("lungs", "heart")),
    DemoCase("ct_abdomen", ("liver", "kidneys")),
    DemoCase("breast_malignant", ("malignant tumor",)),
    DemoCase("breast_cyst", ("cyst",)),
    DemoCase("brain_tumour", ("brain tumor",)),
    DemoCase("brain_normal", ("brain tumor",), ("no brain tumor",)),
)


VOLUME_SHAPE = (160, 160, 24)
VOLUME_TEXTS = ("lungs", "liver")


def run_demo(folder: str | Path, notify: Callable[[str], None] = lambda line: None) -> Path:
    """Segment every case with the weights of `PRESET`; files of an earlier run are replaced.

    Args:
        folder: for masks, overlays, records, and demo.png with all overlays.
        notify: is told a line a case: each class, its share of the picture and, where it was asked, its presence.

    Returns:
        The picture of all cases.

    Raises:
        InputError: the folder cannot be written.
    """
    folder = Path(folder)
    segmenter = TextSegmenter.from_preset(PRESET)
    samples = sample_pictures()
    overlays = []
    for case in CASES:
        pixels = np.asarray(Image.open(samples[case.picture]))
        segmentation = segmenter(pixels, list(case.texts), list(case.opposites))
        written = segmentation.save(folder, stem=case.stem, overwrite=True)
        overlays += [path for path in written if path.name.endswith("_overlay.png")]
        notify(f"{case.picture:18}{_described(segmentation)}")
    _contact_sheet(overlays).save(folder / "demo.png")
    return folder / "demo.png"


def run_volume_demo(folder: str | Path, notify: Callable[[str], None] = lambda line: None) -> Path:
    """Draw a CT of chest and abdomen as NIfTI, true labels beside it, and segment it with the default weights.

    Args:
        folder: for volume/ with the CT and its labels, and for masks, overlay and record.
        notify: is told a line: of each class the slices that show it.

    Returns:
        The CT.

    Raises:
        InputError: the folder cannot be written.
    """
    folder = Path(folder)
    (seed,) = VOLUMES.seeds(1)
    volume = make_phantom_volume("chest_abdomen_ct", seed, VOLUME_SHAPE)
    image, _, _ = save_phantom_volume(volume, folder / "volume")
    segmentation = TextSegmenter.from_preset(DEFAULT_PRESET)(image, list(VOLUME_TEXTS))
    segmentation.save(folder, stem="volume", overwrite=True)
    labels = segmentation.label_map
    told = [slices_of(labels == k + 1, segmentation.geometry)["words"] for k in range(len(VOLUME_TEXTS))]
    notify(f"{'volume':18}{', '.join(f'{n}: {words}' for n, words in zip(VOLUME_TEXTS, told, strict=True))}")
    return image


def _described(segmentation: Segmentation) -> str:
    parts = []
    for k, name in enumerate(segmentation.found.names):
        share = float((segmentation.label_map == k + 1).float().mean())
        presence = segmentation.found.presence[k]
        parts.append(f"{name} {share:.1%}" + ("" if presence is None else f" (presence {presence:.2f})"))
    return ", ".join(parts)


def _contact_sheet(pictures: list[Path]) -> Image.Image:
    """All pictures on one page."""
    tiles = [Image.open(path) for path in pictures]
    width, height = max(tile.width for tile in tiles), max(tile.height for tile in tiles)
    sheet = Image.new("RGB", (width * _COLUMNS, height * -(-len(tiles) // _COLUMNS)))
    for n, tile in enumerate(tiles):
        sheet.paste(tile, (n % _COLUMNS * width, n // _COLUMNS * height))
    return sheet
