"""Asks an advisory service which versions of the locks have known vulnerabilities, by pip-audit.

python -m tools.supply.audit                     # PyPI's own service
python -m tools.supply.audit -s osv              # words for pip-audit: another service, --ignore-vuln ID

Exit code 0 where none is known, 1 where there is one, 2 where the service did not answer for every version: pip-audit
itself passes over what it could not ask about.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.supply.locks import LOCKS, lock_path, plain, read_lock

AUDITED = (*LOCKS, "docs", "supply")
Version = tuple[str, str]
"""Name and version of a package."""


@dataclass(frozen=True)
class Known:
    """A vulnerability that is known.

    Attributes:
        version: what has it.
        name: its id, with its other names.
        fixed: versions without it; empty where there is none.
    """

    version: Version
    name: str
    fixed: tuple[str, ...]


def locked_versions() -> dict[Version, list[str]]:
    """Each version of the locks, with the names of the locks that have it; whatever the Python and the system."""
    found: dict[Version, list[str]] = defaultdict(list)
    for lock in AUDITED:
        for version in dict.fromkeys((pin.name, pin.version) for pin in read_lock(lock_path(lock))):
            found[version].append(lock)
    return dict(found)


def rounds(versions: Sequence[Version]) -> list[list[Version]]:
    """The versions in as many lists as the package with most has: pip-audit takes one of each at a time."""
    lists: list[list[Version]] = []
    taken: dict[str, int] = defaultdict(int)
    for name, version in versions:
        if taken[name] == len(lists):
            lists.append([])
        lists[taken[name]].append((name, version))
        taken[name] += 1
    return lists


def ask(versions: Sequence[Version], words: Sequence[str]) -> dict[str, Any]:
    """What pip-audit says, as its JSON.

    Raises:
        RuntimeError: it ended without an answer; with its last line.
    """
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "versions.txt"
        listed.write_text("".join(f"{name}=={version}\n" for name, version in versions), encoding="utf-8")
        program = Path(sys.executable).parent / "pip-audit"
        options = ["--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json", "--desc", "off"]
        command = [str(program), *options, "-r", str(listed), *words]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        answer = json.loads(said.stdout)
        return {"dependencies": answer["dependencies"]}
    except (ValueError, KeyError) as error:
        last = (said.stderr.strip().splitlines() or [f"exit code {said.returncode}"])[-1]
        raise RuntimeError(last) from error


def read_answer(asked: Sequence[Version], answer: Mapping[str, Any]) -> tuple[list[Known], dict[Version, str]]:
    """The vulnerabilities in an answer, and what it does not answer for, with the reason."""
    said = {plain(entry["name"]): entry for entry in answer["dependencies"]}
    known: list[Known] = []
    unasked: dict[Version, str] = {}
    for name, version in asked:
        entry = said.get(name, {"skip_reason": "left out of the answer"})
        if "skip_reason" in entry:
            unasked[name, version] = entry["skip_reason"]
            continue
        for one in entry["vulns"]:
            names = ", ".join(dict.fromkeys([one["id"], *one.get("aliases", ())]))
            known.append(Known((name, version), names, tuple(one.get("fix_versions", ()))))
    return known, unasked


def main(words: Sequence[str]) -> int:
    """Ask about all locks and say what is known; the exit code."""
    locked = locked_versions()
    versions = list(locked)
    known: list[Known] = []
    unasked: dict[Version, str] = {}
    for asked in [versions[:1], *rounds(versions[1:])]:  # one alone first: a service that is not there is asked once
        try:
            more, left = read_answer(asked, ask(asked, words))
        except RuntimeError as error:
            more, left = [], dict.fromkeys(asked, str(error))
        known, unasked = known + more, unasked | left
        if asked == versions[:1] and unasked:
            unasked = dict.fromkeys(versions, unasked[versions[0]])
            break
    for one in sorted(known, key=lambda one: one.version):
        where, fixed = ", ".join(locked[one.version]), ", ".join(one.fixed) or "no version"
        print(f"{one.version[0]} {one.version[1]} ({where}): {one.name}; mended in {fixed}")
    if unasked:
        (name, version), reason = next(iter(unasked.items()))
        print(
            f"audit: the advisory service did not answer for {len(unasked)} of {len(locked)} versions, so nothing is "
            f"known of them; the first, {name} {version}: {reason}",
            file=sys.stderr,
        )
        return 2
    print(f"audit: {len(known)} known vulnerabilities in the {len(locked)} versions of {', '.join(AUDITED)}")
    return 1 if known else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
