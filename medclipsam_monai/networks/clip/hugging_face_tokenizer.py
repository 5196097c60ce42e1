"""The tokenizer of a Hugging Face CLIP or SigLIP folder, by the tokenizers library alone.

tokenizer.json is read as data; where a SigLIP has spiece.model alone, its pieces make the same tokenizer. No class is
looked up by a name in the folder: that of tokenizer_config.json only says how SigLIP cleans a sentence.

SigLIP (Zhai et al., ICCV 2023) was trained on sentences in small letters without punctuation, filled up with padding,
and reads the last token: what is not brought to that form is other words to it, and "Lungs" is not "lungs".
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.json_files import read_object
from medclipsam_monai.base.value_checks import shown
from medclipsam_monai.networks.clip.checked_tokenizer import SPACE, CheckedTokenizer, known_and_unknown
from medclipsam_monai.weights.clip_tables import CODE
from medclipsam_monai.weights.hugging_face.sentence_pieces import read_sentence_pieces

SETTINGS = "tokenizer_config.json"
_MARKS = {
    "clip": {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>", "unk_token": "<|endoftext|>"},
    "siglip": {"eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>"},
}
_MOST_BYTES = 64 << 20
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


class HuggingFaceTokenizer(CheckedTokenizer):
    """Sentences to token numbers as CLIP and SigLIP of transformers take them: all of one length.

    Args:
        tokenizer: of the tokenizers library.
        context_length: number of tokens of a sentence with its padding.
        marks: names of the tokens "eos_token", "pad_token" and "unk_token".
        clean: what is done to a sentence first.

    Raises:
        InputError: the tokenizer has no such tokens.
    """

    def __init__(
        self, tokenizer: Any, context_length: int, marks: Mapping[str, str], clean: Callable[[str], str] = str
    ) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokenizer.encode_special_tokens = True  # a sentence that names a mark holds its letters, and ends at its end
        self._tokenizer = tokenizer
        self.context_length = context_length
        self._clean = clean
        numbers = {name: tokenizer.token_to_id(mark) for name, mark in marks.items()}
        missing = next((name for name in ("eos_token", "pad_token") if numbers[name] is None), None)
        if missing is not None:
            raise InputError(f"the tokenizer has no token {marks[missing]!r}, its {missing}")
        self.end, self.padding, self._unknown = numbers["eos_token"], numbers["pad_token"], numbers["unk_token"]

    @property
    def largest_number(self) -> int:
        """The largest token number that a sentence can get."""
        return max(self._tokenizer.get_vocab(with_added_tokens=True).values())

    def truncate(self, texts: Sequence[str]) -> Tensor:
        """Captions to token numbers (N, context_length): cut off where they are too long, but for the end mark."""
        rows = []
        for text in texts:
            ids = self._numbers(text)
            ids = [*ids[: self.context_length - 1], self.end] if len(ids) > self.context_length else ids
            rows.append(ids + [self.padding] * (self.context_length - len(ids)))
        return torch.tensor(rows, dtype=torch.long)

    def counts(self, text: str) -> tuple[int, int, int]:
        """See `CheckedTokenizer`."""
        words = self._tokenizer.encode(self._clean(text), add_special_tokens=False).ids
        unknown = None if self._unknown == self.end else self._unknown  # CLIP's byte pairs know every character
        return len(self._numbers(text)), *known_and_unknown(words, unknown, self._tokenizer.token_to_id(SPACE))

    def _numbers(self, text: str) -> list[int]:
        """Token numbers with marks; the end mark is put where the file does not."""
        ids = list(self._tokenizer.encode(self._clean(text)).ids)
        return ids if ids and ids[-1] == self.end else [*ids, self.end]


def hugging_face_tokenizer(folder: Path, kind: str, context_length: int) -> HuggingFaceTokenizer:
    """The tokenizer beside the weights of a "clip" or a "siglip".

    Raises:
        InputError: its files are missing or damaged.
    """
    settings = _settings(folder)
    marks = {name: _mark(settings.get(name), default, folder) for name, default in _MARKS[kind].items()}
    clean = _cleaning(settings) if kind == "siglip" else str
    try:
        return HuggingFaceTokenizer(_read(folder, kind), context_length, marks, clean)
    except InputError:
        raise
    except Exception as error:  # the tokenizers library raises plain exceptions
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"the tokenizer in {folder} cannot be used: {reason}") from error


def _settings(folder: Path) -> dict[str, Any]:
    """What the folder says of its marks and its cleaning."""
    found: dict[str, Any] = {}
    for name in ("special_tokens_map.json", SETTINGS):
        if (folder / name).is_file():
            content = read_object(folder / name)
            if any(content.get(code) for code in CODE):
                raise InputError(f"{folder / name} names code to run or fetch; expected settings only")
            found |= {key: value for key, value in content.items() if value is not None}
    return found


def _mark(given: Any, default: str, folder: Path) -> str:
    """A token's text, which stands alone or as the content of an object."""
    word = given.get("content") if isinstance(given, dict) else default if given is None else given
    if not isinstance(word, str):
        raise InputError(f"a token in {folder / SETTINGS} must be a text, got {shown(word)}")
    return word


def _cleaning(settings: Mapping[str, Any]) -> Callable[[str], str]:
    """How a SigLIP's sentences are cleaned: those of SigLIP 2, whose vocabulary is Gemma's, keep their punctuation."""
    if str(settings.get("tokenizer_class")).startswith(("Gemma", "Siglip2")):
        return _in_small_letters
    return canonical if settings.get("do_lower_case", True) else _without_punctuation


def canonical(text: str) -> str:
    """A sentence in small letters, without punctuation and with single spaces."""
    return _without_punctuation(text.lower())


def _without_punctuation(text: str) -> str:
    return " ".join(text.translate(_NO_PUNCTUATION).split())


def _in_small_letters(text: str) -> str:
    return " ".join(text.lower().split())


def _read(folder: Path, kind: str) -> Any:
    """A tokenizer of the tokenizers library from whichever file there is."""
    from tokenizers import Tokenizer

    if (folder / "tokenizer.json").is_file():
        path = folder / "tokenizer.json"
        model = read_object(path).get("model")  # the file is whole, and of a size that can be read
        if type(model) is not dict:
            raise InputError(f"model in {path} must be an object, got {shown(model)}")
        return Tokenizer.from_file(str(path))
    if kind == "siglip" and (folder / "spiece.model").is_file():
        return _of_pieces(folder / "spiece.model")
    names = ("vocab.json", "merges.txt")
    if kind == "clip" and all((folder / name).is_file() for name in names):
        return _of_merges(*(folder / name for name in names))
    other = "spiece.model" if kind == "siglip" else " and ".join(names)
    raise InputError(f"{folder} lacks tokenizer.json; expected that, or {other}")


def _of_merges(vocabulary: Path, merges: Path) -> Any:
    """CLIP's byte-pair tokenizer from the two files of old folders."""
    import transformers

    library: Any = transformers
    read_object(vocabulary)
    if merges.stat().st_size > _MOST_BYTES:
        raise InputError(f"{merges} must be a text file of at most {_MOST_BYTES:,} bytes")
    # By their places: transformers 4 and 5 do not call them the same.
    return library.CLIPTokenizerFast(str(vocabulary), str(merges)).backend_tokenizer


def _of_pieces(path: Path) -> Any:
    """The tokenizer that SentencePiece makes of a unigram model, with "</s>" at the end."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    read = read_sentence_pieces(path)
    tokenizer = Tokenizer(models.Unigram(list(read.pieces), unk_id=read.unknown, byte_fallback=read.byte_fallback))
    steps: list[Any] = [normalizers.Precompiled(read.charsmap)] if read.charsmap else []
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(Regex(" {2,}"), " ")])
    scheme = "always" if read.space_in_front else "never"
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme)
    return tokenizer
