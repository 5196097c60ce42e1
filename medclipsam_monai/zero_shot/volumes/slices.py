"""The slices of a volume in batches, as the networks see them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from medclipsam_monai.base.memory_cache import MemoryCache
from medclipsam_monai.zero_shot.encoded import EncodedImages
from medclipsam_monai.zero_shot.volumes.ahead import ahead
from medclipsam_monai.zero_shot.volumes.progress import Progress, Step, shown
from medclipsam_monai.zero_shot.volumes.stages import Stages


class VolumeSlices:
    """The slices of a volume, to be looked at in batches as often as one likes.

    Args:
        network: encodes them.
        volume: (3, H, W, D) in [0, 1].
        batch: how many go through the networks together.
        progress: see `Progress`.
        memory: keeps what the networks make of the slices, within its bound; None for nothing.
        owner: of the slices in ``memory``; a tuple's first thing is the owner, the rest tells stacks of it apart.
    """

    def __init__(
        self,
        network: Stages,
        volume: Tensor,
        batch: int,
        progress: Progress,
        memory: MemoryCache[Any] | None,
        owner: Hashable,
    ) -> None:
        self._network, self._volume, self.batch, self._progress = network, volume, batch, progress
        self._memory, self._owner = memory, owner if isinstance(owner, tuple) else (owner,)

    def __len__(self) -> int:
        return int(self._volume.shape[-1])

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self._volume.shape[1]), int(self._volume.shape[2])

    def batches(self, doing: str, reach: int = 0) -> Iterator[tuple[int, EncodedImages]]:
        """The first slice of each batch, and the batch; what is done with them is said, see `Progress`.

        Args:
            doing: what is done.
            reach: slices on either side with which the mean of each is taken.
        """
        parts = self.parts()
        made = ahead(self.encoded(numbers, reach) for numbers in parts)
        for numbers, images in self.shown(doing, zip(parts, made, strict=True), len(parts)):
            yield numbers.start, images

    def parts(self) -> list[range]:
        """The numbers of the slices of each batch."""
        return [range(first, min(first + self.batch, len(self))) for first in range(0, len(self), self.batch)]

    def encoded(self, numbers: Sequence[int], reach: int = 0) -> EncodedImages:
        """Some slices as one batch; ``reach`` as above."""
        names = [(*self._owner, number, *([reach] if reach else [])) for number in numbers]
        return self._network.encode_images(self.pictures(numbers, reach), self._memory, names)

    def shown(self, doing: str, steps: Iterable[Step], total: int) -> Iterator[Step]:
        """Steps; what is done in them is said, see `Progress`."""
        return shown(steps, f"{doing} {len(self)} slices", total, self._progress)

    def pictures(self, numbers: Sequence[int], reach: int = 0) -> Tensor:
        """Slices (B, 3, H, W); the channels of a grey volume share their memory, as the volume's do."""
        volume = self._volume[:1] if self._volume.stride(0) == 0 else self._volume
        if reach:
            parts = [volume[..., max(0, number - reach) : number + reach + 1].mean(dim=-1) for number in numbers]
            pictures = torch.stack(parts)
        else:
            pictures = volume.movedim(-1, 0)[list(numbers)]
        return pictures.expand(-1, 3, -1, -1)
