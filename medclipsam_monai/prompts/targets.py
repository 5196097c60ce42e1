"""A class to segment as words: a name, the sentences that describe it, and what it is not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from medclipsam_monai.base.errors import InputError

_MOST_CLASSES = 255  # a label map holds them in 8 bits


@dataclass(frozen=True)
class TextTarget:
    """One class.

    Args:
        name: what the class is called in results.
        sentences: descriptions of it; several are an ensemble, the mean of their embeddings (prompts P4 and P5).
        opposites: what the picture shows where the class is absent ("no tumor", "a normal brain").

    Raises:
        InputError: if the name, the sentences or one of them is empty, or no UTF-8.
    """

    name: str
    sentences: tuple[str, ...]
    opposites: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise InputError("a class needs a name, got an empty one")
        if not self.sentences:
            raise InputError(f"class {self.name!r} has no text; describe it in a word or a sentence")
        for sentence in (*self.sentences, *self.opposites):
            if not isinstance(sentence, str) or not sentence.strip():
                raise InputError(f"class {self.name!r} has an empty text; describe it in a word or a sentence")
        for text in (self.name, *self.sentences, *self.opposites):
            if any("\ud800" <= letter <= "\udfff" for letter in text):  # what is left of bytes in another encoding
                raise InputError(f"a text must be UTF-8, got {ascii(text)[:80]}")


@dataclass(frozen=True)
class WordlessTarget(TextTarget):
    """A class that no text describes, but labelled examples do.

    Args:
        name: what the class is called in results.
    """

    name: str = "examples"
    sentences: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Nothing to check: there are no words."""


_Sentences: TypeAlias = str | Iterable[str]
TextLike: TypeAlias = (
    str | TextTarget | Iterable[str | TextTarget] | Mapping[str, _Sentences | Mapping[str, _Sentences]]
)
"""What a user may ask for; `parse_targets` says what each form means."""
OppositesLike: TypeAlias = str | Iterable[str]
"""What is seen where a class is absent: "NAME=sentence", or a plain sentence where there is one class."""


def parse_targets(text: TextLike | None, opposites: OppositesLike | None = None) -> tuple[TextTarget, ...]:
    """Classes from what a user may write.

    Args:
        text: one of

            - "lungs": a class with its own name as its text;
            - "lungs=both lungs on a chest X-ray": a name and a text for it;
            - a sequence of such strings: several classes, or several sentences for one name;
            - a mapping of names to a sentence, to several, or to ``{"sentences": ..., "opposites": ...}``;
            - a `TextTarget` or a sequence of them.
        opposites: "NAME=sentence" or a sequence of these; a plain sentence where there is one class.

    Returns:
        The classes in the order given. Their number in a label map is their place, counted from 1.

    Raises:
        InputError: if there is no class, an empty text, more than 255 classes, or an opposite of no class.

    Examples:
        >>> for target in parse_targets(["lungs=left lung", "lungs=right lung", "heart"]):
        ...     print(target.name, target.sentences)
        lungs ('left lung', 'right lung')
        heart ('heart',)
    """
    targets = _from_mapping(text) if isinstance(text, Mapping) else _from_sequence(_as_list(text))
    if not targets:
        raise InputError("there is no text; describe what to segment, for example 'lungs'")
    if len(targets) > _MOST_CLASSES:
        raise InputError(f"{len(targets)} classes are more than a label map holds, at most {_MOST_CLASSES}")
    return _with_opposites(targets, _as_list(opposites))


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, str | TextTarget):
        return [value]
    if isinstance(value, Iterable):
        return list(value)
    raise InputError(f"a text must be words, got {value!r}")


def _from_sequence(items: Sequence[Any]) -> tuple[TextTarget, ...]:
    named: dict[str, TextTarget] = {}
    for item in items:
        target = item if isinstance(item, TextTarget) else _from_string(item)
        known = named.get(target.name)
        if known:
            target = TextTarget(target.name, known.sentences + target.sentences, known.opposites + target.opposites)
        named[target.name] = target
    return tuple(named.values())


def _from_string(item: Any) -> TextTarget:
    if not isinstance(item, str):
        raise InputError(f"a text must be words, got {item!r}")
    if not item.strip():
        raise InputError("the text is empty; describe what to segment, for example 'lungs'")
    name, separator, sentence = item.partition("=")
    if not separator:
        return TextTarget(item.strip(), (item.strip(),))
    return TextTarget(name.strip(), (sentence.strip(),))


def _from_mapping(mapping: Mapping[str, Any]) -> tuple[TextTarget, ...]:
    targets = []
    for name, value in mapping.items():
        entry = value if isinstance(value, Mapping) else {"sentences": value}
        unknown = sorted(entry.keys() - {"sentences", "opposites"})
        if unknown:
            raise InputError(f"class {name!r} has an unknown key {unknown[0]!r}; expected sentences, opposites")
        sentences, opposites = _as_list(entry.get("sentences")), _as_list(entry.get("opposites"))
        targets.append(TextTarget(str(name), tuple(sentences), tuple(opposites)))
    return tuple(targets)


def _with_opposites(targets: tuple[TextTarget, ...], opposites: Sequence[Any]) -> tuple[TextTarget, ...]:
    named = {target.name: target for target in targets}
    for item in opposites:
        name, separator, sentence = str(item).partition("=")
        name, sentence = (name.strip(), sentence.strip()) if separator else (targets[0].name, name.strip())
        if not separator and len(targets) > 1:
            raise InputError(f"opposite {item!r} names no class; write NAME={item} with one of {', '.join(named)}")
        if name not in named:
            raise InputError(f"opposite {item!r} belongs to no class; expected one of {', '.join(named)}")
        named[name] = replace(named[name], opposites=(*named[name].opposites, sentence))
    return tuple(named.values())
