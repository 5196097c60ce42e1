"""Image-text pairs as tensors: every picture decoded once, broken files named and left out."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import Randomizable
from torch import Tensor
from torch.utils.data import Dataset

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import write_atomically
from medclipsam_monai.finetune.data.pairs import Pair, read_pairs
from medclipsam_monai.finetune.data.phantoms import PREFIX, phantom_pairs, phantom_picture
from medclipsam_monai.finetune.data.splits import number_labels, split_by_case
from medclipsam_monai.io import read_image
from medclipsam_monai.networks.clip.preprocess import Preprocess
from medclipsam_monai.transforms import DisplayRange

_log = logging.getLogger(__name__)

Tokenize = Callable[[Sequence[str]], Tensor]
PHANTOMS = "phantoms"
_NAMED = 20  # broken files that the log names; all are in `ImageTextDataset.broken`


def load_pairs(source: str | Path, count: int = 400, **options: Any) -> list[Pair]:
    """The pairs that a configuration names.

    Args:
        source: "phantoms", or a table as in `read_pairs`.
        count: number of phantoms; a table is always taken whole.
        options: passed to `read_pairs`; those that are None are as if not given.
    """
    if source == PHANTOMS:
        return phantom_pairs(count)
    return read_pairs(source, **{name: value for name, value in options.items() if value is not None})


def load_split(
    source: str | Path,
    held_out: str | Path | None = None,
    fraction: float = 0.15,
    seed: int = 0,
    count: int = 400,
    **options: Any,
) -> tuple[list[Pair], list[Pair]]:
    """Training and held-out pairs: of two tables, or of one that is split by case.

    Args:
        source: see `load_pairs`.
        held_out: a table of held-out pairs; None splits `source`.
        fraction: share to hold out.
        seed: of the split.
        count: number of phantoms.
        options: see `load_pairs`.

    Raises:
        InputError: if a part holds fewer than the 2 pairs that contrast and retrieval need, or see `load_pairs`.
    """
    pairs = load_pairs(source, count, **options)
    if held_out is None:
        split = split_by_case(pairs, fraction, seed)
    else:
        split = pairs, load_pairs(held_out, count, **options)
    for part, name in zip(split, ("train with", "hold out"), strict=True):
        if len(part) < 2:
            raise InputError(
                f"{source}: {len(part)} pair to {name} of {len(pairs)}, at least 2 are needed: give more pairs, or "
                "another share to hold out"
            )
    return split


class ImageTextDataset(Dataset[dict[str, Any]]):
    """Pictures of one size with token numbers.

    All pictures are decoded when the data set is made, to 8 bits at the network's input size, and kept: in memory, or
    as files in `cache_dir`, which later runs use. What cannot be read is left out, counted and named.

    Args:
        data: the pairs.
        tokenize: captions to token numbers (N, L).
        preprocess: the network's, for its input size and how pictures that are not square are fitted.
        window: grey values to display values, see `DisplayRange`.
        cache_dir: folder for decoded pictures; None keeps them in memory.
        transform: augmentation of items, such as MONAI's `Compose`; seeded by `seed`, the epoch and the item, so that
            workers and a resumed run see the same.
        seed: of the augmentation.
        workers: threads that decode.

    Attributes:
        pairs: the pairs that could be read.
        broken: those that could not: their image and the reason.

    Raises:
        InputError: if no pair can be read, or what came are no pairs.
    """

    def __init__(
        self,
        data: Sequence[Pair],
        tokenize: Tokenize,
        preprocess: Preprocess,
        window: str | Sequence[float] | None = None,
        cache_dir: str | Path | None = None,
        transform: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
        seed: int = 0,
        workers: int = 2,
    ) -> None:
        if not all(isinstance(one, Pair) for one in data):
            raise InputError(
                "fine-tuning learns from images with captions, not from labels: train medclipsam_weak_segmentation on "
                "labels, and leave this bundle out of MONAI Label's --conf models"
            )
        self._pictures = _Pictures(preprocess, window, cache_dir)
        self.transform = transform
        self.seed = seed
        self.epoch = 0
        with ThreadPoolExecutor(max(1, workers)) as pool:
            results = list(pool.map(self._pictures.prepare, data))
        read = [(pair, result) for pair, result in zip(data, results, strict=True) if not isinstance(result, str)]
        self.pairs = [pair for pair, _ in read]
        self._stored = [result for _, result in read]
        self.broken = [(p.image, r) for p, r in zip(data, results, strict=True) if isinstance(r, str)]
        self._name_broken(len(data))
        self.cases = number_labels([pair.case for pair in self.pairs])
        self.captions = number_labels([pair.caption for pair in self.pairs])
        self.tokens = tokenize([pair.caption for pair in self.pairs])

    def _name_broken(self, total: int) -> None:
        if not self.pairs:
            reason = f", the first because: {self.broken[0][1]}" if self.broken else ""
            raise InputError(f"none of the {total} images can be read{reason}")
        if self.broken:
            named = "".join(f"\n  {reason}" for _, reason in self.broken[:_NAMED])
            more = f"\n  and {len(self.broken) - _NAMED} more" if len(self.broken) > _NAMED else ""
            _log.warning("%d of %d images cannot be read and are left out:%s%s", len(self.broken), total, named, more)

    def set_epoch(self, epoch: int) -> None:
        """Choose the augmentation of an epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The keys image (3, S, S) float32 in [0, 1], text (L,) int64, case and caption (numbers), and name."""
        item: Mapping[str, Any] = {
            "image": self._pictures.get(self._stored[index]),
            "text": self.tokens[index],
            "case": self.cases[index],
            "caption": self.captions[index],
            "name": self.pairs[index].image,
        }
        if isinstance(self.transform, Randomizable):
            seed = np.random.SeedSequence((self.seed, self.epoch, index)).generate_state(1)[0]
            self.transform.set_random_state(seed=int(seed))
        return dict(item if self.transform is None else self.transform(item))


class _Pictures:
    """Decodes pictures to 8 bits at the network's input size and keeps them."""

    def __init__(
        self, preprocess: Preprocess, window: str | Sequence[float] | None, cache_dir: str | Path | None
    ) -> None:
        self._preprocess = preprocess
        self._display = DisplayRange(window)
        self._recipe = f"{preprocess} {window}"
        self._folder = None if cache_dir is None else Path(cache_dir)

    def prepare(self, pair: Pair) -> Tensor | Path | str:
        """The picture (1 or 3, S, S) uint8, or the file it is kept in, or why it cannot be had."""
        try:
            if self._folder is None:
                return self._decode(pair)
            path = self._folder / f"{self._key(pair)}.npy"
            if not path.is_file():
                picture = self._decode(pair).numpy()
                write_atomically(path, lambda part: np.save(part, picture))
            return path
        except InputError as error:
            return str(error)

    @staticmethod
    def get(stored: Tensor | Path) -> Tensor:
        """A prepared picture as (3, S, S) float32 in [0, 1]."""
        picture = torch.from_numpy(np.load(stored)) if isinstance(stored, Path) else stored
        return (picture.float() / 255).expand(3, -1, -1).clone()

    def _key(self, pair: Pair) -> str:
        """A name that changes with the file, the slice and all that decoding depends on."""
        state = ""
        if not pair.image.startswith(PREFIX) and os.path.exists(pair.image):
            status = os.stat(pair.image)
            state = f"{status.st_size} {status.st_mtime_ns}"
        text = f"{os.path.abspath(pair.image)} {state} {pair.slice} {self._recipe}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def _decode(self, pair: Pair) -> Tensor:
        if pair.image.startswith(PREFIX):
            image = phantom_picture(pair.image).float().expand(3, -1, -1) / 255
        else:
            image = self._display.view(read_image(pair.image))
            image = _one_slice(image, pair)
        square = self._preprocess(image.unsqueeze(0))[0]
        mean, std = (square.new_tensor(x).view(-1, 1, 1) for x in (self._preprocess.mean, self._preprocess.std))
        picture = ((square * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
        grey = bool((picture[0] == picture[1]).all() and (picture[0] == picture[2]).all())
        return picture[:1].clone() if grey else picture


def _one_slice(image: Tensor, pair: Pair) -> Tensor:
    """The slice (3, H, W) of a volume (3, H, W, D) that the pair means; a picture as it is."""
    if image.ndim == 3:
        return image
    count = image.shape[-1]
    if pair.slice is None and count > 1:
        raise InputError(f"{pair.image}: is a volume of {count} slices; name a column that says which, slice=COLUMN")
    number = pair.slice or 0
    if not 0 <= number < count:
        raise InputError(f"{pair.image}: has slices 0 to {count - 1}, got {number}")
    return image[..., number]
