"""The words of a SentencePiece model file (spiece.model), read as data.

The file is a protocol buffer (sentencepiece_model.proto): field 1 repeats the pieces {1: text, 2: score, 3: kind},
field 2 holds {3: kind of model, 35: byte fallback, 40: number of the unknown piece}, field 3 holds
{2: the table of the normaliser, 3: add a space in front}. Other fields are passed over.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from medclipsam_monai.base.errors import InputError

_MOST_BYTES = 64 << 20
_UNIGRAM = 1
_VARINT, _DOUBLE, _BYTES, _FLOAT = 0, 1, 2, 5


@dataclass(frozen=True)
class SentencePieces:
    """A unigram model (Kudo, ACL 2018).

    Attributes:
        pieces: each piece with its score, by number.
        unknown: number of the piece that stands for what is in none.
        byte_fallback: whether what is in no piece becomes bytes.
        charsmap: table of the normaliser; empty if there is none.
        space_in_front: whether a text begins with a space.
    """

    pieces: tuple[tuple[str, float], ...]
    unknown: int
    byte_fallback: bool
    charsmap: bytes
    space_in_front: bool


def read_sentence_pieces(path: Path) -> SentencePieces:
    """The pieces of a spiece.model.

    Raises:
        InputError: it is damaged, too large, or another kind of model than a unigram.
    """
    try:
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:
            raise InputError(f"{path} must be a file of at most {_MOST_BYTES:,} bytes")
        fields = list(_fields(path.read_bytes()))
        pieces = tuple(_piece(value) for number, value in fields if number == 1)
        trainer = _last(fields, 2)
        normaliser = _last(fields, 3)
    except (ValueError, IndexError, struct.error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not a whole SentencePiece model; get it again") from error
    unknown = trainer.get(40, 0)
    if not pieces or not isinstance(unknown, int) or unknown >= len(pieces):
        raise InputError(f"{path} is not a whole SentencePiece model; get it again")
    if trainer.get(3, _UNIGRAM) != _UNIGRAM:
        raise InputError(f"{path} is no unigram model; expected SigLIP's, or a tokenizer.json in its place")
    charsmap = normaliser.get(2, b"")
    return SentencePieces(
        pieces,
        unknown,
        bool(trainer.get(35, 0)),
        charsmap if isinstance(charsmap, bytes) else b"",
        bool(normaliser.get(3, 1)),
    )


def _last(fields: list[tuple[int, int | float | bytes]], number: int) -> dict[int, int | float | bytes]:
    """The fields of a message that stands in a field; empty where there is none."""
    found = [value for field, value in fields if field == number]
    return dict(_fields(_as_bytes(found[-1]))) if found else {}


def _piece(message: int | float | bytes) -> tuple[str, float]:
    fields = dict(_fields(_as_bytes(message)))
    return _as_bytes(fields.get(1, b"")).decode("utf-8"), float(fields.get(2, 0.0))


def _as_bytes(value: int | float | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a number where a message belongs")
    return value


def _fields(message: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """The fields of a message, as number and value."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, place = _varint(message, place)
            yield number, value
            continue
        if kind == _BYTES:
            length, place = _varint(message, place)
        elif kind in (_FLOAT, _DOUBLE):
            length = 4 if kind == _FLOAT else 8
        else:
            raise ValueError("an unknown kind of field")
        if place + length > len(message):
            raise ValueError("cut off")
        part = message[place : place + length]
        place += length
        yield number, (part if kind == _BYTES else struct.unpack("<f" if kind == _FLOAT else "<d", part)[0])


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """A whole number of seven bits a byte, the lowest first, and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, place
    raise ValueError("a number of more than 64 bits")
