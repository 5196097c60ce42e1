"""The readers and writers as MONAI transforms, for bundles and other MONAI pipelines."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends
from torch import Tensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import check_beside_inputs
from medclipsam_monai.io.geometry import Geometry, to_display
from medclipsam_monai.io.inputs.sources import ImageSource
from medclipsam_monai.io.readers import read_image
from medclipsam_monai.io.writers import write_mask, write_picture
from medclipsam_monai.transforms import Overlay


def _source_to_text(source: ImageSource) -> str:
    """A source as a string, the one kind of meta data that passes through every data loader."""
    return json.dumps([[str(path) for path in source.paths], source.kind, source.stem])


def _source_from_text(text: str) -> ImageSource:
    paths, kind, stem = json.loads(text)
    return ImageSource(tuple(map(Path, paths)), kind, stem)


def source_of(image: MetaTensor) -> MetaTensor:
    """The file behind an image of `ReadImage`, read again with its geometry and source, see `read_image`."""
    return read_image(_source_from_text(image.meta["source"]), image.meta["slice_axis"])


def collatable_meta(image: MetaTensor, slice_axis: str) -> dict[str, Any]:
    """What of the meta data of a read image passes through MONAI's data loaders; `source_of` finds the rest again."""
    kept = {key: value for key, value in image.meta.items() if isinstance(value, bool | int | float | str)}
    return {**kept, "source": _source_to_text(image.meta["source"]), "slice_axis": slice_axis}


class ReadImage(Transform):
    """Read a file or a DICOM series upright, see `read_image`.

    The result's meta data hold only what MONAI's data loaders can collate; `WriteMask` asks the file for the rest.

    Args:
        slice_axis: how volumes are cut: "acquired", "axial", "coronal" or "sagittal".
    """

    backend = [TransformBackends.NUMPY]  # noqa: RUF012

    def __init__(self, slice_axis: str = "acquired") -> None:
        self.slice_axis = slice_axis

    def __call__(self, path: str | Path | ImageSource) -> MetaTensor:
        """A path or one of `find_inputs` to (C, H, W[, D]) float32.

        Raises:
            InputError: if the file cannot be read.
        """
        image = read_image(path, self.slice_axis)
        return MetaTensor(image.as_tensor(), affine=image.affine, meta=collatable_meta(image, self.slice_axis))


class ReadImaged(MapTransform):
    """Dictionary-based wrapper of :py:class:`ReadImage`.

    Args:
        keys: keys of the paths, which become images.
        slice_axis: see `ReadImage`.
        allow_missing_keys: do not raise where a key is missing.
    """

    backend = ReadImage.backend

    def __init__(self, keys: KeysCollection, slice_axis: str = "acquired", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.read = ReadImage(slice_axis)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        return {**data, **{key: self.read(data[key]) for key in self.key_iterator(dict(data))}}


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
        geometry = source_of(data[self.image_key]).meta["geometry"]
        return {**data, **{key: self._read(data[key], geometry) for key in self.key_iterator(dict(data))}}

    def _read(self, path: str | Path, geometry: Geometry) -> MetaTensor:
        label = ReadImage(geometry.plane or "acquired")(path)
        if geometry.kind == "picture" and label.shape[1:] == geometry.shape:
            turned = to_display(np.moveaxis(label.numpy(), 0, -1), geometry)
            label = MetaTensor(torch.from_numpy(turned), affine=label.affine, meta=label.meta)
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


class WriteMaskd(MapTransform):
    """Write probabilities (K, H, W[, D]) as a label map in the geometry of the file that they were made from.

    A class is where its probability is not 0: `TextPromptedInferer` has set it to 0 outside of the network's masks, so
    there is one threshold, the network's. Overlaps go to the more probable class. The data stay as they are.

    Args:
        keys: keys of the probabilities, 0 outside of the masks.
        image_key: key of the display image, read by `ReadImaged`.
        output_dir: folder for the masks.
        overlay: write a picture with the masks drawn in, too.
        allow_missing_keys: do not raise where a key is missing.
    """

    backend = [TransformBackends.TORCH]  # noqa: RUF012

    def __init__(
        self,
        keys: KeysCollection,
        image_key: str = "image",
        output_dir: str | Path = ".",
        overlay: bool = True,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.image_key, self.output_dir = image_key, Path(output_dir)
        self.draw = Overlay(min_size=256) if overlay else None

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """
        Raises:
            InputError: if a file cannot be written, or lies beside the image already.
        """
        image = data[self.image_key]
        source = source_of(image)
        stem = self.output_dir / source.meta["source"].stem
        ends = [f"_mask{source.meta['geometry'].suffix}"] + (["_overlay.png"] if self.draw is not None else [])
        for end in ends:
            check_beside_inputs(Path(f"{stem}{end}"), source.meta["source"].files)
        for key in self.key_iterator(dict(data)):
            probability = torch.as_tensor(data[key]).cpu()
            best, index = probability.max(dim=0)
            labels = torch.where(best > 0, index + 1, 0)
            write_mask(labels, source.meta["geometry"], f"{stem}_mask")
            if self.draw is not None:
                masks = torch.stack([labels == k + 1 for k in range(len(probability))])
                picture = self.draw(image.as_tensor().cpu(), masks, spacing=source.meta["spacing"])
                write_picture(picture, f"{stem}_overlay.png")
        return dict(data)


ReadImageD = ReadImageDict = ReadImaged
ReadLabelD = ReadLabelDict = ReadLabeld
LabelsToChannelsD = LabelsToChannelsDict = LabelsToChannelsd
WriteMaskD = WriteMaskDict = WriteMaskd
