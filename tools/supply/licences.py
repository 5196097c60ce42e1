"""docs/project/licences.md: the licence of each package that is installed with this one, its tests and its extras.

python -m tools.supply.licences .venv .venv-label ...    # environments made of the locks; scripts/supply.sh does it
python -m tools.supply.licences                          # after a change of versions alone

A licence is what the installed package says of itself. Of a package that no environment has, such as those for older
Pythons, the page keeps what it says; new ones need an environment.
"""

from __future__ import annotations

import configparser
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Annotated

import typer

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import write_text
from tools.pages.tables import table
from tools.supply.locks import LOCKS, Pin, lock_path, needed, plain, read_lock

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "project" / "licences.md"
HEAD = """<!-- Made by python -m tools.supply.licences; changes here are lost. -->

# Licences

This package is under Apache-2.0, the weights of the preset `small` are under CC BY-SA 4.0. What is installed beside it
has licences of its own: here is what each package says of itself, and nobody has checked more than that. To pass on a
container or an archive with these packages in it is to keep to all of them: mind NVIDIA's libraries, which come with
torch on Linux, and those under the GPL and the LGPL.

Versions are those of the locks in `requirements/`; they differ between Pythons and systems. `scripts/supply.sh` writes
this page, and the bill of materials (CycloneDX) beside the wheel, and asks for known vulnerabilities.
"""
NOT_SAID = "not said"
_ROW = re.compile(r"^\| ([a-z0-9-]+) \| [^|]+ \| ([^|]+) \|", re.MULTILINE)
_NO_NAMES = re.compile(r"unknown|copyright|licensed|files:|={3}|agreement for|^(licen[cs]e)?$", re.IGNORECASE)
_TOO_LONG = 120
_TITLES = {
    "Apache License": "Apache License",
    "MIT License": "MIT License",
    "Permission is hereby granted, free of charge": "MIT License",
    "BSD 3-Clause License": "BSD 3-Clause License",
}


def installed_licences(environment: Path) -> dict[str, str]:
    """Name -> licence of what is installed in an environment.

    Raises:
        InputError: there is no such environment, or a package that says nothing.
    """
    folders = [str(folder) for folder in environment.glob("lib/python*/site-packages")] or [str(environment)]
    found = {plain(one.metadata["Name"]): licence_of(one) for one in distributions(path=folders)}
    if not found:
        raise InputError(f"{environment}: is no environment with packages in it")
    return found


def known_licences(environments: Sequence[Path]) -> dict[str, str]:
    """Name -> licence of what is in any environment, the first that has it, or else on the page."""
    licences = dict(_ROW.findall(PAGE.read_text(encoding="utf-8"))) if PAGE.is_file() else {}
    for environment in reversed(environments):
        licences |= installed_licences(environment)
    return licences


def licence_of(package: Distribution) -> str:
    """What a package says: an expression (PEP 639), else a short name, else its classifiers, else its text's title."""
    said = package.metadata
    if "License-Expression" in said:
        return str(said["License-Expression"])
    short = str(said["License"]).strip() if "License" in said else ""
    if "\n" not in short and len(short) <= _TOO_LONG and not _NO_NAMES.search(short):
        return short
    classifiers = [str(one).rpartition(" :: ")[2] for one in said.get_all("Classifier") or () if "License ::" in one]
    classifiers = [one for one in classifiers if one not in ("OSI Approved", "DFSG approved")]
    if classifiers:
        return "; ".join(classifiers)
    texts = [short, *(file.read_text("utf-8", "replace") for file in _licence_files(package))]
    titles = dict.fromkeys(title for text in texts for words, title in _TITLES.items() if words in text)
    return "; ".join(titles) or NOT_SAID


def _licence_files(package: Distribution) -> Iterator[Path]:
    for one in package.files or ():
        if re.match(r"licen[cs]e|copying", one.name, re.IGNORECASE) and ".dist-info" in str(one):
            yield Path(str(package.locate_file(one)))


def page(licences: Mapping[str, str]) -> str:
    """The page.

    Args:
        licences: name -> licence, of every package of the locks.

    Raises:
        InputError: one is missing.
    """
    pins = {name: read_lock(lock_path(name)) for name in LOCKS}
    core = {pin.name for pin in pins["core"]}
    package = set(needed(pins["core"], _requirements())) & core
    extras = {pin.name for lock in pins.values() for pin in lock} - core
    parts = [
        ("Installed with the package", package),
        ("For the tests, the examples and the extras that the tests cover", core - package),
        ("For the other extras", extras),
    ]
    return "\n".join([HEAD, *(f"## {title}\n\n{_rows(sorted(names), pins, licences)}\n" for title, names in parts)])


def _requirements() -> list[str]:
    """The names in the package's own list of what it needs."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = setup["options"]["install_requires"].splitlines()
    return [re.split(r"[\[<>=!~ ;]", line)[0] for line in lines if line and not line.startswith("#")]


def _rows(names: Iterable[str], pins: Mapping[str, list[Pin]], licences: Mapping[str, str]) -> str:
    versions: dict[str, set[str]] = defaultdict(set)
    locks: dict[str, list[str]] = defaultdict(list)
    for lock, entries in pins.items():
        for pin in entries:
            versions[pin.name].add(pin.version)
            if lock not in locks[pin.name]:
                locks[pin.name].append(lock)
    rows = []
    for name in names:
        if name not in licences:
            raise InputError(f"{name}: no environment has it and {PAGE.name} does not know it; name one that has it")
        where = "all" if len(locks[name]) == len(LOCKS) else ", ".join(locks[name])
        rows.append([name, ", ".join(sorted(versions[name])), licences[name], where])
    return table(["package", "versions", "licence", "locks"], rows)


def main(environments: Annotated[list[Path] | None, typer.Argument()] = None) -> None:
    """Write the page of licences, of environments made of the locks; without any only its versions change."""
    try:
        write_text(PAGE, page(known_licences(environments or [])).rstrip() + "\n")
    except InputError as error:
        typer.echo(f"licences: {error}", err=True)
        raise typer.Exit(2) from error


if __name__ == "__main__":
    typer.run(main)
