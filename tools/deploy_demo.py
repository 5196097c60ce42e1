"""The two ends of scripts/deploy_demo.sh: a phantom study with its rules, and a picture of what was found in it.

python -m tools.deploy_demo phantoms STUDY
python -m tools.deploy_demo picture RESULTS PICTURE.png
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image, ImageDraw
from pydicom import dcmread

from medclipsam_monai.base.files import write_atomically, write_text
from medclipsam_monai.phantoms.dicom import write_phantom_xray
from medclipsam_monai.phantoms.seeds import VOLUMES
from medclipsam_monai.phantoms.volumes import make_phantom_volume, write_phantom_volume_series
from medclipsam_monai.transforms.lettering import font, printable

RULES = [
    {"name": "chest", "conditions": {"Modality": "^(CT|CR|DX)$"}, "text": "lungs"},
    {"name": "head", "conditions": {"Modality": "MR", "BodyPartExamined": "HEAD"}, "text": "brain tumor"},
]
_VOLUMES = (("ct", "chest_abdomen_ct", 16, False), ("mr", "head_mr", 10, True))
_TILE = 256  # pixels, of the longer side
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def phantoms(study: Annotated[Path, typer.Argument(help="Folder to write.")]) -> None:
    """Write a CT of chest and abdomen, an MR of the head at an angle, and an X-ray, with rules.json beside them."""
    for name, task, slices, oblique in _VOLUMES:
        volume = make_phantom_volume(task, VOLUMES.first, (160, 160, slices), oblique=oblique)
        write_phantom_volume_series(volume, study / name)
    write_phantom_xray(study / "xray", photometric="MONOCHROME1")
    write_text(study / "rules.json", json.dumps({"selections": RULES}, indent=4) + "\n")


@app.command()
def picture(
    results: Annotated[Path, typer.Argument(help="What the application wrote.")],
    target: Annotated[Path, typer.Argument(help="PNG to write.")],
) -> None:
    """Put the middle overlay picture of each series side by side, as the Secondary Captures hold them."""
    tiles = []
    for folder in sorted(path.parent for path in results.glob("*/report.json")):
        captures = sorted(folder.glob("overlay_*.dcm"))
        if captures:
            tiles.append(_tile(captures[len(captures) // 2]))
    if not tiles:
        raise typer.BadParameter(f"no overlay picture below {results}")
    sheet = np.concatenate(tiles, axis=1)
    write_atomically(target, lambda part: Image.fromarray(sheet).save(part))


def _tile(path: Path) -> np.ndarray:
    capture = dcmread(path)
    image = Image.fromarray(capture.pixel_array)
    image.thumbnail((_TILE, _TILE))
    tile = Image.new("RGB", (_TILE, _TILE + 20))
    tile.paste(image, ((_TILE - image.width) // 2, (_TILE - image.height) // 2))
    words = f"{path.parent.name.split('_')[0].upper()}: {capture.SeriesDescription.partition(': ')[2]}"
    ImageDraw.Draw(tile).text((6, _TILE + 3), printable(words), fill=(255, 255, 255), font=font(11))
    return np.array(tile)


if __name__ == "__main__":
    app()
