"""An image as the networks are to see it, read without them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.windows import WindowLike
from medclipsam_monai.io import Geometry, ImageSource, read_image
from medclipsam_monai.io.geometry import ACQUIRED
from medclipsam_monai.io.memory import read_memory
from medclipsam_monai.transforms import DisplayRange
from medclipsam_monai.zero_shot.segmentation import Request, Segmentation
from medclipsam_monai.zero_shot.volumes.planes import ALL_AXES

if TYPE_CHECKING:
    from medclipsam_monai.zero_shot.result import ZeroShotResult
    from medclipsam_monai.zero_shot.volumes.result import VolumeResult


@dataclass(frozen=True, eq=False)
class ShownImage:
    """An image that was read and windowed.

    Attributes:
        display: (3, H, W[, D]) in [0, 1], what the networks see; the channels of a grey image share their memory.
        geometry: puts a mask back on the file's own array.
        spacing: millimetres along the display's axes, None where unknown.
        name: base name of the input.
        stem: start of the names of the files that are saved.
        sha256: of the input.
        window: see `DisplayRange`.
        slice_axis: how the volume was cut, or is: "all" cuts it along all three axes, see `segment_planes`.
        files: the input's own.
    """

    display: Tensor
    geometry: Geometry
    spacing: tuple[float, ...] | None
    name: str
    stem: str
    sha256: str
    window: WindowLike | None
    slice_axis: str
    files: tuple[Path, ...]

    def answered(self, found: ZeroShotResult | VolumeResult, request: Request, seconds: float) -> Segmentation:
        """The answer to a request, from what the networks found in the display in so many seconds."""
        return Segmentation(
            found=found,
            display=self.display,
            geometry=self.geometry,
            spacing=self.spacing,
            name=self.name,
            stem=self.stem,
            input_sha256=self.sha256,
            request=request,
            seconds=seconds,
            files=self.files,
        )


def show_image(
    image: Any,
    window: WindowLike | None = None,
    slice_axis: str = "acquired",
    spacing: Sequence[float] | None = None,
    affine: Any = None,
) -> ShownImage:
    """Read an image and make of it what the networks see; the arguments of `TextSegmenter.open`.

    Raises:
        InputError: for an image that cannot be used.
    """
    cut = ACQUIRED if slice_axis == ALL_AXES else slice_axis
    if not isinstance(image, str | Path | ImageSource):
        loaded, stem, files = read_memory(image, cut, spacing, affine), "image", ()
    else:
        if spacing is not None or affine is not None:
            raise InputError(f"{image}: a file states its own geometry; spacing and affine are for arrays")
        loaded = read_image(image, cut)
        stem, files = loaded.meta["source"].stem, loaded.meta["source"].files
    meta = loaded.meta
    return ShownImage(
        display=DisplayRange(window).view(loaded),
        geometry=meta["geometry"],
        spacing=meta["spacing"],
        name=meta["filename"],
        stem=stem,
        sha256=meta["sha256"],
        window=window,
        slice_axis=slice_axis,
        files=files,
    )
