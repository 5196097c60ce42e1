"""The published weights that this package can use: a list in ``resources/weights.json``, and what an entry of it says.

A hash stands in the list only where several independent public sources state the same: pointer files of Git LFS in
copies of a hub's repositories, tables of other projects' downloads, and what others computed. Where one source alone
was found, or none, it is not known, and a download is checked by its size, where that is known, and by its form.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import size_text
from medclipsam_monai.base.json_files import read_object

RESOURCES = Path(__file__).parent.parent / "resources"
NOT_KNOWN = "not known"


@dataclass(frozen=True, kw_only=True)
class WeightEntry:
    """One network's published weights: a file, or a folder of a Hugging Face repository.

    Attributes:
        name: what users call it.
        what: what it is, in one line.
        role: "clip", "sam", "features" for an encoder of pictures alone, or "few-shot" for what is shown examples.
        kind: of encoder or segmenter in a preset (`medclipsam_monai.presets.networks`); empty for what is neither.
        file: name of the file or folder in the weights folder.
        url: where the file is downloaded from; empty for a folder, and for a file to be got by hand.
        repository: "organisation/name" on the hub, for a folder.
        revision: the commit of the repository; empty for its newest.
        source: the page of its authors.
        size: bytes of the file, of a folder those of its weights; None where it is not known.
        licence: SPDX identifier of the weights' licence, or its name; empty where none is stated.
        sha256: of the whole file; empty where it is not known. The short hash in SAM's official file names is an MD5's
            beginning, not this one's.
        gated: whether its authors want their licence accepted before they hand it out.
        note: what else a user should know, or has to do, in one line.
    """

    name: str
    what: str
    role: str
    source: str
    file: str
    kind: str = ""
    url: str = ""
    repository: str = ""
    revision: str = ""
    size: int | None = None
    licence: str = ""
    sha256: str = ""
    gated: bool = False
    note: str = ""

    @property
    def by_hand(self) -> bool:
        """Whether this program cannot download it."""
        return not (self.url or self.repository)

    @property
    def size_said(self) -> str:
        """The size for people."""
        return NOT_KNOWN if self.size is None else size_text(self.size)

    @property
    def licence_said(self) -> str:
        """The licence for people."""
        return self.licence or NOT_KNOWN

    def described(self) -> dict[str, Any]:
        """All fields for a program: what is not known is None."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: None if value == "" else value for name, value in fields.items()} | {"by_hand": self.by_hand}


@functools.cache
def known_weights() -> dict[str, WeightEntry]:
    """Every published network this package knows, by name."""
    entries = read_object(RESOURCES / "weights.json")
    return {name: WeightEntry(name=name, **fields) for name, fields in entries.items()}


def how_to_get(entry: WeightEntry, target: Path) -> str:
    """What a user does to have an entry's weights, in one line.

    Args:
        entry: of the list.
        target: the file or folder that is looked for.
    """
    if entry.by_hand:
        note = f" ({entry.note})" if entry.note else ""
        return f"it is got by hand: from {entry.source}, saved as {target}{note}"
    gate = f"; its licence has to be accepted at {entry.source} before" if entry.gated else ""
    size = "" if entry.size is None else f" ({entry.size_said})"
    return f"get it{size} by: medclipsam weights download {entry.name}{gate}"


def refuse_by_hand(entry: WeightEntry, target: Path) -> None:
    """Refuse to download what is to be got by hand.

    Raises:
        InputError: saying how.
    """
    if entry.by_hand:
        raise InputError(f"{entry.name} cannot be downloaded by this program; {how_to_get(entry, target)}")
