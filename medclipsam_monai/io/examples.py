"""Labelled examples: a few pictures with the masks of what is looked for, from a folder or from memory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.windows import WindowLike
from medclipsam_monai.io.formats.table import split_name
from medclipsam_monai.io.inputs.discovery import find_inputs
from medclipsam_monai.io.inputs.folders import meant_files
from medclipsam_monai.io.inputs.sources import ImageSource
from medclipsam_monai.io.inputs.stems import file_stem
from medclipsam_monai.io.label_maps import MASK_ENDINGS, find_given, read_label_map
from medclipsam_monai.io.records import hash_files, joined_hash

if TYPE_CHECKING:
    from torch import Tensor

MOST_EXAMPLES = 16
_IMAGES, _MASKS = "images", "labels"


@dataclass(frozen=True, eq=False)
class Examples:
    """Pictures, and where in each the target lies.

    Args:
        pictures: each (3, H, W) in [0, 1].
        masks: of each (H, W) bool.
        sha256: over the files they come from, in any order; of what is in memory over its values.

    Raises:
        InputError: none, too many, a mask of another size than its picture, an empty one, or no background in any.
    """

    pictures: tuple[Tensor, ...]
    masks: tuple[Tensor, ...]
    sha256: str = ""

    def __post_init__(self) -> None:
        check_count(len(self.pictures), "the examples")
        if len(self.masks) != len(self.pictures):
            raise InputError(f"there is one mask for each example, got {len(self.masks)} for {len(self.pictures)}")
        for number, (picture, mask) in enumerate(zip(self.pictures, self.masks, strict=True), start=1):
            if picture.shape != (3, *mask.shape) or mask.ndim != 2:
                shapes = f"{tuple(picture.shape)} and {tuple(mask.shape)}"
                raise InputError(f"example {number} must be a picture (3, H, W) and a mask (H, W), got {shapes}")
            if not mask.any():
                raise InputError(f"example {number}: its mask is empty; an example must show what is looked for")
        if all(bool(mask.all()) for mask in self.masks):
            raise InputError("the masks of the examples cover all of their pictures; one must show background, too")
        if not self.sha256:
            object.__setattr__(self, "sha256", joined_hash([_digest(*one) for one in self.pairs]))

    @property
    def pairs(self) -> list[tuple[Tensor, Tensor]]:
        """Each picture with its mask."""
        return list(zip(self.pictures, self.masks, strict=True))

    def __len__(self) -> int:
        return len(self.pictures)


def check_count(count: int, where: str | Path) -> None:
    """Refuse no example, or more than `MOST_EXAMPLES`.

    Raises:
        InputError: with how many there are.
    """
    if not 1 <= count <= MOST_EXAMPLES:
        raise InputError(f"{where}: there must be 1 to {MOST_EXAMPLES} labelled images, got {count}")


def find_examples(folder: str | Path) -> list[tuple[ImageSource, Path]]:
    """The images of a folder with their masks, by name; nothing is opened but to tell what it is.

    Masks lie beside their images (``a.png`` and ``a_mask.png``, with the endings of `find_given`), or the images in a
    folder ``images`` and the masks under the same names in ``labels``, as the bundles have them.

    Raises:
        InputError: no such folder, no image in it, too many, or one without a mask.
    """
    base = Path(folder).expanduser()
    if not base.is_dir():
        raise InputError(f"{base}: is no folder of examples; give one with images and their masks")
    apart = (base / _IMAGES).is_dir() and (base / _MASKS).is_dir()
    files = _files(base / _IMAGES) if apart else _files(base)
    images = files if apart else meant_files(base, _without_masks(files))
    check_count(len(images), base)
    sources = find_inputs(images)
    stems = {source.stem for source in sources}
    masks = find_given(base / _MASKS, stems) if apart else find_given(base, stems, MASK_ENDINGS)
    lone = next((source for source in sources if source.stem not in masks), None)
    if lone is not None:
        raise InputError(
            f"{lone.label}: has no mask; an example is an image with a mask beside it such as {lone.stem}_mask.png, "
            f"or in {_MASKS} where the images are in {_IMAGES}"
        )
    return [(source, masks[source.stem]) for source in sources]


def read_examples(folder: str | Path, window: WindowLike | None = None) -> Examples:
    """Examples from a folder, see `find_examples`.

    Args:
        folder: with images and masks; what is not 0 in a mask is the target.
        window: how intensities become grey levels, see `DisplayRange`; that of the images to segment.

    Raises:
        InputError: see `find_examples`; an image or mask that cannot be read, a volume, a mask of another size than its
            image, or an empty one.
    """
    import torch  # here with what reads images: a folder's mistakes are said before

    from medclipsam_monai.io.readers import read_image
    from medclipsam_monai.transforms import DisplayRange

    pictures, masks, digests = [], [], []
    for source, path in find_examples(folder):
        stored = read_image(source)
        picture = torch.as_tensor(DisplayRange(window)(stored)).as_subclass(torch.Tensor)
        if picture.ndim != 3:
            raise InputError(f"{source.label}: is a volume; an example is a picture, so give single slices")
        mask = torch.from_numpy(read_label_map(path, stored.meta["geometry"], ["target"]) > 0)
        if not mask.any():
            raise InputError(f"{path}: is empty; the mask of an example must show what is looked for")
        pictures.append(picture)
        masks.append(mask)
        digests.append(hashlib.sha256(f"{hash_files(source.files)} {hash_files([path])}".encode()).hexdigest())
    return Examples(tuple(pictures), tuple(masks), joined_hash(digests))


def _files(folder: Path) -> list[Path]:
    """The files of a folder that have a known format, not the hidden ones."""
    return sorted(path for path in folder.iterdir() if path.is_file() and path.name[0] != "." and split_name(path)[1])


def _without_masks(files: Sequence[Path]) -> list[Path]:
    """Files without those that are called as the mask of another one."""
    stems = {file_stem(path) for path in files}
    return [
        path
        for path in files
        if not any(
            file_stem(path).endswith(ending) and file_stem(path)[: -len(ending)] in stems for ending in MASK_ENDINGS
        )
        and not path.name.lower().endswith(".seg.nrrd")
    ]


def _digest(picture: Tensor, mask: Tensor) -> str:
    shape, values = str(tuple(picture.shape)).encode(), picture.float().cpu().contiguous().numpy().tobytes()
    return hashlib.sha256(shape + values + mask.cpu().contiguous().numpy().tobytes()).hexdigest()
