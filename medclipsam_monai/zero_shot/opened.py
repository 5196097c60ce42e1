"""An image that is opened once and asked often: read, hashed and shown once, encoded where it is looked at."""

from __future__ import annotations

import time
import weakref
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor

from medclipsam_monai.base.memory_cache import MemoryCache
from medclipsam_monai.prompts import OppositesLike, TextLike
from medclipsam_monai.zero_shot.encoded import EncodedImages
from medclipsam_monai.zero_shot.one_image.reading import ShownImage
from medclipsam_monai.zero_shot.segmentation import Request, Segmentation
from medclipsam_monai.zero_shot.shown.picture import outlined, png
from medclipsam_monai.zero_shot.shown.viewer import volume_viewer
from medclipsam_monai.zero_shot.volumes.planes import ALL_AXES, segment_planes
from medclipsam_monai.zero_shot.volumes.progress import Progress
from medclipsam_monai.zero_shot.volumes.result import MAPS, VolumeResult, check_maps
from medclipsam_monai.zero_shot.volumes.segment import segment_volume, slice_distance

if TYPE_CHECKING:
    from medclipsam_monai.zero_shot.result import ZeroShotResult
    from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter

CACHE_BYTES = 512 * 1024**2


@dataclass(frozen=True, eq=False)
class OpenedImage(ShownImage):
    """What `TextSegmenter.open` gives: call it with a text, and again with another.

    Of each slice that a text was asked about it keeps what the networks made of it (SAM's embedding, the tokens after a
    block of CLIP, each text's saliency), within the bound of ``memory``; the longest unused goes first. So another text
    encodes nothing anew, and another threshold computes no saliency.

    Attributes:
        segmenter: the networks and the preset.
        memory: for what the networks made of it.
        key: what is its own in the memory.
    """

    segmenter: TextSegmenter
    memory: MemoryCache[Any]
    key: object = field(default_factory=object)

    def __post_init__(self) -> None:
        weakref.finalize(self, self.memory.forget, self.key)

    def __repr__(self) -> str:
        """One line: what was opened, and how large it is."""
        shape = self.display.shape[1:]
        return f"Opened {self.name}, {' x '.join(map(str, shape))} {'pixels' if len(shape) == 2 else 'voxels'}"

    def _repr_png_(self) -> bytes:
        """What the networks see as a PNG file, which notebooks show; of a volume some slices."""
        return png(outlined(self.display, self.geometry, self.spacing))

    def view(self) -> Any:
        """A volume to scroll and turn, see `Segmentation.view`."""
        return volume_viewer(self.display, self.geometry, self.name)

    def __call__(
        self,
        text: TextLike | None = None,
        opposites: OppositesLike | None = None,
        settings: Mapping[str, Any] | None = None,
        progress: Progress = False,
        keep: Collection[str] = (),
    ) -> Segmentation:
        """Segment by a text.

        Args:
            text: what to segment, see `parse_targets`; needed unless the segmenter has examples.
            opposites: what the picture shows where a class is absent, see `parse_targets`.
            settings: settings that differ for this call, see `Settings.replace`.
            progress: over the slices of a volume, see `Progress`.
            keep: maps of a volume to keep, of "saliency" and "probability": 4 bytes a voxel and class each. A
                picture's are always there.

        Raises:
            InputError: for a text, a setting or the name of a map that cannot be used.
        """
        segmenter = self.segmenter.with_settings(settings) if settings else self.segmenter
        request = segmenter.request(text, opposites, self.window, self.slice_axis)
        return self.answer(request, segmenter, progress, keep)

    def answer(
        self,
        request: Request,
        segmenter: TextSegmenter | None = None,
        progress: Progress = False,
        keep: Collection[str] = (),
    ) -> Segmentation:
        """Segment as a request of the segmenter says, see `TextSegmenter.request`.

        Args:
            request: maps that it saves are kept besides those of ``keep``.
            segmenter: which made the request; None for the image's own.
            progress: see the call.
            keep: see the call.

        Raises:
            InputError: an unknown map.
        """
        check_maps(keep)
        start = time.perf_counter()
        kept = {*keep, *(name for name in MAPS if request.parameters.get(f"save_{name}"))}
        found = self._found(request, segmenter or self.segmenter, progress, kept)
        return self.answered(found, request, time.perf_counter() - start)

    @property
    def slices(self) -> int:
        """How many pictures it has: 1, or a volume's slices."""
        return 1 if self.display.ndim == 3 else int(self.display.shape[-1])

    def encoded(self, first: int = 0, count: int = 1, segmenter: TextSegmenter | None = None) -> EncodedImages:
        """Some slices as `ZeroShotSegmenter`'s stages take them.

        Args:
            first: 0-based number of the first one.
            count: how many.
            segmenter: with other settings; None for the image's own.
        """
        network = (segmenter or self.segmenter).network
        pictures = self.display.unsqueeze(-1) if self.display.ndim == 3 else self.display
        part = pictures[..., first : first + count].movedim(-1, 0).contiguous()
        return network.encode_images(part, self.memory, [(self.key, first + k) for k in range(len(part))])

    def close(self) -> None:
        """Drop what the networks made of it; it can still be asked."""
        self.memory.forget(self.key)

    def _found(
        self, request: Request, segmenter: TextSegmenter, progress: Progress, keep: Collection[str]
    ) -> ZeroShotResult | VolumeResult:
        network = segmenter.network
        texts = network.encode_texts(request.targets)
        if self.display.ndim == 3:
            return network.segment_encoded(self.encoded(segmenter=segmenter), texts)[0]

        def segment(volume: Tensor, step: float | None, owner: Hashable) -> VolumeResult:
            return segment_volume(
                network, volume, texts, step, progress=progress, keep=keep, memory=self.memory, owner=owner
            )

        if self.slice_axis == ALL_AXES:
            return segment_planes(segment, self.display, self.spacing, self.geometry.display_affine, self.key)
        return segment(self.display, slice_distance(self.spacing), self.key)
