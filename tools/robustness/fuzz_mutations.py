"""Damage to files, drawn from a seed: anywhere in their bytes, and in the fields of their headers.

A format is known here only as far as its fields can be found: where their numbers lie, and which parts can be taken
out or repeated. What comes out need not be valid in any way.
"""

from __future__ import annotations

import gzip
import re
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import nibabel as nib
import numpy as np

Form = Literal["text", "number", "float"]


@dataclass(frozen=True)
class Field:
    """A part of a header: bytes ``start`` to ``stop`` hold text, a whole number or a float, in this byte order."""

    start: int
    stop: int
    form: Form
    order: Literal["little", "big"] = "little"


@dataclass(frozen=True)
class Layout:
    """What is known of a file: its fields, and the parts (start, stop) that can be taken out, repeated or swapped."""

    fields: tuple[Field, ...]
    parts: tuple[tuple[int, int], ...]


_TEXTS = (
    *(b"0", b"-1", b"1", b"2", b"3", b"16", b"100", b"65536", b"2147483648", b"-2147483649", b"4294967296"),
    *(b"18446744073709551616", b"9" * 40, b"1e38", b"-1e38", b"1e400", b"1e-320", b"nan", b"-inf", b"inf", b"", b" "),
    *(b"0.5", b"x", b"\xff\xfe", b"1 2 3 4 5 6 7 8 9 10 11", b"True", b"LIST", b"../x.raw", b"A" * 300),
)
_FLOATS = (0.0, -0.0, -1.0, 1.0, 0.5, 1e38, -1e38, 3.4e38, 1e-40, float("nan"), float("inf"), float("-inf"), 1e6)


def _nifti_layout(data: bytes) -> Layout:
    header = nib.Nifti2Header if data[:4] == struct.pack("<i", 540) else nib.Nifti1Header
    order: Literal["little", "big"] = "big" if data[:4] == struct.pack(">i", 348) else "little"
    fields: list[Field] = []
    for entry in (header.template_dtype.fields or {}).values():
        kind, offset = entry[:2]
        base, count = (kind.subdtype[0], kind.itemsize // kind.subdtype[0].itemsize) if kind.subdtype else (kind, 1)
        form: Form = {"f": "float", "S": "text"}.get(base.kind, "number")  # type: ignore[assignment]
        step = base.itemsize
        fields += [Field(offset + i * step, offset + (i + 1) * step, form, order) for i in range(count)]
    return Layout(tuple(fields), tuple((field.start, field.stop) for field in fields))


def _text_layout(data: bytes) -> Layout:
    """Lines of a text header, and in them words and numbers."""
    end = re.search(rb"ElementDataFile[^\n]*\n|\n\r?\n", data)
    head = data[: end.end() if end else len(data)]
    words = tuple(Field(*word.span(), "text") for word in re.finditer(rb"[^\s,()=:]+", head))
    return Layout(words, tuple(line.span() for line in re.finditer(rb"[^\n]*\n", head)))


_LONG_LENGTHS = (b"OB", b"OD", b"OF", b"OL", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT")
_DICOM_NUMBERS = {b"US": 2, b"SS": 2, b"UL": 4, b"SL": 4, b"AT": 4, b"FL": 4, b"FD": 8}


def _dicom_layout(data: bytes) -> Layout:
    """Elements in explicit or implicit little endian, those inside of sequences too: a header each, then the value."""
    fields: list[Field] = []
    parts = []
    at, implicit = 132, False
    while at + 8 <= len(data):
        group, vr = int.from_bytes(data[at : at + 2], "little"), data[at + 4 : at + 6]
        if group == 0xFFFE:  # the start or end of an item
            fields.append(Field(at + 4, at + 8, "number"))
            at += 8
            continue
        if group != 2 and not (vr.isalpha() and vr.isupper()):
            implicit, vr = True, b""
        wide = vr in _LONG_LENGTHS and not implicit
        head = 12 if wide else 8
        size = Field(at + (8 if wide else 4 if implicit else 6), at + head, "number")
        length = int.from_bytes(data[size.start : size.stop], "little")
        fields += [Field(at, at + 2, "number"), Field(at + 2, at + 4, "number"), size]
        if vr == b"SQ" or length == 0xFFFFFFFF:
            at += head  # what is in the sequence follows as elements
            continue
        stop = min(at + head + length, len(data))
        parts.append((at, stop))
        if length <= 128:
            step = _DICOM_NUMBERS.get(vr, 0)
            form: Form = "float" if vr in (b"FL", b"FD") else "number"
            values = [Field(i, i + step, form) for i in range(at + head, stop - step + 1, step)] if step else []
            fields += values or [Field(at + head, stop, "text")]
        at = stop
    return Layout(tuple(fields), tuple(parts))


def _png_layout(data: bytes) -> Layout:
    fields: list[Field] = []
    parts = []
    at = 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        stop = min(at + 12 + length, len(data))
        parts.append((at, stop))
        fields.append(Field(at, at + 4, "number", "big"))
        if data[at + 4 : at + 8] == b"IHDR":
            fields += [Field(at + 8, at + 12, "number", "big"), Field(at + 12, at + 16, "number", "big")]
            fields += [Field(at + i, at + i + 1, "number", "big") for i in range(16, 21)]
        at = stop
    return Layout(tuple(fields), tuple(parts))


def _png_sums(data: bytes) -> bytes:
    """The chunks' sums made right again, so that readers look at what is inside."""
    out = bytearray(data)
    for start, stop in _png_layout(data).parts:
        if stop - start >= 12:
            out[stop - 4 : stop] = zlib.crc32(data[start + 4 : stop - 4]).to_bytes(4, "big")
    return bytes(out)


def _tiff_layout(data: bytes) -> Layout:
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    first = int.from_bytes(data[4:8], order)
    count = int.from_bytes(data[first : first + 2], order)
    starts = [at for at in range(first + 2, first + 2 + 12 * count, 12) if at + 12 <= len(data)]
    fields = [
        Field(at + a, at + b, "number", order) for at in starts for a, b in ((0, 2), (2, 4), (4, 8), (8, 10), (8, 12))
    ]
    return Layout((Field(4, 8, "number", order), *fields), tuple((at, at + 12) for at in starts))


def _jpeg_layout(data: bytes) -> Layout:
    fields, parts = [], []
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        stop = min(at + 2 + int.from_bytes(data[at + 2 : at + 4], "big"), len(data))
        parts.append((at, stop))
        fields += [Field(at + 1, at + 2, "number", "big"), Field(at + 2, at + 4, "number", "big")]
        fields += [Field(i, i + 1, "number", "big") for i in range(at + 4, min(stop, at + 24))]
        at = stop
    return Layout(tuple(fields), tuple(parts))


def _bmp_layout(data: bytes) -> Layout:
    """The numbers of BMP's two headers; the other pictures of this kind are damaged anywhere."""
    if data[:2] != b"BM":
        return Layout((), ())
    fields = [Field(at, at + 4, "number") for at in (2, 10, 14, 18, 22, 30, 34, 38, 42, 46)]
    fields += [Field(at, at + 2, "number") for at in (26, 28)]
    return Layout(tuple(fields), ((0, 14), (14, 54), (54, len(data))))


_LAYOUTS: dict[str, Callable[[bytes], Layout]] = {
    "nii": _nifti_layout,
    "mha": _text_layout,
    "nrrd": _text_layout,
    "dcm": _dicom_layout,
    "packed.dcm": _dicom_layout,
    "series": _dicom_layout,
    "png": _png_layout,
    "tiff": _tiff_layout,
    "jpg": _jpeg_layout,
    "bmp": _bmp_layout,
}


def _extreme(field: Field, data: bytes, rng: np.random.Generator) -> bytes:
    size = field.stop - field.start
    if field.form == "text":
        return _TEXTS[rng.integers(len(_TEXTS))]
    if field.form == "float" and size in (4, 8):
        order = "<" if field.order == "little" else ">"
        value = _FLOATS[rng.integers(len(_FLOATS))]
        return struct.pack(f"{order}{'f' if size == 4 else 'd'}", value)
    old, top = int.from_bytes(data[field.start : field.stop], field.order), (1 << 8 * size) - 1
    choices = (0, 1, 2, 3, 7, 16, top, top >> 1, (top >> 1) + 1, old + 1, old - 1, 2 * old, old >> 1, top - 1)
    return (choices[rng.integers(len(choices))] & top).to_bytes(size, field.order)


def _change_field(data: bytes, layout: Layout, rng: np.random.Generator) -> bytes:
    field = layout.fields[rng.integers(len(layout.fields))]
    return data[: field.start] + _extreme(field, data, rng) + data[field.stop :]


def _change_part(data: bytes, layout: Layout, rng: np.random.Generator) -> bytes:
    """A part taken out, repeated, or put in another's place."""
    start, stop = layout.parts[rng.integers(len(layout.parts))]
    other, _ = layout.parts[rng.integers(len(layout.parts))]
    part = data[start:stop]
    choice = rng.integers(3)
    if choice == 0:
        return data[:start] + data[stop:]
    return data[:stop] + part + data[stop:] if choice == 1 else data[:other] + part + data[other:]


def _place(data: bytes, rng: np.random.Generator) -> int:
    """Any place of the file, every second time one of its first 400 bytes."""
    return int(rng.integers(min(len(data), 400) if rng.integers(2) else len(data)))


def _change_bytes(data: bytes, layout: Layout, rng: np.random.Generator) -> bytes:
    out = bytearray(data)
    for _ in range(rng.integers(1, 9)):
        at, choice = _place(data, rng), rng.integers(4)
        out[at] = (0, 255, out[at] ^ (1 << int(rng.integers(8))), int(rng.integers(256)))[choice]
    return bytes(out)


def _change_length(data: bytes, layout: Layout, rng: np.random.Generator) -> bytes:
    """Cut short, a piece taken out, or noise put in."""
    at, choice = _place(data, rng), rng.integers(3)
    if choice == 0:
        return data[:at]
    if choice == 1:
        return data[:at] + data[at + int(rng.integers(1, 65)) :]
    return data[:at] + rng.bytes(int(rng.integers(1, 65))) + data[at:]


_CHANGES: tuple[Callable[[bytes, Layout, np.random.Generator], bytes], ...] = (
    *(_change_field, _change_field, _change_field, _change_part),
    *(_change_bytes, _change_bytes, _change_length),
)


def _splice(data: bytes, others: Sequence[bytes], rng: np.random.Generator) -> bytes:
    """The start of one file with the end of another."""
    other = others[int(rng.integers(len(others)))]
    return data[: _place(data, rng)] + other[_place(other, rng) :]


def mutate(data: bytes, kind: str, rng: np.random.Generator, others: Sequence[bytes] = ()) -> bytes:
    """Damage a file in one to three places.

    Args:
        data: a valid file.
        kind: its suffix, a key of `seeds.table.SEEDS`.
        rng: decides everything.
        others: valid files of the kind; every tenth time the file goes on as one of them.

    Returns:
        The damaged file. Of a .nii.gz every second time the packed bytes are damaged, else the NIfTI file inside.
    """
    if kind == "nii.gz":
        if rng.integers(2):
            inside = [gzip.decompress(other) for other in others]
            return gzip.compress(mutate(gzip.decompress(data), "nii", rng, inside), mtime=0)
        nothing = Layout((), ())
        return _CHANGES[-int(rng.integers(1, 4))](data, nothing, rng) or b"\0"
    if others and not rng.integers(10):
        data = _splice(data, others, rng) or b"\0"
    for _ in range((1, 1, 2, 3)[rng.integers(4)]):
        layout = _LAYOUTS[kind](data)
        found = bool(layout.fields and layout.parts)
        change = _CHANGES[rng.integers(len(_CHANGES)) if found else -int(rng.integers(1, 4))]
        data = change(data, layout, rng) or b"\0"
    return _png_sums(data) if kind == "png" and rng.integers(4) else data
