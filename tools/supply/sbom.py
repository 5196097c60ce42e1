"""The bill of materials of a wheel, as CycloneDX 1.6 JSON beside it: what installing it installs, by the lock.

python -m tools.supply.sbom dist/medclipsam_monai-0.1.0-py3-none-any.whl
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from email import message_from_bytes
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import file_sha256, write_text
from tools.supply.licences import NOT_SAID, known_licences
from tools.supply.locks import Pin, lock_path, needed, plain, read_lock

if TYPE_CHECKING:
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component

_MARKER = "medclipsam:only-where"
"""Property of a component that not every Python or system gets: the environment marker that says which."""


@dataclass(frozen=True)
class Wheel:
    """What a wheel says of itself.

    Attributes:
        path: of the file.
        name: of the package.
        version: of the package.
        licence: an SPDX expression.
        requires: names of what it needs, without extras.
    """

    path: Path
    name: str
    version: str
    licence: str
    requires: tuple[str, ...]


def read_wheel(path: Path) -> Wheel:
    """Read a wheel's metadata.

    Raises:
        InputError: it is no wheel.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
            said = message_from_bytes(archive.read(name))
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        raise InputError(f"{path}: is no wheel: {error}") from error
    wanted = [str(one) for one in said.get_all("Requires-Dist") or ()]
    requires = tuple(re.split(r"[\[<>=!~ ;(]", one)[0] for one in wanted if not re.search(r";.*\bextra\b", one))
    return Wheel(path, str(said["Name"]), str(said["Version"]), str(said["License-Expression"]), requires)


def bill(wheel: Wheel, pins: list[Pin], licences: Mapping[str, str]) -> Bom:
    """The bill of materials: a component for each version that some Python or system gets, and what needs what.

    Args:
        wheel: what is installed.
        pins: of the lock of its core.
        licences: name -> licence.

    Raises:
        InputError: the lock lacks something that the wheel needs.
    """
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.bom import Bom

    reached = needed(pins, wheel.requires)
    lacking = sorted(reached.keys() - {pin.name for pin in pins})
    if lacking:
        raise InputError(f"the lock has no {lacking[0]}, which {wheel.path.name} needs; make the lock anew")
    root = _component(wheel.name, wheel.version, wheel.licence)
    root.hashes.add(HashType(alg=HashAlgorithm.SHA_256, content=file_sha256(wheel.path)))
    bom = Bom()
    bom.metadata.component = root
    of_name: dict[str, list[Component]] = {}
    for pin in (pin for pin in pins if pin.name in reached):
        one = _component(pin.name, pin.version, licences.get(pin.name), pin.marker)
        of_name.setdefault(pin.name, []).append(one)
        bom.components.add(one)
    bom.register_dependency(root, [one for name in wheel.requires for one in of_name[plain(name)]])
    for name, children in reached.items():
        for one in of_name[name]:
            bom.register_dependency(one, [child for child_name in children for child in of_name[child_name]])
    return bom


def _component(name: str, version: str, licence: str | None, marker: str = "") -> Component:
    from cyclonedx.contrib.license.factories import LicenseFactory
    from cyclonedx.model import Property
    from cyclonedx.model.component import Component
    from packageurl import PackageURL

    purl = PackageURL("pypi", None, plain(name), version)
    return Component(
        name=name,
        version=version,
        purl=purl,
        bom_ref=purl.to_string(),
        licenses=[LicenseFactory().make_from_string(licence)] if licence not in (None, NOT_SAID) else [],
        properties=[Property(name=_MARKER, value=marker)] if marker else [],
    )


def as_json(bom: Bom) -> str:
    """The bill as CycloneDX 1.6 JSON, which has been validated against its schema.

    Raises:
        InputError: it does not fit the schema.
    """
    from cyclonedx.output import make_outputter
    from cyclonedx.schema import OutputFormat, SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2)
    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if wrong is not None:
        raise InputError(f"the bill of materials does not fit CycloneDX's schema: {wrong}")
    return text + "\n"


def main(wheel: Path) -> None:
    """Write the bill of materials of a wheel beside it, under its name and .cdx.json."""
    try:
        bom = bill(read_wheel(wheel), read_lock(lock_path("core")), known_licences([]))
        path = write_text(wheel.with_suffix(".cdx.json"), as_json(bom))
    except InputError as error:
        typer.echo(f"sbom: {error}", err=True)
        raise typer.Exit(2) from error
    typer.echo(f"{path}: {len(bom.components)} components")


if __name__ == "__main__":
    typer.run(main)
