"""Label maps: read as their image is shown, taken apart into a mask a class, and made of the classes' probabilities."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, convert_to_dst_type
from torch import Tensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.geometry import Geometry, to_display
from medclipsam_monai.io.image_meta import geometry_of
from medclipsam_monai.io.transforms.read_image import ReadImage


class ReadLabeld(MapTransform):
    """Read label maps of images as the images are shown.

    A picture's label lies on its stored pixels, so it is turned as the image is that EXIF turns; volumes have an affine
    of their own and are cut in the image's plane.

    Args:
        keys: keys of the paths, which become label maps (C, H, W[, D]).
        image_key: key of the image, read by `ReadImaged`.
        allow_missing_keys: do not raise where a key is missing.
    """

    backend = ReadImage.backend

    def __init__(self, keys: KeysCollection, image_key: str = "image", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.image_key = image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """
        Raises:
            InputError: a label that cannot be read, or of another size than its image.
        """
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self._read(d[key], geometry_of(d[self.image_key].meta))
        return d

    def _read(self, path: str | Path, geometry: Geometry) -> MetaTensor:
        label = ReadImage(geometry.plane or "acquired")(path)
        if geometry.kind == "picture" and label.shape[1:] == geometry.shape:
            turned = to_display(np.moveaxis(label.numpy(), 0, -1), geometry)
            label = MetaTensor(torch.from_numpy(turned), meta=label.meta)
        if label.shape[1:] != geometry.display_shape:
            sizes = (" x ".join(map(str, shape)) for shape in (label.shape[1:], geometry.display_shape))
            raise InputError(f"{path}: is a label of {' for an image of '.join(sizes)} (rows x columns)")
        return label


class LabelsToChannels(Transform):
    """A label map (1 or more, H, W[, D]) to one mask a class (K, H, W[, D]).

    Args:
        num_classes: K. With one class every value but 0 is foreground, so that 0/255 masks work.
    """

    backend = [TransformBackends.TORCH]  # noqa: RUF012

    def __init__(self, num_classes: int = 1) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes must be positive, got {num_classes}")
        self.num_classes = num_classes

    def __call__(self, labels: Tensor) -> Tensor:
        """Channels past the first are ignored: label pictures saved as RGB are grey."""
        first = labels[:1]
        if self.num_classes == 1:
            return (first > 0).to(torch.float32)
        return torch.cat([first == k + 1 for k in range(self.num_classes)]).to(torch.float32)


class LabelsToChannelsd(MapTransform):
    """Dictionary-based wrapper of :py:class:`LabelsToChannels`.

    Args:
        keys: keys of the label maps.
        num_classes: see `LabelsToChannels`.
        allow_missing_keys: do not raise where a key is missing.
    """

    backend = LabelsToChannels.backend

    def __init__(self, keys: KeysCollection, num_classes: int = 1, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.convert = LabelsToChannels(num_classes)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        return {**data, **{key: self.convert(data[key]) for key in self.key_iterator(dict(data))}}


class LabelMap(Transform):
    """Probabilities (K, H, W[, D]) that are 0 outside of the masks to a label map (1, H, W[, D]) uint8.

    A class is where its probability is not 0: `ZeroShotSegmenter` has set it to 0 outside of its masks, so there is one
    threshold, the network's. Overlaps go to the more probable class; the classes are numbered from 1.

    Examples:
        >>> import torch
        >>> LabelMap()(torch.tensor([[[0.0, 0.6, 0.6]], [[0.0, 0.0, 0.8]]])).tolist()
        [[[0, 1, 2]]]
    """

    backend = [TransformBackends.TORCH]  # noqa: RUF012

    def __call__(self, probability: Tensor) -> Tensor:
        """Of the kind that came, a MetaTensor with its meta data and applied operations."""
        best, index = torch.as_tensor(probability).max(dim=0, keepdim=True)
        labels = torch.where(best > 0, index + 1, 0).to(torch.uint8)
        return convert_to_dst_type(labels, dst=probability, dtype=torch.uint8)[0]


class LabelMapd(MapTransform):
    """Dictionary-based wrapper of :py:class:`LabelMap`.

    Args:
        keys: keys of the probabilities, which become label maps.
        allow_missing_keys: do not raise where a key is missing.
    """

    backend = LabelMap.backend

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.convert = LabelMap()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        return {**data, **{key: self.convert(data[key]) for key in self.key_iterator(dict(data))}}


ReadLabelD = ReadLabelDict = ReadLabeld
LabelsToChannelsD = LabelsToChannelsDict = LabelsToChannelsd
LabelMapD = LabelMapDict = LabelMapd
