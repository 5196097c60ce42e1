"""Examples that come with the package: drawn pictures and a drawn CT, each with what to ask of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from medclipsam_monai.phantoms.samples import sample_folder, sample_pictures
from medclipsam_monai.phantoms.seeds import VOLUMES

_VOLUME_SHAPE = (96, 96, 48)


@dataclass(frozen=True)
class Sample:
    """An example.

    Attributes:
        label: on its button.
        text: what is asked of it first.
        write: puts its file into a folder.
        window: see `DisplayRange`; "" for automatic.
        task: of the preset `small`.
    """

    label: str
    text: str
    write: Callable[[Path], Path]
    window: str = ""
    task: str | None = None


def _picture(name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        source = sample_pictures()[name]
        return Path(shutil.copyfile(source, folder / source.name))

    return write


def _volume(folder: Path) -> Path:
    from medclipsam_monai.phantoms.volumes import make_phantom_volume, save_phantom_volume

    volume = make_phantom_volume("chest_abdomen_ct", VOLUMES.first, _VOLUME_SHAPE)
    made, *rest = save_phantom_volume(volume, folder)
    for path in rest:
        path.unlink()
    return made.rename(folder / "phantom_ct.nii.gz")


SAMPLES: Mapping[str, Sample] = {
    "xray": Sample("Chest X-ray", "lungs", _picture("xray_normal")),
    "brain": Sample("Brain MR", "brain tumor", _picture("brain_tumour")),
    "ct": Sample("Abdominal CT", "liver", _picture("ct_abdomen")),
    "breast": Sample("Breast ultrasound", "breast tumor", _picture("breast_malignant")),
    "volume": Sample("CT volume", "liver; lungs", _volume),
}
"""By the name that the page sends."""


def labelled_examples(folder: Path) -> Path:
    """Labelled chest X-rays that show the lungs, as a folder of examples."""
    return Path(shutil.copytree(sample_folder(), folder / "examples"))
