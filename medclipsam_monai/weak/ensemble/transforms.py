"""Reading images and writing predictions of a checkpoint ensemble, as MONAI transforms for the bundle."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, convert_to_dst_type
from torch import Tensor

from medclipsam_monai.base.windows import WindowLike
from medclipsam_monai.io import write_picture
from medclipsam_monai.io.image_meta import geometry_and_source
from medclipsam_monai.io.transforms import ReadImage, ReadImaged
from medclipsam_monai.transforms import DisplayRange, Overlay
from medclipsam_monai.weak.ensemble.prediction import EnsemblePrediction, label_map
from medclipsam_monai.weak.ensemble.uncertainty import entropy
from medclipsam_monai.weak.nnunet.case_image import case_array


class ReadCase(ReadImage):
    """Read an image just as the ensemble's training saw it, see `read_case_image`; else as `ReadImage`.

    The image is (C, H, W[, D]) float32, 0..255 where it is a picture.

    Args:
        window: how the intensities of 2-D images become grey levels, see `DisplayRange`.
        slice_axis: which way volumes are cut: "acquired", "axial", "coronal" or "sagittal".
    """

    def __init__(self, window: WindowLike | None = None, slice_axis: str = "acquired") -> None:
        super().__init__(slice_axis)
        self.window = window

    def values(self, image: MetaTensor) -> Tensor:
        """See `case_array`."""
        return torch.from_numpy(case_array(image, self.window)).float()


class ReadCased(ReadImaged):
    """Dictionary-based wrapper of :py:class:`ReadCase`.

    Args:
        keys: keys of the paths or images, which become images.
        window: see `ReadCase`.
        slice_axis: see `ReadCase`.
        allow_missing_keys: do not raise where a key is missing.
    """

    def __init__(
        self,
        keys: KeysCollection,
        window: WindowLike | None = None,
        slice_axis: str = "acquired",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, slice_axis, allow_missing_keys)
        self.read = ReadCase(window, slice_axis)


class ThresholdClasses(Transform):
    """Mean probabilities (n, H, W[, D]), the background first, to a label map (1, H, W[, D]) uint8.

    Args:
        threshold: see `EnsemblePrediction.label_map`.
    """

    backend = [TransformBackends.TORCH]  # noqa: RUF012

    def __init__(self, threshold: float = 0.5) -> None:
        self.threshold = threshold

    def __call__(self, probability: Tensor) -> Tensor:
        """Of the kind that came, a MetaTensor with its meta data and applied operations.

        Raises:
            InputError: a threshold that is none.
        """
        labels = label_map(torch.as_tensor(probability), self.threshold)[None]
        return convert_to_dst_type(labels, dst=probability, dtype=torch.uint8)[0]


class ThresholdClassesd(MapTransform):
    """Dictionary-based wrapper of :py:class:`ThresholdClasses`.

    Args:
        keys: keys of the probabilities, which become label maps.
        threshold: see `ThresholdClasses`.
        threshold_key: key of the data under which a host may ask for another; None for none.
        allow_missing_keys: do not raise where a key is missing.
    """

    backend = ThresholdClasses.backend

    def __init__(
        self,
        keys: KeysCollection,
        threshold: float = 0.5,
        threshold_key: str | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.convert, self.threshold_key = ThresholdClasses(threshold), threshold_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        asked = None if self.threshold_key is None else data.get(self.threshold_key)
        convert = self.convert if asked is None else ThresholdClasses(asked)
        return {**data, **{key: convert(data[key]) for key in self.key_iterator(dict(data))}}


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
        for key in self.key_iterator(dict(data)):
            image = data[self.image_key]
            geometry, source = geometry_and_source(image.meta)
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
ThresholdClassesD = ThresholdClassesDict = ThresholdClassesd
WritePredictionD = WritePredictionDict = WritePredictiond
