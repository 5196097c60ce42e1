"""What the package is made of: locks as they are read, licences as they are listed, advisories as they are counted."""

from __future__ import annotations

import re
import zipfile
from importlib.metadata import PathDistribution

import pytest

from medclipsam_monai.base.errors import InputError
from tools.supply import audit
from tools.supply.licences import PAGE, known_licences, licence_of, page
from tools.supply.locks import LOCKS, Pin, lock_path, needed, read_lock
from tools.supply.sbom import read_wheel

LOCK = """a-b==1.0 ; python_full_version < '3.11'
    # via
    #   -c requirements/core.txt
    #   medclipsam-monai (setup.cfg)
    #   C_d
c.d[extra]==2
    # via medclipsam-monai (setup.cfg)
e==3
"""


def test_a_lock_says_versions_where_and_what_needs_them(tmp_path):
    (tmp_path / "lock.txt").write_text(LOCK)
    pins = read_lock(tmp_path / "lock.txt")
    assert pins == [
        Pin("a-b", "1.0", "python_full_version < '3.11'", ("medclipsam-monai", "c-d")),
        Pin("c-d", "2", "", ("medclipsam-monai",)),
        Pin("e", "3", "", ()),
    ]
    assert needed(pins, ["C.D"]) == {"c-d": {"a-b"}, "a-b": set()}
    (tmp_path / "lock.txt").write_text("a>=1\n")
    with pytest.raises(ValueError, match="expected NAME==VERSION or a comment, got 'a>=1'"):
        read_lock(tmp_path / "lock.txt")


def test_the_page_lists_just_the_packages_of_the_core_lock_and_of_the_extras():
    text = PAGE.read_text(encoding="utf-8")
    listed = [re.findall(r"^\| ([a-z0-9-]+) \| \d", part, re.MULTILINE) for part in text.split("\n## ")[1:]]
    core = {pin.name for pin in read_lock(lock_path("core"))}
    every = {pin.name for lock in LOCKS for pin in read_lock(lock_path(lock))}
    assert sorted(listed[0] + listed[1]) == sorted(core) and sorted(listed[2]) == sorted(every - core)
    assert {"torch", "monai", "nnunetv2"} <= set(listed[0]) and {"pytest", "mypy"} <= set(listed[1])
    assert text == page(known_licences([])).rstrip() + "\n", "python -m tools.supply.licences ENVIRONMENTS"


@pytest.mark.parametrize(
    ("metadata", "licence"),
    [
        ("License-Expression: MIT\nLicense: other", "MIT"),
        ("License: BSD-3-Clause\nClassifier: License :: OSI Approved :: BSD License", "BSD-3-Clause"),
        ("License: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License", "MIT License"),
        ("License: Copyright 2001 Nobody\nClassifier: License :: OSI Approved :: BSD License", "BSD License"),
        ("Classifier: License :: OSI Approved\nLicense-File: LICENSE", "Apache License"),
        ("Summary: nothing", "Apache License"),
    ],
)
def test_a_licence_is_what_the_package_says(tmp_path, metadata, licence):
    folder = tmp_path / "a-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: a\nVersion: 1\n{metadata}\n")
    (folder / "LICENSE").write_text("      Apache License\n   Version 2.0, January 2004\n")
    (folder / "RECORD").write_text("a-1.dist-info/LICENSE,,\n")
    assert licence_of(PathDistribution(folder)) == licence
    (folder / "LICENSE").unlink()
    (folder / "RECORD").write_text("")
    assert licence_of(PathDistribution(folder)) == ("not said" if licence == "Apache License" else licence)


def test_a_wheel_says_what_it_needs_without_its_extras(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as file:
        said = "Name: a\nVersion: 1\nLicense-Expression: MIT\nRequires-Dist: b[x]>=1\nRequires-Dist: c (>1)\n"
        file.writestr("a-1.dist-info/METADATA", said + 'Requires-Dist: d; extra == "test"\n')
    wheel = read_wheel(tmp_path / "a.whl")
    assert (wheel.name, wheel.version, wheel.licence, wheel.requires) == ("a", "1", "MIT", ("b", "c"))
    (tmp_path / "a.whl").write_bytes(b"no wheel")
    with pytest.raises(InputError, match=r"a\.whl: is no wheel"):
        read_wheel(tmp_path / "a.whl")


def test_each_package_is_asked_about_once_at_a_time():
    versions = [("a", "1"), ("a", "2"), ("b", "1"), ("a", "3"), ("b", "2")]
    assert audit.rounds(versions) == [[("a", "1"), ("b", "1")], [("a", "2"), ("b", "2")], [("a", "3")]]


def answers(vulnerable=(), silent=()):
    """pip-audit's answer to some versions."""

    def ask(versions, words):
        entries = []
        for name, version in versions:
            if name in silent:
                entries.append({"name": name, "skip_reason": "not found"})
                continue
            known = [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["9"]}] if name in vulnerable else []
            entries.append({"name": name, "version": version, "vulns": known})
        return {"dependencies": entries}

    return ask


@pytest.mark.parametrize(
    ("ask", "code", "told"),
    [
        (answers(), 0, "audit: 0 known vulnerabilities in the "),
        (answers(vulnerable=["nibabel"]), 1, r"nibabel \S+ \(core, label, .*\): PYSEC-1, CVE-1; mended in 9\n"),
        (answers(silent=["nibabel"]), 2, "did not answer for 1 of "),
        (answers(vulnerable=["torch"], silent=["nibabel"]), 2, r"(?s)torch .*mended in 9\n.*did not answer for 1 of "),
    ],
)
def test_what_was_not_answered_is_never_taken_for_nothing_known(monkeypatch, capsys, ask, code, told):
    monkeypatch.setattr(audit, "ask", ask)
    assert audit.main([]) == code
    captured = capsys.readouterr()
    assert re.search(told, captured.out + captured.err)


def test_a_service_that_is_not_there_is_asked_once(monkeypatch, capsys):
    asked = []

    def ask(versions, words):
        asked.append(versions)
        raise RuntimeError("no such host")

    monkeypatch.setattr(audit, "ask", ask)
    assert audit.main(["-s", "osv"]) == 2
    assert len(asked) == len(asked[0]) == 1
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and line.rstrip().endswith("no such host")
