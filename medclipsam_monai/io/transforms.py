"""The readers and writers as MONAI transforms, for bundles and other MONAI pipelines."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform, Transform
from monai.utils import TraceKeys, TransformBackends
from torch import Tensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import check_beside_inputs
from medclipsam_monai.io.geometry import Geometry, to_display
from medclipsam_monai.io.image_meta import DISPLAY_META, collatable_meta, geometry_and_source, index_order
from medclipsam_monai.io.inputs.sources import ImageSource
from medclipsam_monai.io.readers import read_image
from medclipsam_monai.io.writers import write_mask, write_picture
from medclipsam_monai.transforms import Overlay


class ReadImage(InvertibleTransform):
    """Read a file or a DICOM series upright, see `read_image`.

    The result's meta data hold only what MONAI's data loaders can collate, and what `WriteMask` needs to write on the
    file's grid, see `collatable_meta`. The way from the file's grid to the upright one is in ``applied_operations``, so
    ``Invertd`` puts a prediction back, as ``SaveImaged`` expects it.

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
        meta = collatable_meta(image, self.slice_axis)
        shown = MetaTensor(image.as_tensor(), affine=image.affine, meta=meta)
        way = _way_to_display(image.meta["geometry"])
        return self.push_transform(shown, orig_size=way["shape"], extra_info=way)

    def inverse(self, data: Tensor) -> MetaTensor:
        """An upright image or prediction (K, H, W[, D]) to the file's grid, the one that MONAI's ``LoadImage`` gives.

        Its axes are the file's in index order: x (columns) first for pictures, too. No voxel is interpolated.

        Raises:
            ValueError: nothing says how it was read, or its size is not that of the image as read.
        """
        operations = list(data.applied_operations) if isinstance(data, MetaTensor) else []
        places = [place for place, one in enumerate(operations) if one[TraceKeys.CLASS_NAME] == type(self).__name__]
        if not isinstance(data, MetaTensor) or not places:
            raise ValueError("only an image whose applied operations hold ReadImage can be put back on its file's grid")
        way = operations.pop(places[-1])[TraceKeys.EXTRA_INFO]
        meta = {key: value for key, value in data.meta.items() if key not in ("affine", *DISPLAY_META)}
        meta["original_channel_dim"] = math.nan  # as of LoadImage; SaveImage takes a volume for flat without it
        affine = torch.tensor(way["affine"], dtype=torch.float64)
        return MetaTensor(_on_file(data.as_tensor(), way), affine=affine, meta=meta, applied_operations=operations)


def _way_to_display(geometry: Geometry) -> dict[str, Any]:
    """How a file's array became the upright image, in plain numbers, with the axes of the file in index order."""
    affine = np.eye(4) if geometry.affine is None else geometry.affine
    axes = index_order(geometry.orientation[:2], geometry.kind) + geometry.orientation[2:]
    return {
        "shape": list(index_order(geometry.shape, geometry.kind)),
        "axes": [axis for axis, _ in axes],
        "flips": [flip for _, flip in axes],
        "affine": affine.tolist(),
    }


def _on_file(shown: Tensor, way: Mapping[str, Any]) -> Tensor:
    """An upright (K, H, W[, D]) on the file's array (K, *shape)."""
    turned = (shown if shown.ndim == 4 else shown[..., None]).permute(0, *(axis + 1 for axis in way["axes"]))
    flipped = turned.flip([place + 1 for place, flip in enumerate(way["flips"]) if flip < 0])
    if list(flipped.shape[1:]) != [*way["shape"], 1, 1][:3]:
        raise ValueError(f"the image must be as large as it was read, {way['shape']}, got {list(flipped.shape[1:])}")
    return flipped.reshape(len(shown), *way["shape"]).contiguous()


class ReadImaged(MapTransform, InvertibleTransform):
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

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Images and predictions back on their files' grids, see `ReadImage.inverse`."""
        return {**data, **{key: self.read.inverse(data[key]) for key in self.key_iterator(dict(data))}}


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
        geometry, _ = geometry_and_source(data[self.image_key].meta)
        return {**data, **{key: self._read(data[key], geometry) for key in self.key_iterator(dict(data))}}

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
        geometry, source = geometry_and_source(image.meta)
        stem = self.output_dir / source.stem
        ends = [f"_mask{geometry.suffix}"] + (["_overlay.png"] if self.draw is not None else [])
        for end in ends:
            check_beside_inputs(Path(f"{stem}{end}"), source.files)
        for key in self.key_iterator(dict(data)):
            probability = torch.as_tensor(data[key]).detach().cpu()
            best, index = probability.max(dim=0)
            labels = torch.where(best > 0, index + 1, 0)
            write_mask(labels, geometry, f"{stem}_mask")
            if self.draw is not None:
                masks = torch.stack([labels == k + 1 for k in range(len(probability))])
                picture = self.draw(image.as_tensor().cpu(), masks, spacing=image.meta.get("spacing"))
                write_picture(picture, f"{stem}_overlay.png")
        return dict(data)


ReadImageD = ReadImageDict = ReadImaged
ReadLabelD = ReadLabelDict = ReadLabeld
LabelsToChannelsD = LabelsToChannelsDict = LabelsToChannelsd
WriteMaskD = WriteMaskDict = WriteMaskd
