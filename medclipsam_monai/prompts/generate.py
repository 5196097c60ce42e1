"""Prompt sets written by a language model behind any endpoint that speaks OpenAI's protocol.

Nothing is contacted but the address in OPENAI_BASE_URL, and without that address nothing at all. Answers are checked
and kept, so that asking again for the same set contacts nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.json_files import read_object, write_json
from medclipsam_monai.prompts.prompt_set import prompt_set
from medclipsam_monai.weights.registry import weights_folder

TEMPLATE = Path(__file__).parent / "template.txt"
ADDRESS, KEY = "OPENAI_BASE_URL", "OPENAI_API_KEY"
TRIES, WORDINGS, OPPOSITES = 3, 10, 1
_LONGEST = 40  # words of a sentence; a CLIP's text tower reads little more
_MODALITIES = {
    "X-ray": r"x-?ray|radiograph",
    "CT": r"\bct\b|computed tomograph",
    "MR": r"\bmri?\b|magnetic resonance",
    "ultrasound": r"ultrasound|sonogra|ultrasonogra",
    "mammography": r"mammogra",
    "endoscopy": r"endoscop|colonoscop",
    "dermoscopy": r"dermoscop|dermatoscop",
    "fundus photography": r"fundus",
}


@dataclass(frozen=True)
class Wish:
    """What a set is to be about.

    Attributes:
        target: the class in words.
        modality: the kind of image in words.
        findings: kinds of the target that P3 and P5 name; may be none.
        count: sentences of a level with several.
    """

    target: str
    modality: str
    findings: tuple[str, ...] = ()
    count: int = 10

    def __post_init__(self) -> None:
        if not self.target.strip() or not self.modality.strip():
            raise InputError("a prompt set needs a target and a modality in words, got an empty one")
        if not 1 <= self.count <= 50:
            raise InputError(f"--count must lie in 1 to 50, got {self.count}")


def generate(wish: Wish, model: str, template: Path = TEMPLATE) -> dict[str, Any]:
    """A prompt set as its file's content, from the cache or from the endpoint.

    Args:
        wish: what it is about.
        model: name of the model at the endpoint.
        template: text with {target}, {modality}, {findings} and {count}; it must ask for the JSON object of the one
            that comes with the package.

    Raises:
        InputError: no address or key in the environment, a template that cannot be used, an endpoint that does not
            answer, or too few usable sentences after some tries.
    """
    address, key = os.environ.get(ADDRESS, ""), os.environ.get(KEY, "")
    if not address or not key:
        raise InputError(f"set {ADDRESS} and {KEY}: nothing is contacted but the address that you give there")
    question = _filled(template, wish)
    digest = hashlib.sha256(json.dumps([address, model, question, asdict(wish)]).encode()).hexdigest()[:24]
    kept = weights_folder() / "prompts" / f"{digest}.json"
    if kept.is_file():
        content = read_object(kept, "delete it to ask again")
        prompt_set(wish.target, content)
        return content
    content = _gathered(wish, lambda: _ask(address, key, model, question))
    prompt_set(wish.target, content)
    write_json(content, kept)
    return content


def _filled(template: Path, wish: Wish) -> str:
    try:
        text = template.read_text(encoding="utf-8")
        findings = ", ".join(wish.findings) or "none"
        return text.format(target=wish.target, modality=wish.modality, findings=findings, count=wish.count)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--template {template} cannot be read: {error}") from error
    except (KeyError, IndexError, ValueError) as error:
        raise InputError(
            f"--template {template} may hold {{target}}, {{modality}}, {{findings}} and {{count}}; other braces must "
            f"be doubled: {error}"
        ) from error


def _ask(address: str, key: str, model: str, question: str) -> str:
    """The endpoint's answer to one question."""
    try:
        import openai
    except ImportError as error:
        raise InputError("the openai client is not installed; pip install 'medclipsam-monai[generate]'") from error
    try:
        client = openai.OpenAI(base_url=address, api_key=key, max_retries=1, timeout=120)
        answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": question}])
    except openai.APIStatusError as error:
        raise InputError(
            f"{address} refused with status {error.status_code}; check {KEY}, --model and limits"
        ) from None
    except openai.OpenAIError as error:
        raise InputError(f"{address} does not answer: {type(error).__name__}; check {ADDRESS}") from None
    return (answer.choices[0].message.content or "") if answer.choices else ""


def _gathered(wish: Wish, ask: Callable[[], str]) -> dict[str, Any]:
    """Ask until every list is long enough; usable sentences of all answers count."""
    lists: dict[str, list[str]] = {}
    wanted = {"sentences": wish.count, "opposites": OPPOSITES, "wordings": WORDINGS}
    wanted |= {f"findings {finding}": wish.count for finding in wish.findings}
    for _ in range(TRIES):
        answer = _object(ask())
        answer |= {f"findings {name}": value for name, value in _mapping(answer.get("findings")).items()}
        for name in wanted:
            lists[name] = usable([*lists.get(name, []), *_sequence(answer.get(name))], wish.modality)
        if all(len(lists[name]) >= count for name, count in wanted.items()):
            return _content(wish, lists)
    short = next(name for name, count in wanted.items() if len(lists[name]) < count)
    raise InputError(
        f"the model gave {len(lists[short])} usable {short} of {wanted[short]} in {TRIES} answers; try another model, "
        "a smaller --count or another --template"
    )


def _content(wish: Wish, lists: Mapping[str, list[str]]) -> dict[str, Any]:
    several = {name: sentences[: wish.count] for name, sentences in lists.items()}
    generic = several["sentences"]
    levels: dict[str, Any] = {"P0": [wish.target], "P1": [generic[0]], "P2": [max(generic, key=len)], "P4": generic}
    if wish.findings:
        levels["P3"] = {finding: [several[f"findings {finding}"][0]] for finding in wish.findings}
        levels["P5"] = {finding: several[f"findings {finding}"] for finding in wish.findings}
    return {
        "description": f"{wish.target} on {wish.modality}, written by a language model and not read by anyone.",
        "modality": wish.modality,
        "target": wish.target,
        "levels": levels,
        "opposites": lists["opposites"],
        "wordings": lists["wordings"][:WORDINGS],
    }


def usable(sentences: Sequence[Any], modality: str) -> list[str]:
    """Sentences that may be used, each once: words, not too many, and naming no other kind of image.

    Args:
        sentences: what a model wrote.
        modality: the kind of image in words.
    """
    other = [p for p in _MODALITIES.values() if not re.search(p, modality, re.IGNORECASE)]
    found: dict[str, str] = {}
    for sentence in sentences:
        text = " ".join(sentence.split()) if isinstance(sentence, str) else ""
        key = re.sub(r"\W+", " ", text).strip().lower()
        if key and len(text.split()) <= _LONGEST and not any(re.search(p, text, re.IGNORECASE) for p in other):
            found.setdefault(key, text)
    return list(found.values())


def _object(answer: str) -> dict[str, Any]:
    """The first JSON object in an answer, whatever stands around it; nothing where there is none."""
    start, end = answer.find("{"), answer.rfind("}")
    try:
        return _mapping(json.loads(answer[start : end + 1]))
    except (ValueError, RecursionError):
        return {}


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}


def _sequence(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else []
