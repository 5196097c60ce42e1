"""Reading images and writing predictions of a checkpoint ensemble, as MONAI transforms for the bundle."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends

from medclipsam_monai.base.windows import WindowLike
from medclipsam_monai.io import ImageSource, read_image, write_picture
from medclipsam_monai.io.image_meta import collatable_meta, geometry_and_source
from medclipsam_monai.transforms import DisplayRange, Overlay
from medclipsam_monai.weak.ensemble.prediction import EnsemblePrediction
from medclipsam_monai.weak.ensemble.uncertainty import entropy
from medclipsam_monai.weak.nnunet.case_image import to_case_image


class ReadCase(Transform):
    """Read an image just as the ensemble's training saw it, see `read_case_image`.

    Args:
        window: how the intensities of 2-D images become grey levels, see `DisplayRange`.
        slice_axis: which way volumes are cut: "acquired", "axial", "coronal" or "sagittal".
    """

    backend = [TransformBackends.NUMPY]  # noqa: RUF012

    def __init__(self, window: WindowLike | None = None, slice_axis: str = "acquired") -> None:
        self.window, self.slice_axis = window, slice_axis

    def __call__(self, path: str | Path | ImageSource) -> MetaTensor:
        """A path or one of `find_inputs` to (C, H, W[, D]) float32, 0..255 where it is a picture.

        Raises:
            InputError: if the file cannot be used.
        """
        image = read_image(path, self.slice_axis)
        array = to_case_image(image, self.window).array
        meta = collatable_meta(image, self.slice_axis)
        return MetaTensor(torch.from_numpy(array).float(), affine=image.affine, meta=meta)


class ReadCased(MapTransform):
    """Dictionary-based wrapper of :py:class:`ReadCase`.

    Args:
        keys: keys of the paths, which become images.
        window: see `ReadCase`.
        slice_axis: see `ReadCase`.
        allow_missing_keys: do not raise where a key is missing.
    """

    backend = ReadCase.backend

    def __init__(
        self,
        keys: KeysCollection,
        window: WindowLike | None = None,
        slice_axis: str = "acquired",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.read = ReadCase(window, slice_axis)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        return {**data, **{key: self.read(data[key]) for key in self.key_iterator(dict(data))}}


class WritePredictiond(MapTransform):
    """Write mean probabilities as `EnsemblePrediction.save` does, with a picture of the mask; the data are left alone.

    Args:
        keys: keys of the probabilities (n, H, W[, D]), the background first.
        names: of the n classes.
        image_key: key of the image, read by `ReadCased`.
        output_dir: folder for the files.
        threshold: see `EnsemblePrediction.label_map`.
        members: names of the checkpoints, for the record.
        allow_missing_keys: do not raise where a key is missing.
    """

    backend = [TransformBackends.TORCH]  # noqa: RUF012

    def __init__(
        self,
        keys: KeysCollection,
        names: tuple[str, ...],
        image_key: str = "image",
        output_dir: str | Path = ".",
        threshold: float = 0.5,
        members: tuple[str, ...] = (),
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.names, self.members = tuple(names), tuple(members)
        self.image_key, self.output_dir, self.threshold = image_key, Path(output_dir), threshold

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """
        Raises:
            InputError: if a file cannot be written.
        """
        image = data[self.image_key]
        geometry, source = geometry_and_source(image.meta)
        for key in self.key_iterator(dict(data)):
            mean = torch.as_tensor(data[key]).cpu()
            found = EnsemblePrediction(mean, entropy(mean), None, self.names, self.members, geometry, source)
            found.save(self.output_dir, threshold=self.threshold)
            write_picture(
                mask_picture(
                    image.as_tensor().cpu(), found.label_map(self.threshold), self.names, image.meta.get("spacing")
                ),
                self.output_dir / f"{source.stem}_overlay.png",
            )
        return dict(data)


def mask_picture(
    image: torch.Tensor,
    labels: torch.Tensor,
    names: tuple[str, ...],
    spacing: tuple[float, ...] | None = None,
) -> Any:
    """An image (C, H, W[, D]) with a label map (H, W[, D]) drawn in, as pixels (H, W, 3) uint8.

    Args:
        image: of any range.
        labels: 0 for the background.
        names: of the classes, the background first.
        spacing: millimetres between rows and columns, see `Overlay`.
    """
    masks = torch.stack([labels == number for number in range(1, len(names))])
    return Overlay(names=names[1:], min_size=256)(DisplayRange()(image), masks, spacing=spacing)


ReadCaseD = ReadCaseDict = ReadCased
WritePredictionD = WritePredictionDict = WritePredictiond
