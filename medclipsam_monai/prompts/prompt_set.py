"""Prompt sets: one thing to look for, in the wordings that the papers compare and in those that users may choose.

The levels are MedCLIP-SAMv2's: P0 a word or two, P1 and P2 a generic sentence, P3 a sentence that names the finding,
P4 an ensemble of generic sentences, P5 one of sentences that name the finding. P3 and P5 use what is known about each
image; an honest figure for images that nobody has read uses the other levels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.json_files import read_object
from medclipsam_monai.prompts.targets import TextTarget, parse_targets

LEVELS = ("P0", "P1", "P2", "P3", "P4", "P5")
OF_A_FINDING = ("P3", "P5")
SET_FOLDER = Path(__file__).parent / "sets"
_REFERENCE = re.compile(r"(.+?)(?::([A-Za-z]\w*)(?::(.+))?)?")
_KEYS = ("description", "modality", "target", "levels", "opposites", "wordings")


@dataclass(frozen=True)
class PromptSet:
    """What to say about one target on one kind of image.

    Attributes:
        name: the file's stem.
        description: one line.
        modality: the kind of image in words.
        target: the class in words.
        levels: for P0, P1, P2 and P4 their sentences, one or several.
        findings: for P3 and P5 their sentences by finding.
        opposites: what an image without the target shows.
        wordings: different ways to ask for the same thing, one request each.
    """

    name: str
    description: str
    modality: str
    target: str
    levels: Mapping[str, tuple[str, ...]]
    findings: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    opposites: tuple[str, ...] = ()
    wordings: tuple[str, ...] = ()

    def has(self, level: str, finding: str | None = None) -> bool:
        """Whether the set has sentences of a level, for a finding where the level names one."""
        return level in self.levels or (finding or "") in self.findings.get(level, {})

    def target_at(self, level: str = "P0", finding: str | None = None) -> TextTarget:
        """The class with a level's sentences and the set's opposites.

        Args:
            level: one of `LEVELS`.
            finding: which finding, for P3 and P5; the other levels name none.

        Raises:
            InputError: a level or finding that the set does not have.
        """
        if level in self.levels:
            return TextTarget(self.target, self.levels[level], self.opposites)
        findings = self.findings.get(level, {})
        if not findings:
            there = ", ".join([*self.levels, *self.findings])
            raise InputError(f"prompt set {self.name} has no level {level!r}; it has {there}")
        if finding is None or finding not in findings:
            expected = f"{self.name}:{level}:FINDING with one of {', '.join(findings)}"
            raise InputError(f"level {level} of prompt set {self.name} names a finding; give {expected}")
        return TextTarget(self.target, findings[finding], self.opposites)

    def wording_targets(self) -> tuple[TextTarget, ...]:
        """One class for each wording."""
        return tuple(TextTarget(self.target, (wording,), self.opposites) for wording in self.wordings)


def prompt_set_names() -> list[str]:
    """The sets that come with the package."""
    return sorted(path.stem for path in SET_FOLDER.glob("*.json"))


def load_prompt_set(source: str | Path) -> PromptSet:
    """A prompt set by name, or from a JSON file of one's own.

    Raises:
        InputError: if there is none of that name, or the file is no prompt set.
    """
    path = SET_FOLDER / f"{source}.json" if str(source) in prompt_set_names() else Path(source)
    if path.suffix != ".json" or not path.is_file():
        names = ", ".join(prompt_set_names())
        raise InputError(f"unknown prompt set {str(source)!r}; expected one of {names}, or the path of a JSON file")
    content = read_object(path)
    if "levels" not in content:
        raise InputError(f"{path} is no prompt set: it lacks 'levels'")
    return prompt_set(path.stem, content)


def read_prompts(source: str) -> tuple[TextTarget, ...]:
    """Classes from what a user gives as prompts.

    Args:
        source: a prompt set's name or file, perhaps with a level and a finding ("brain_mri:P3:glioma"; P0 where none
            is given); or a JSON file with an object of classes, see `parse_targets`.

    Raises:
        InputError: if there is no such set, level or file.
    """
    if Path(source).is_file():
        content = read_object(Path(source))
        return (load_prompt_set(source).target_at(),) if "levels" in content else parse_targets(content)
    if Path(source).suffix == ".json" and ":" not in source:
        raise InputError(f"--prompts {source} is not a readable JSON file: there is none")
    match = _REFERENCE.fullmatch(source)
    name, level, finding = match.groups() if match else (source, None, None)
    return (load_prompt_set(name).target_at(level or "P0", finding),)


def prompt_set(name: str, content: Mapping[str, Any]) -> PromptSet:
    """A prompt set from a file's content.

    Raises:
        InputError: a key that is missing or unknown, or a value of another kind.
    """
    missing = [key for key in _KEYS if key not in content]
    unknown = sorted(content.keys() - set(_KEYS))
    if missing or unknown:
        what = f"lacks {missing[0]!r}" if missing else f"has an unknown key {unknown[0]!r}"
        raise InputError(f"prompt set {name} {what}; expected {', '.join(_KEYS)}")
    for key in ("description", "modality", "target"):
        if not isinstance(content[key], str) or not content[key].strip():
            raise InputError(f"{key} of prompt set {name} must be words")
    levels = content["levels"]
    if not isinstance(levels, dict) or "P0" not in levels or set(levels) - set(LEVELS):
        raise InputError(f"levels of prompt set {name} must be some of {', '.join(LEVELS)}, P0 among them")
    findings: dict[str, dict[str, tuple[str, ...]]] = {}
    for level in OF_A_FINDING:
        if level in levels:
            if not isinstance(levels[level], dict) or not levels[level]:
                raise InputError(f"{level} of prompt set {name} must hold sentences by finding")
            findings[level] = {key: _sentences(name, level, value) for key, value in levels[level].items()}
    return PromptSet(
        name,
        content["description"],
        content["modality"],
        content["target"],
        {level: _sentences(name, level, levels[level]) for level in levels if level not in OF_A_FINDING},
        findings,
        _sentences(name, "opposites", content["opposites"]) if content["opposites"] else (),
        _sentences(name, "wordings", content["wordings"]),
    )


def _sentences(name: str, key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(one, str) and one.strip() for one in value):
        raise InputError(f"{key} of prompt set {name} must be a list of sentences")
    return tuple(value)
