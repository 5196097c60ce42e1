"""What was found in a volume, kept in a few bytes a voxel: maps of numbers only where they are asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.networks.known_pictures import NearestPicture

MAPS = ("saliency", "probability")
"""What a volume's result holds on request: 4 bytes a voxel and class each."""


def check_maps(keep: Collection[str]) -> None:
    """Refuse what are no names of `MAPS`.

    Raises:
        InputError: the first one, or a text in place of several names.
    """
    for name in [keep] if isinstance(keep, str) else keep:
        if isinstance(keep, str) or name not in MAPS:
            raise InputError(f"keep must be a list of some of {', '.join(MAPS)}, got {name!r}")


@dataclass(frozen=True)
class VolumeResult:
    """What was found in a volume, as a stack of slices along a last axis D.

    It has all that a `ZeroShotResult` has; `saliency` and `probability` only where they were kept.

    Attributes:
        names: the K classes.
        label_map: (H, W, D) uint8: 0 background, else the class's place from 1; overlaps went to the more probable one.
        mask: (K, H, W, D) bool; classes may overlap.
        coarse: (K, H, W, D) bool, before SAM.
        boxes: a class's box prompts, (n, 5) as slice index, x0, y0, x1, y1 in pixels.
        presence: a class's greatest probability over slices of being in the picture, or None where nothing was given to
            compare it with.
        quality: SAM's own estimate of the masks' IoU, mean over slices; None where there was none.
        object_score: SAM 2's own logit that an object is there, the greatest over slices; None where there was none.
        maps: (K, H, W, D) float32 in [0, 1] by name, of `MAPS`.
        picture: which kind of picture the middle slice is nearest to; None where the kinds are not known.
    """

    names: tuple[str, ...]
    label_map: Tensor
    mask: Tensor
    coarse: Tensor
    boxes: tuple[Tensor, ...]
    presence: tuple[float | None, ...]
    quality: tuple[float | None, ...]
    object_score: tuple[float | None, ...]
    maps: Mapping[str, Tensor] = field(default_factory=dict)
    picture: NearestPicture | None = None

    @property
    def saliency(self) -> Tensor:
        """(K, H, W, D) in [0, 1].

        Raises:
            InputError: it was not kept.
        """
        return self._kept("saliency")

    @property
    def probability(self) -> Tensor:
        """(K, H, W, D) in [0, 1].

        Raises:
            InputError: it was not kept.
        """
        return self._kept("probability")

    def _kept(self, name: str) -> Tensor:
        if name not in self.maps:
            raise InputError(f"a volume's {name} is kept on request only: segment it with keep=({name!r},)")
        return self.maps[name]
