"""The classes that a server has, and their numbers: what /info lists, in that order, from 1 on.

A class keeps its number as long as the server runs: OHIF reads of an answer its voxels alone and takes the names from
/info. A word that is new gets the next number and is listed from then on. The list lies in a file, which the processes
of trainings and scorings share; what a label was submitted with outlives the server, other words do not.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.json_files import read_own_object, write_json
from medclipsam_monai.prompts import TextTarget, parse_targets

MOST_CLASSES = 255
"""A label map holds them in 8 bits."""
_BACKGROUND = "background"
_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class ServedClass:
    """One class of the list.

    Attributes:
        target: its name and sentences.
        kept: a label was submitted with it, or an ensemble was trained on it.
    """

    target: TextTarget
    kept: bool = False


def plain_name(name: str) -> str:
    """A name without what makes no difference: "Left  Lung " and "left lung" are one class."""
    return " ".join(unicodedata.normalize("NFC", name).casefold().split())


class ServedClasses:
    """The list of classes; may be used from several threads and processes.

    Args:
        first: the classes that the server is started with.
        file: where the list lies; None for one of this object alone.
    """

    def __init__(self, first: Sequence[TextTarget] = (), file: Path | None = None) -> None:
        self._first, self._file = tuple({plain_name(one.name): one for one in reversed(first)}.values())[::-1], file
        self._own: list[ServedClass] = []
        if self._first:
            self.numbers(self._first)

    def restart(self) -> None:
        """Begin anew, as a started server does: its own text first, then what labels were submitted with.

        These keep their numbers where the server's text is the one that it was; other words go.
        """

        def begin(classes: list[ServedClass]) -> None:
            last = max((number for number, one in enumerate(classes, start=1) if one.kept), default=0)
            del classes[last:]
            kept = {plain_name(one.target.name): one.kept for one in classes}
            own = [ServedClass(one, kept.get(plain_name(one.name), False)) for one in self._first]
            names = [plain_name(one.target.name) for one in own]
            if list(kept)[: len(own)] == names[: len(kept)]:
                classes[: len(own)] = own
            else:
                classes[:] = own + [one for one in classes if one.kept and plain_name(one.target.name) not in names]
                del classes[MOST_CLASSES:]

        self._change(begin)

    def first_names(self) -> list[str]:
        """The names of the classes that the server was started with: its numbers 1, 2 ... as long as it runs."""
        return [one.name for one in self._first]

    def names(self) -> list[str]:
        """All names; ``names()[i]`` has the number i + 1."""
        return [one.target.name for one in self._read()]

    def number(self, name: str) -> int | None:
        """The number of a name in any spelling, None where it is no class."""
        return _numbers(self._read()).get(plain_name(name))

    def target(self, number: int) -> TextTarget:
        """The class of a number, with the sentences that it was first asked for.

        Raises:
            InputError: it is none.
        """
        classes = self._read()
        if not 1 <= number <= len(classes):
            listed = ", ".join(f"{place} {one.target.name}" for place, one in enumerate(classes, start=1))
            raise InputError(f"there is no class {number}; the classes are {listed or 'none yet'}")
        return classes[number - 1].target

    def numbers(self, targets: Iterable[TextTarget], keep: bool = False) -> list[int]:
        """The numbers of some classes; those that are new are listed from now on.

        Args:
            targets: the classes.
            keep: let them outlive the server.

        Raises:
            InputError: more classes than a label map holds, or one called "background".
        """
        wanted = list(targets)

        def add(classes: list[ServedClass]) -> list[int]:
            known = _numbers(classes)
            for target in wanted:
                name = plain_name(target.name)
                if name == _BACKGROUND:
                    raise InputError("background is what belongs to no class; give the class another name: NAME=text")
                if name not in known:
                    if len(classes) == MOST_CLASSES:
                        raise InputError(
                            f"{target.name!r} would be class {MOST_CLASSES + 1}, a label map holds {MOST_CLASSES}; "
                            "restart the server: words that no label was submitted with are forgotten then"
                        )
                    classes.append(ServedClass(target))
                    known[name] = len(classes)
                number = known[name]
                classes[number - 1] = replace(classes[number - 1], kept=keep or classes[number - 1].kept)
            return [known[plain_name(target.name)] for target in wanted]

        return self._change(add)

    def served(self, targets: Iterable[TextTarget]) -> tuple[TextTarget, ...]:
        """Classes under the names that they are served by; two spellings of one are one class of several sentences."""
        classes = self._read()
        known = _numbers(classes)
        renamed: list[TextTarget] = []
        spelt: dict[str, str] = {}
        for target in targets:
            name = plain_name(target.name)
            number = known.get(name)
            spelt.setdefault(name, classes[number - 1].target.name if number else target.name)
            renamed.append(replace(target, name=spelt[name]))
        return parse_targets(renamed)

    def _read(self) -> list[ServedClass]:
        if self._file is None:
            return list(self._own)
        content = (read_own_object(self._file) if self._file.is_file() else None) or {}
        return [_from_record(record) for record in content.get("classes", [])]

    def _change(self, change: Callable[[list[ServedClass]], _Answer]) -> _Answer:
        """Let a function change the list; nothing changes if it raises."""
        if self._file is None:
            return self._changed(change)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self._file.with_suffix(".lock")):
            return self._changed(change)

    def _changed(self, change: Callable[[list[ServedClass]], _Answer]) -> _Answer:
        before = self._read()
        classes = list(before)
        answer = change(classes)
        if classes != before and self._file is not None:
            write_json({"classes": [_as_record(one) for one in classes]}, self._file)
        self._own = classes
        return answer


def _numbers(classes: Sequence[ServedClass]) -> dict[str, int]:
    return {plain_name(one.target.name): number for number, one in enumerate(classes, start=1)}


def _as_record(one: ServedClass) -> dict[str, Any]:
    target = one.target
    return {"name": target.name, "sentences": target.sentences, "opposites": target.opposites, "kept": one.kept}


def _from_record(record: dict[str, Any]) -> ServedClass:
    target = TextTarget(record["name"], tuple(record["sentences"]), tuple(record["opposites"]))
    return ServedClass(target, bool(record["kept"]))
