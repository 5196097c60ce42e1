"""Texts and pictures as the networks see them: what is made of a picture is made once, whatever is asked about it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from medclipsam_monai.base.devices import autocast
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.memory_cache import MemoryCache
from medclipsam_monai.networks.image_tokens import ImageTokens
from medclipsam_monai.networks.known_pictures import token_summary
from medclipsam_monai.networks.protocols import PromptableSegmenter, TextImageEncoder
from medclipsam_monai.prompts import TextTarget
from medclipsam_monai.saliency.method import SaliencyMethod

Sentences = tuple[str, ...]
_KEY_BYTES = 1024  # what a value in memory takes beside itself, at most


@dataclass(frozen=True)
class EncodedTexts:
    """Classes as unit vectors.

    Attributes:
        names: K names.
        sentences: for each class its sentences.
        vectors: for each class the unit vectors of its sentences, (n, E).
        text: (K, E), one mean vector a class; (K, 1) zeros of classes that examples show and no text describes.
        opposites: for each class the mean vector (E,) of its opposites, or None.
        denials: (K, E), one mean vector of the denials of a class's sentences; none where nobody asks for them.
    """

    names: tuple[str, ...]
    sentences: tuple[Sentences, ...]
    vectors: tuple[Tensor, ...]
    text: Tensor
    opposites: tuple[Tensor | None, ...]
    denials: Tensor | None = None


@torch.no_grad()
def encode_texts(encoder: TextImageEncoder, targets: Sequence[TextTarget], denied: bool = False) -> EncodedTexts:
    """Classes to unit vectors.

    Args:
        encoder: the text-image encoder.
        targets: the classes.
        denied: encode the denials of their sentences, too.

    Raises:
        InputError: a sentence that the encoder cannot take.
    """
    if all(not target.sentences for target in targets):  # examples stand for the words
        nothing = torch.zeros(len(targets), 1)
        names = tuple(target.name for target in targets)
        empty = ((),) * len(targets)
        return EncodedTexts(names, empty, (torch.zeros(0, 1),) * len(targets), nothing, (None,) * len(targets))
    vectors = tuple(encoder.encode_text(list(target.sentences)) for target in targets)
    return EncodedTexts(
        names=tuple(target.name for target in targets),
        sentences=tuple(tuple(target.sentences) for target in targets),
        vectors=vectors,
        text=torch.stack([mean_direction(one) for one in vectors]),
        opposites=tuple(
            mean_direction(encoder.encode_text(list(target.opposites))) if target.opposites else None
            for target in targets
        ),
        denials=torch.stack([_mean_denial(encoder, target.sentences) for target in targets]) if denied else None,
    )


def _mean_denial(encoder: TextImageEncoder, sentences: Sequence[str]) -> Tensor:
    """Mean direction (E,) of the denials of sentences; where one is too long by its "no", its last word goes."""
    vectors = []
    for denial in denials(sentences):
        try:
            vectors.append(encoder.encode_text([denial]))
        except InputError:
            vectors.append(encoder.encode_text([denial.rsplit(maxsplit=1)[0]]))
    return mean_direction(torch.cat(vectors))


def denials(sentences: Sequence[str]) -> list[str]:
    """What says of each sentence that it does not hold: "no liver" of "liver"."""
    return [f"no {sentence}" for sentence in sentences]


def mean_direction(vectors: Tensor) -> Tensor:
    """Unit vector (E,) along the mean of unit vectors (n, E)."""
    return F.normalize(vectors.mean(dim=0), dim=0)


class EncodedImages:
    """Pictures of one size, and what the networks made of them so far.

    Args:
        encoder: the text-image encoder.
        segmenter: the promptable segmenter.
        pictures: (B, 3, H, W) in [0, 1].
        amp: half precision in the segmenter's image encoder, where the device has it.
        memory: keeps what is made beyond the life of this object, within its bound; None for nothing.
        names: of the pictures, to find again in ``memory`` what was made of them.
    """

    def __init__(
        self,
        encoder: TextImageEncoder,
        segmenter: PromptableSegmenter,
        pictures: Tensor,
        amp: bool = False,
        memory: MemoryCache[Any] | None = None,
        names: Sequence[Hashable] = (),
    ) -> None:
        self.encoder, self.segmenter, self.pictures, self.amp = encoder, segmenter, pictures, amp
        self._memory, self._names = memory, names
        self._made: dict[tuple[int, Hashable], Any] = {}

    def __len__(self) -> int:
        return len(self.pictures)

    def embeddings(self, rows: Sequence[int] | None = None) -> list[Any]:
        """The segmenter's embedding of each picture, or of some."""

        def encode(rows: list[int]) -> Sequence[Any]:
            with autocast(self.encoder.device, self.amp):
                return self.segmenter.encode(self._some(rows))

        return self._each(("embedding", self.segmenter, self.amp), encode, rows)

    def vectors(self) -> Tensor:
        """The encoder's unit vectors of the pictures (B, E), from the deepest tokens that are there already."""
        return self._tokens(list(range(len(self)))).embedding()

    def summaries(self) -> Tensor:
        """Mean and spread of the pictures' last tokens (B, 2 C), see `token_summary`."""
        block = self.encoder.last_block

        def make(rows: list[int]) -> list[Tensor]:
            return list(token_summary(self._tokens(rows).after(block)))

        return torch.stack(self._each(("summary", self.encoder), make))

    def grids(self, method: SaliencyMethod, groups: Sequence[Sentences], text: Tensor) -> Tensor:
        """Saliency of texts on the patches' grid, not stretched.

        Args:
            method: of the saliency; one that cannot be hashed, such as a dataclass that is not frozen, is known as the
                object that it is, any other by what it equals.
            groups: the sentences that each of the G vectors is the mean of: what it is known by.
            text: (G, E) unit vectors.

        Returns:
            (B, G, rows, columns).
        """
        known_by = method.known_by if _is_hashable(method.known_by) else _Itself(method)
        keys = [("saliency", self.encoder, known_by, _digest(group)) for group in groups]
        wanted = [(row, k) for row in range(len(self)) for k, key in enumerate(keys) if self.recall(row, key) is None]
        if wanted:
            rows, columns = (sorted(set(part)) for part in zip(*wanted, strict=True))
            found = method.grids(self._tokens(rows), text[columns])
            for row, maps in zip(rows, found, strict=True):
                for column, grid in zip(columns, maps, strict=True):
                    self.keep(row, keys[column], grid.clone())
        return torch.stack([torch.stack([self.recall(row, key) for key in keys]) for row in range(len(self))])

    def _tokens(self, rows: list[int]) -> ImageTokens:
        return ImageTokens(self.encoder, self._some(rows).to(self.encoder.device), _KnownTokens(self, rows))

    def _some(self, rows: list[int]) -> Tensor:
        return self.pictures if len(rows) == len(self) else self.pictures[rows]

    def _each(
        self, what: Hashable, make: Callable[[list[int]], Sequence[Any]], rows: Sequence[int] | None = None
    ) -> list[Any]:
        """One thing of every picture, or of some; ``make`` makes those that are not there."""
        wanted = range(len(self)) if rows is None else rows
        missing = [row for row in wanted if self.recall(row, what) is None]
        if missing:
            for row, value in zip(missing, make(missing), strict=True):
                self.keep(row, what, value)
        return [self.recall(row, what) for row in wanted]

    def recall(self, row: int, what: Hashable) -> Any:
        """A thing that was made of a picture, or None."""
        value = self._made.get((row, what))
        if value is None and self._memory is not None:
            value = self._memory.get((*_tuple(self._names[row]), what))
            if value is not None:
                self._made[row, what] = value
        return value

    def keep(self, row: int, what: Hashable, value: Any) -> None:
        """Remember a thing that was made of a picture."""
        self._made[row, what] = value
        if self._memory is not None:
            self._memory.put((*_tuple(self._names[row]), what), value, value.nbytes + _KEY_BYTES)


def _digest(group: Sentences) -> bytes:
    """What stands for sentences in a key: they may be long, and a key is not counted by its length."""
    return hashlib.sha256(repr(group).encode()).digest()


def _is_hashable(thing: object) -> bool:
    try:
        hash(thing)
    except TypeError:
        return False
    return True


class _Itself:
    """Stands in a key for an object that cannot be hashed: equal for that object alone."""

    def __init__(self, thing: object) -> None:
        self.thing = thing

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and other.thing is self.thing

    def __hash__(self) -> int:
        return id(self.thing)


def _tuple(name: Hashable) -> tuple[Hashable, ...]:
    return name if isinstance(name, tuple) else (name,)


class _KnownTokens:
    """What is remembered of the tokens of some pictures, see `TokenMemory`."""

    def __init__(self, images: EncodedImages, rows: list[int]) -> None:
        self._images, self._rows = images, rows

    def _key(self, block: int) -> Hashable:
        return ("tokens", self._images.encoder, block)

    def get(self, block: int, /) -> Tensor | None:
        """(B, prefix + N, C), or None where those of a picture are not there."""
        parts = [self._images.recall(row, self._key(block)) for row in self._rows]
        return None if any(part is None for part in parts) else torch.stack(parts)

    def __setitem__(self, block: int, tokens: Tensor, /) -> None:
        for row, part in zip(self._rows, tokens, strict=True):
            self._images.keep(row, self._key(block), part.clone())
