"""`WriteMaskd`: masks on the grid of the file that an image came from, whoever read it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import TransformBackends
from torch import Tensor

from medclipsam_monai.base.files import check_beside_inputs
from medclipsam_monai.io.transforms.file_grid import FileGrid, find_file_grid
from medclipsam_monai.io.transforms.labels import LabelMap
from medclipsam_monai.io.writers import write_mask, write_picture
from medclipsam_monai.transforms import Overlay


class WriteMaskd(MapTransform):
    """Write probabilities (K, H, W[, D]) as a label map on the grid of the file that their image was read from.

    A class is where its probability is not 0, see `LabelMap`. The image may be one of `ReadImaged` or of MONAI's
    ``LoadImaged``, also after transforms that keep its affine true (``Orientationd``, ``Spacingd``, crops, flips ...):
    each voxel of the file gets the label of the nearest voxel, and 0 outside of the image. The data stay as they are.

    Args:
        keys: keys of the probabilities, 0 outside of the masks. Of several, each file has the key in its name.
        image_key: key of the image on whose grid they are.
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
            InputError: if a file cannot be written, or lies beside the image already; an image of which cannot be told
                from what file it is or how it lies, or that does not fit its file or prediction.
        """
        found = {key: torch.as_tensor(data[key]).detach().cpu() for key in self.key_iterator(dict(data))}
        if not found:
            return dict(data)
        image = data[self.image_key]
        grid = find_file_grid(image)
        label_maps = {key: grid.labels(LabelMap()(probability)[0]) for key, probability in found.items()}
        stems = {key: self._stem(grid, key) for key in found}
        ends = [f"_mask{grid.geometry.suffix}"] + (["_overlay.png"] if self.draw is not None else [])
        for path in (Path(f"{stem}{end}") for stem in stems.values() for end in ends):
            check_beside_inputs(path, grid.source.files)
        for key, labels in label_maps.items():
            write_mask(labels, grid.geometry, f"{stems[key]}_mask")
            if self.draw is not None:
                self._write_overlay(grid, labels, len(found[key]), stems[key])
        return dict(data)

    def _stem(self, grid: FileGrid, key: Hashable) -> Path:
        return self.output_dir / (grid.source.stem if len(self.keys) == 1 else f"{grid.source.stem}_{key}")

    def _write_overlay(self, grid: FileGrid, labels: Tensor, classes: int, stem: Path) -> None:
        assert self.draw is not None
        masks = torch.stack([labels == k + 1 for k in range(classes)])
        picture, spacing = grid.picture()
        write_picture(self.draw(picture, masks, spacing=spacing), f"{stem}_overlay.png")


WriteMaskD = WriteMaskDict = WriteMaskd
