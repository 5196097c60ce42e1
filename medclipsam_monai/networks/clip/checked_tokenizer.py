"""Tokenizers that refuse what they would silently cut off or not understand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor

from medclipsam_monai.base.errors import InputError


class CheckedTokenizer(ABC):
    """Sentences to token numbers, each sentence looked at before.

    Attributes:
        context_length: greatest number of tokens a sentence may have.
    """

    context_length: int

    @property
    @abstractmethod
    def largest_number(self) -> int:
        """The largest token number that a sentence can get."""

    @abstractmethod
    def truncate(self, texts: Sequence[str]) -> Tensor:
        """Captions to token numbers (N, L), cut off where they are too long: what training does, never a request."""

    @abstractmethod
    def counts(self, text: str) -> tuple[int, int, int]:
        """How many tokens a sentence has with its marks, and how many of its words' tokens are known and unknown."""

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Sentences to token numbers (N, L).

        Raises:
            InputError: for an empty sentence, one that is too long, or one without any known word.
        """
        for text in texts:
            self._check(text)
        return self.truncate(texts)

    def _check(self, text: str) -> None:
        if not text.strip():
            raise InputError("the text is empty; describe what to segment, for example 'lungs'")
        if len(text) > 20 * self.context_length:
            raise InputError(f"the text has {len(text)} characters, this model reads {self.context_length} tokens")
        tokens, known, unknown = self.counts(text)
        if tokens > self.context_length:
            raise InputError(f"the text has {tokens} tokens, this model reads at most {self.context_length}")
        if unknown > known or not known:
            raise InputError(
                f"the words of {text!r} are not in this model's vocabulary; describe the target in English"
            )


class OpenClipTokenizer(CheckedTokenizer):
    """open_clip's tokenizer, checked.

    Args:
        tokenizer: as made by ``open_clip.get_tokenizer``.
        context_length: greatest number of tokens a sentence may have.
        padding_is_masked: whether the text tower looks past padding, as BERT does. Columns that no sentence fills are
            then left out: most of BiomedCLIP's 256. Other towers need their whole length: SigLIP's reads the last
            token, which is padding.
    """

    def __init__(self, tokenizer: Any, context_length: int, padding_is_masked: bool) -> None:
        self._tokenizer = tokenizer
        self.context_length = context_length
        self._padding_is_masked = padding_is_masked

    @property
    def largest_number(self) -> int:
        """The largest token number that a sentence can get."""
        inner = getattr(self._tokenizer, "tokenizer", None)
        return int(self._tokenizer.vocab_size if inner is None else max(inner.get_vocab().values())) - (inner is None)

    def truncate(self, texts: Sequence[str]) -> Tensor:
        """Captions to token numbers (N, L), cut off where they are too long."""
        ids: Tensor = self._tokenizer(list(texts), context_length=self.context_length)
        padding = getattr(getattr(self._tokenizer, "tokenizer", None), "pad_token_id", None)
        if padding is None or not self._padding_is_masked:
            return ids
        return ids[:, : int((ids != padding).sum(dim=1).max())]

    def counts(self, text: str) -> tuple[int, int, int]:
        """See `CheckedTokenizer`."""
        hugging_face = getattr(self._tokenizer, "tokenizer", None)
        if hugging_face is None:  # open_clip's own BPE adds its two marks later, and knows every character
            pairs = len(self._tokenizer.encode(text))
            return pairs + 2, pairs, 0
        text = self._tokenizer.clean_fn(text)
        ids = list(hugging_face(text, truncation=False, verbose=False)["input_ids"])
        unknown = hugging_face.unk_token_id
        marks = {number for number in hugging_face.all_special_ids if number != unknown}
        words = [number for number in ids if number not in marks]
        return len(ids), *known_and_unknown(words, unknown, hugging_face.get_vocab().get(SPACE))


SPACE = "▁"
"""The piece in front of a word that a SentencePiece vocabulary does not have."""


def known_and_unknown(words: Sequence[int], unknown: int | None, space: int | None) -> tuple[int, int]:
    """How many token numbers are known and unknown; a space in front of an unknown one is neither."""
    if unknown is None:
        return len(words), 0
    spaces = sum(number == space and after == unknown for number, after in pairwise(words))
    missing = list(words).count(unknown)
    return len(words) - missing - spaces, missing
