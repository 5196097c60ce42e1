"""What a segment shows, as DICOM codes: SNOMED CT for the field's common targets, a private code for any other text.

The table is a data file, ``resources/segment_codes.json``. A name is looked up as a whole first ("left ventricle"),
then without its side and nature ("malignant"), then without a region before a finding ("lung nodule"). What the table
does not hold gets a code of the project's own scheme: a SNOMED code is never guessed.
"""

from __future__ import annotations

import functools
import hashlib
import json
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medclipsam_monai.base.errors import InputError

_TABLE = Path(__file__).parents[2] / "resources" / "segment_codes.json"
_SPELLINGS = {"tumour": "tumor", "haem": "hem", "oedema": "edema", "cancerous": "malignant", "bilateral": "both"}
_ARTICLES = ("a", "an", "the")
_LONGEST_MEANING = 64  # VR LO


@dataclass(frozen=True)
class Coded:
    """A coded concept.

    Attributes:
        value: the code, at most 16 characters.
        scheme: its coding scheme, such as "SCT".
        meaning: what it says in words, at most 64 characters.
    """

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True)
class SegmentCodes:
    """The codes of one segment.

    Attributes:
        category: what kind of thing it is (an anatomical structure, a morphologically abnormal structure ...).
        type: the thing.
        modifiers: its side, and whether it is benign or malignant, where the name says so.
        region: where in the body a finding lies, or None.
    """

    category: Coded
    type: Coded
    modifiers: tuple[Coded, ...] = ()
    region: Coded | None = None


@functools.cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(_TABLE.read_text(encoding="utf-8"))
    by_name = {name: target for target in table["targets"] for name in target["names"]}
    pairs = {name: {**target, "side": "both"} for target in table["targets"] for name in target.get("pair", ())}
    return {**table, "by_name": by_name | pairs}


def private_scheme() -> tuple[str, str]:
    """Designator and name of the coding scheme of the classes that the table does not hold."""
    private = _table()["private"]
    return private["scheme"], private["name"]


def _words(name: str) -> list[str]:
    """Lower case, American spelling, without articles and punctuation."""
    text = unicodedata.normalize("NFC", name).lower()
    for other, ours in _SPELLINGS.items():
        text = text.replace(other, ours)
    marks = [mark if mark == "_" or unicodedata.category(mark)[0] in "LNM" else " " for mark in text]
    words = "".join(marks).split()
    return [word for word in words if word not in _ARTICLES] or words  # a class may be called "A"


def _sct(pair: list[str]) -> Coded:
    return Coded(pair[0], "SCT", pair[1])


def _find(words: list[str]) -> dict[str, Any] | None:
    """The table's target for these words, with the side, nature and region they add; None if it holds none."""
    table = _table()
    found = table["by_name"].get(" ".join(words))
    if found is not None:
        return dict(found)
    added = {}
    for kind in ("side", "nature"):
        given = [word for word in words if word in table[f"{kind}s"]]
        if len(given) == 1:
            added[kind] = given[0]
            words = [word for word in words if word != given[0]]
    found = table["by_name"].get(" ".join(words))
    if found is None and words and words[0] in table["regions"]:
        found = table["by_name"].get(" ".join(words[1:]))
        added["region"] = words[0]
    if found is None:
        return None
    is_finding = found["category"] == "lesion"
    is_sided = is_finding or "pair" in found
    contradicts = added.get("nature", found.get("nature")) != found.get("nature", added.get("nature"))
    if contradicts or ("side" in added and not is_sided) or (not is_finding and {"nature", "region"} & set(added)):
        return None  # "left liver", "benign lung" and "benign cancer" are no concepts of the table
    return {**found, **added}


def segment_codes(name: str) -> SegmentCodes:
    """The codes of a class by its name ("lungs", "left kidney", "malignant breast tumour").

    Args:
        name: the class, in any case, in British or American spelling; names that the table does not hold get a code of
            the project's own scheme, the same for the same words.

    Raises:
        InputError: the name has neither letters nor digits.

    Examples:
        >>> codes = segment_codes("left lung nodule")
        >>> codes.type
        Coded(value='27925004', scheme='SCT', meaning='Nodule')
        >>> [modifier.meaning for modifier in codes.modifiers], codes.region.meaning
        (['Left'], 'Lung')
    """
    words = _words(name)
    if not words:
        raise InputError("a segment needs a name with letters or digits in it, got none")
    table = _table()
    found = _find(words)
    if found is None:
        private = table["private"]
        value = hashlib.sha256(" ".join(words).encode()).hexdigest()[:12].upper()
        category, meaning = private["category"]
        return SegmentCodes(
            Coded(category, private["scheme"], meaning),
            Coded(value, private["scheme"], label(name)),
        )
    modifiers = [_sct(table[f"{kind}s"][found[kind]]) for kind in ("nature", "side") if kind in found]
    return SegmentCodes(
        _sct(table["categories"][found["category"]]),
        Coded(found["code"], "SCT", found["meaning"]),
        tuple(modifiers),
        _sct(table["regions"][found["region"]]) if "region" in found else None,
    )


def label(text: str) -> str:
    """The text as DICOM holds a label or a meaning: one line of at most 64 characters, none a backslash or a control.

    Controls are those of terminals (escape, bell), which the standard forbids; half a surrogate pair cannot be written.
    """
    plain = "".join(" " if unicodedata.category(mark) in ("Cc", "Cs") else mark for mark in text)
    line = " ".join(plain.replace("\\", "/").split())
    return line if len(line) <= _LONGEST_MEANING else f"{line[: _LONGEST_MEANING - 3]}..."
