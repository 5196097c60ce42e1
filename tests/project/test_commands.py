"""Every command that README and docs name is there and has the options that it is written with.

What a command does is tested elsewhere (test_how_to.py runs many); here no name may have moved away.
"""

from __future__ import annotations

import re
import runpy
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted(ROOT.glob("bundles/*/docs/*.md")),
]
MODULE = re.compile(r"python -m ((?:tools|medclipsam_monai)[\w.]*)(.*)")
COMMAND = re.compile(r"(?<![\w-])medclipsam ((?:(?:weights|prompts|study|label|deploy) )?[a-z][a-z-]+)(.*)")
SCRIPT = re.compile(r"(?<![\w./-])(?:python )?(scripts/\w+\.(?:sh|py))")


def code_of(page: Path) -> list[str]:
    """The lines of a page's code blocks, and what stands between backticks in its text; without remarks."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```(?:bash|console)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE))
    return [line.split("  #")[0] for block in blocks for line in block.splitlines()] + inline


def programs() -> dict[tuple[str, ...], set[str]]:
    """Words that start a program -> the options that some page gives it."""
    found: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for line in (line for page in PAGES for line in code_of(page)):
        if match := MODULE.search(line):
            found["-m", match[1]] |= options(match[2])
        elif match := COMMAND.search(line):
            found[("-m", "medclipsam_monai", *match[1].split())] |= options(match[2])
    return found


def options(words: str) -> set[str]:
    return set(re.findall(r"(?<!\S)--[a-z][a-z-]*", words))


@pytest.mark.parametrize("program", sorted(programs()), ids=" ".join)
def test_a_command_of_the_docs_has_its_options(program, monkeypatch, capsys):
    for name in ("COLUMNS", "TERMINAL_WIDTH"):
        monkeypatch.setenv(name, "200")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "argv", [*program[1:], "--help"])
    monkeypatch.delitem(sys.modules, program[1], raising=False)
    with pytest.raises(SystemExit) as end:
        runpy.run_module(program[1], run_name="__main__", alter_sys=True)
    assert not end.value.code
    assert programs()[program] - set(re.findall(r"--[a-z][a-z-]*", capsys.readouterr().out)) == set()


def test_the_scripts_of_the_docs_are_there():
    named = {name for page in PAGES for line in code_of(page) for name in SCRIPT.findall(line)}
    assert named and sorted(name for name in named if not (ROOT / name).is_file()) == []


def test_there_are_commands_of_every_kind():
    first = {program[1].partition(".")[0] for program in programs()}
    assert first == {"tools", "medclipsam_monai"} and ("-m", "medclipsam_monai", "segment") in programs()


def test_the_modules_of_the_docs_are_there():
    """Paths of modules as the pages write them: from the root or from the package."""
    quoted = {
        (page.name, name) for page in PAGES for name in re.findall(r"`((?:\w+/)*\w+\.py)`", page.read_text("utf-8"))
    }
    roots = (ROOT, ROOT / "medclipsam_monai")
    assert quoted and sorted(one for one in quoted if not any((root / one[1]).is_file() for root in roots)) == []


def test_no_words_of_a_help_are_taken_for_markup():
    """Words between brackets would not be shown."""
    import typer
    from rich.markup import render

    from medclipsam_monai.cli.app import app

    commands, helps = [typer.main.get_command(app)], []
    while commands:
        command = commands.pop()
        commands += getattr(command, "commands", {}).values()
        helps += [command.help or "", *(getattr(one, "help", None) or "" for one in command.params)]
    assert len(helps) > 60 and [text for text in helps if render(text).plain != text] == []
