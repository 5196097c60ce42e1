"""How near a text is to what the weights were trained on.

A network that was trained on few things answers every text. What a preset's weights know is listed in the preset; a
text whose vector is near none of that list asks for something else, and its mask may mean nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medclipsam_monai.networks.protocols import TextImageEncoder


@dataclass(frozen=True)
class Nearest:
    """Of what the weights know, what a class is nearest to.

    Attributes:
        text: that.
        similarity: cosine of the two vectors.
        familiar: whether that is near enough to be meant.
        kinds: of pictures in which something is known that is near enough to be meant; none where nothing is.
    """

    text: str
    similarity: float
    familiar: bool
    kinds: tuple[str, ...] = ()


class KnownTexts:
    """What weights know, as vectors.

    Args:
        encoder: the text-image encoder.
        knows: for each kind of picture the targets known in it, each under one or more names.
        stranger_below: similarity under which a text is strange.

    Attributes:
        vectors: unit vectors (M, E) of the names alone and of each on its kind of picture.

    Raises:
        InputError: a text that the encoder cannot take.
    """

    def __init__(self, encoder: TextImageEncoder, knows: Mapping[str, Sequence[str]], stranger_below: float) -> None:
        self.knows, self.stranger_below = knows, stranger_below
        self.names = tuple(dict.fromkeys(name for names in knows.values() for name in names))
        sentences = [*self.names, *(f"{kind} showing the {name}" for kind, names in knows.items() for name in names)]
        self._of = (*self.names, *(name for names in knows.values() for name in names))
        with torch.no_grad():
            self.vectors: Tensor = encoder.encode_text(sentences)

    def nearest(self, texts: Sequence[Tensor]) -> tuple[Nearest, ...]:
        """For each class, given the unit vectors (n, E) of its sentences, what the least familiar one is nearest to."""
        return tuple(self._nearest(vectors) for vectors in texts)

    def _nearest(self, vectors: Tensor) -> Nearest:
        every = vectors @ self.vectors.T
        similarity, index = every.max(dim=1)
        worst = int(similarity.argmin())
        value = round(float(similarity[worst]), 3)
        familiar = value >= self.stranger_below
        near = (every >= self.stranger_below).any(dim=0).tolist()
        meant = {name for name, one in zip(self._of, near, strict=True) if one and familiar}
        kinds = tuple(kind for kind, names in self.knows.items() if meant.intersection(names))
        return Nearest(self._of[int(index[worst])], value, familiar, kinds)
