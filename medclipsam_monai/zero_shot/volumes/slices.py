"""The slices of a volume in batches, as the networks see them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from medclipsam_monai.base.memory_cache import MemoryCache
from medclipsam_monai.zero_shot.encoded import EncodedImages, batch_starts
from medclipsam_monai.zero_shot.volumes.ahead import ahead
from medclipsam_monai.zero_shot.volumes.stages import Stages

_T = TypeVar("_T")


class VolumeSlices:
    """The slices of a volume, to be looked at in batches as often as one likes.

    Args:
        network: encodes them.
        volume: (3, H, W, D) in [0, 1].
        batch: how many go through the networks together.
        progress: show a bar.
        memory: keeps what the networks make of the slices, within its bound; None for nothing.
        owner: of the slices in ``memory``; a tuple's first thing is the owner, the rest tells stacks of it apart.
    """

    def __init__(
        self,
        network: Stages,
        volume: Tensor,
        batch: int,
        progress: bool,
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
        """The first slice of each batch, and the batch; a bar says what is done with them.

        Args:
            doing: what is done.
            reach: slices on either side with which the mean of each is taken.
        """
        made = ahead(self.encoded(numbers, reach) for numbers in self.parts())
        yield from zip(batch_starts(len(self), self.batch, doing if self._progress else None), made, strict=True)

    def parts(self) -> Iterator[range]:
        """The numbers of the slices of each batch."""
        for first in range(0, len(self), self.batch):
            yield range(first, min(first + self.batch, len(self)))

    def encoded(self, numbers: Sequence[int], reach: int = 0) -> EncodedImages:
        """Some slices as one batch; ``reach`` as above."""
        names = [(*self._owner, number, *([reach] if reach else [])) for number in numbers]
        return self._network.encode_images(self.pictures(numbers, reach), self._memory, names)

    def shown(self, doing: str, steps: Iterable[_T], total: int) -> Iterator[_T]:
        """Steps, with a bar that says what is done in them where one is wanted."""
        if not self._progress:
            return iter(steps)
        from rich.progress import track

        return iter(track(steps, description=f"{doing} {len(self)} slices", total=total, transient=True))

    def pictures(self, numbers: Sequence[int], reach: int = 0) -> Tensor:
        """Slices (B, 3, H, W); the channels of a grey volume share their memory, as the volume's do."""
        volume = self._volume[:1] if self._volume.stride(0) == 0 else self._volume
        if reach:
            parts = [volume[..., max(0, number - reach) : number + reach + 1].mean(dim=-1) for number in numbers]
            pictures = torch.stack(parts)
        else:
            pictures = volume.movedim(-1, 0)[list(numbers)]
        return pictures.expand(-1, 3, -1, -1)
