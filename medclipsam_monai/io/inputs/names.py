"""Names for outputs, made of the names of inputs: printable, short enough for every file system, and never equal."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence

LONGEST_STEM = 120
"""Bytes. A file's name has at most 255; the rest is for a class, a suffix and the temporary name while writing."""


def safe_stem(text: str) -> str:
    """A name as a stem for outputs.

    What cannot be printed, bytes that are not UTF-8 and separators become "_", as do dots in front, which would hide
    the outputs. A name of more than 120 bytes is cut, and ends in a hash of the whole.

    Examples:
        >>> safe_stem(".M\\udcfcller")
        '_M_ller'
    """
    letters = ["_" if not letter.isprintable() or letter in "/\\" else letter for letter in text]
    stem = "".join(letters)
    bare = stem.lstrip(".")
    stem = "_" * (len(stem) - len(bare)) + bare
    return _shortened(stem or "image", os.fsencode(text))


def _shortened(stem: str, whole: bytes, ending: str = "") -> str:
    if len(stem.encode()) + len(ending) <= LONGEST_STEM:
        return stem + ending
    ending = ending or f"_{hashlib.sha256(whole).hexdigest()[:8]}"
    return stem.encode()[: LONGEST_STEM - len(ending)].decode("utf-8", "ignore") + ending


def folded(stem: str) -> str:
    """Equal for names that some file system takes for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", stem).casefold())


def unique_stems(
    stems: Sequence[str], others: Sequence[Callable[[int, str], str]], wholes: Sequence[bytes]
) -> list[str]:
    """Tells equal stems apart.

    Args:
        stems: of all images.
        others: longer names to try one after the other for those that are still equal; each is called with the place
            of the image in ``stems`` and its present stem.
        wholes: what tells each image from all others, for the hash that ends the name where nothing else helps.

    Returns:
        As many stems, no two of them equal on any file system.
    """

    def with_hash(place: int, stem: str) -> str:
        return _shortened(stem, b"", f"_{hashlib.sha256(wholes[place]).hexdigest()[:8]}")

    result = [safe_stem(stem) for stem in stems]
    for rename in (*others, with_hash):
        counts = Counter(map(folded, result))
        for place, stem in enumerate(result):
            if counts[folded(stem)] > 1:
                result[place] = safe_stem(rename(place, stem))
    return result
