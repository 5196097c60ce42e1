"""The weak segmenter of MedCLIP-SAM (arXiv 2403.20253): MONAI's residual U-Net on the data set that nnU-Net trains on.

These are the pieces that a MONAI config puts together with SupervisedTrainer, SupervisedEvaluator, SlidingWindowInferer
and DiceCELoss(to_onehot_y=True, softmax=True). Pictures and volumes go the same way.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.networks.nets import UNet
from monai.transforms import (
    Activationsd,
    AsDiscreted,
    CastToTyped,
    Compose,
    MapTransform,
    NormalizeIntensityd,
    RandCropByPosNegLabeld,
    RandFlipd,
    RandGaussianNoised,
    RandRotate90d,
    RandScaleIntensityd,
    RandShiftIntensityd,
    SpatialPadd,
)
from monai.utils import TransformBackends

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.transforms import ReadImage
from medclipsam_monai.weak.folders import WorkFolders
from medclipsam_monai.weak.nnunet.raw_data import read_dataset

_KEYS = ("image", "label")
_KEYS_OUT = ("pred", "label")


@dataclass(frozen=True)
class RawData:
    """The raw data set with its split.

    Attributes:
        train: {"image": file or files of the channels, "label": file, "case": name}.
        validation: the same of the cases that validate.
        names: the classes with labels 1, 2, ...
        channels: of an image, 1 or 3.
        dimensions: 2 for pictures, 3 for volumes.
    """

    train: list[dict[str, Any]]
    validation: list[dict[str, Any]]
    names: tuple[str, ...]
    channels: int
    dimensions: int


def read_raw_data(folders: WorkFolders | str | Path) -> RawData:
    """The data set of a work folder, as `build_dataset` left it.

    Raises:
        InputError: there is none, or a file of it is missing.
    """
    folders = folders if isinstance(folders, WorkFolders) else WorkFolders(Path(folders))
    raw = read_dataset(folders)
    train, validation = (
        [_item(folders, case, raw.channels, raw.ending) for case in part] for part in (raw.train, raw.validation)
    )
    return RawData(train, validation, raw.names, raw.channels, 3 if raw.ending.startswith(".nii") else 2)


def _item(folders: WorkFolders, case: str, channels: int, ending: str) -> dict[str, Any]:
    """A picture holds all its channels, a volume has a file for each."""
    files = channels if ending.startswith(".nii") else 1
    images = [folders.images / f"{case}_{channel:04d}{ending}" for channel in range(files)]
    label = folders.labels / f"{case}{ending}"
    for path in (*images, label):
        if not path.is_file():
            raise InputError(f"{path} is missing: build the data set again")
    return {"image": [str(path) for path in images], "label": [str(label)], "case": case}


class ReadRawd(MapTransform):
    """Read the files of the raw data set upright and with their own numbers, see `ReadImage`.

    Args:
        keys: keys of files, or of lists of files that hold one channel each.
        slice_axis: see `ReadImage`.
        allow_missing_keys: do not raise where a key is missing.
    """

    backend = [TransformBackends.NUMPY]  # noqa: RUF012

    def __init__(self, keys: KeysCollection, slice_axis: str = "acquired", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.read = ReadImage(slice_axis)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        return {**data, **{key: self._channels(data[key]) for key in self.key_iterator(dict(data))}}

    def _channels(self, files: str | Sequence[str]) -> MetaTensor:
        images = [self.read(file) for file in ([files] if isinstance(files, str) else files)]
        return MetaTensor(torch.cat([image.as_tensor() for image in images]), meta=images[0].meta)


def build_resunet(data: RawData, channels: Sequence[int] = (16, 32, 64, 128, 256), num_res_units: int = 2) -> UNet:
    """MONAI's residual U-Net for a data set; its output has the background first.

    Args:
        data: gives the dimensions and the numbers of channels.
        channels: of each level; each level but the first halves the size.
        num_res_units: residual units of a level, v1 has 2.
    """
    return UNet(
        spatial_dims=data.dimensions,
        in_channels=data.channels,
        out_channels=1 + len(data.names),
        channels=tuple(channels),
        strides=(2,) * (len(channels) - 1),
        num_res_units=num_res_units,
    )


def train_preprocessing(data: RawData, patch_size: Sequence[int], slice_axis: str = "acquired") -> Compose:
    """From an item of `RawData.train` to a random patch: image (C, *patch) float32, label (1, *patch).

    Args:
        data: the data set.
        patch_size: rows, columns[, slices]; multiples of what the network pools by.
        slice_axis: see `ReadImage`.

    Raises:
        InputError: the patch has another number of sides than the data have dimensions.
    """
    if len(patch_size) != data.dimensions:
        raise InputError(f"patch_size must have {data.dimensions} sides, got {list(patch_size)}")
    return Compose(
        [
            validate_preprocessing(slice_axis),
            SpatialPadd(_KEYS, patch_size),
            RandCropByPosNegLabeld(_KEYS, "label", patch_size, pos=1, neg=2),  # nnU-Net's share of foreground
            *(RandFlipd(_KEYS, prob=0.5, spatial_axis=axis) for axis in range(data.dimensions)),
            RandRotate90d(_KEYS, prob=0.5 if patch_size[0] == patch_size[1] else 0.0),
            RandScaleIntensityd("image", factors=0.25, prob=0.3),
            RandShiftIntensityd("image", offsets=0.25, prob=0.3),
            RandGaussianNoised("image", prob=0.1, std=0.1),
        ]
    )


def validate_preprocessing(slice_axis: str = "acquired") -> Compose:
    """From an item of `RawData.validation` to the whole image, normalised by its own mean and deviation.

    Args:
        slice_axis: see `ReadImage`.
    """
    return Compose(
        [
            ReadRawd(_KEYS, slice_axis),
            NormalizeIntensityd("image", channel_wise=True),
            CastToTyped("label", dtype=torch.int64),
        ]
    )


def postprocessing(data: RawData) -> Compose:
    """Logits "pred" to one-hot (1 + classes, ...) by the highest probability, and "label" to the same form."""
    classes = 1 + len(data.names)
    return Compose(
        [
            Activationsd("pred", softmax=True),
            AsDiscreted(_KEYS_OUT, argmax=(True, False), to_onehot=classes),
        ]
    )
