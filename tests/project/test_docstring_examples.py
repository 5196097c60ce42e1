"""Every example in a docstring runs and gives what it says, in a folder that holds a chest X-ray as ``chest.png``."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
import shutil
from pathlib import Path

import pytest

import medclipsam_monai
from medclipsam_monai.phantoms.samples import sample_pictures

PACKAGE = Path(medclipsam_monai.__file__).parent
_NOT_RUN = re.compile(
    r"^\s*(Examples?|Usage)\s*::|^\s*\.\. (code|code-block|sourcecode)::", re.MULTILINE | re.IGNORECASE
)


def docstrings(path: Path) -> list[tuple[str, str]]:
    """Names and docstrings of a file's module, classes and functions, read without importing it."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                found.append((getattr(node, "name", "the module"), text))
    return found


def titles(text: str) -> list[str]:
    """The titles of a docstring's sections."""
    return re.findall(r"^\s*(\w+):$", text, re.MULTILINE)


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


FILES = sorted(PACKAGE.rglob("*.py"))
WITH_EXAMPLES = [path for path in FILES if any(">>>" in text for _, text in docstrings(path))]


@pytest.fixture
def work(tmp_path, monkeypatch) -> Path:
    shutil.copy(sample_pictures()["xray_normal"], tmp_path / "chest.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=module_name)
def test_the_examples_of_a_module_give_what_they_say(path, work):
    module = importlib.import_module(module_name(path))
    found = [test for test in doctest.DocTestFinder(exclude_empty=True).find(module) if test.examples]
    written = sum(len(doctest.DocTestParser().get_examples(text)) for _, text in docstrings(path))
    assert sum(len(test.examples) for test in found) == written > 0
    said: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)
    for test in found:
        runner.run(test, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


def test_every_example_is_written_so_that_it_runs():
    not_run = [
        f"{module_name(path)}.{name}"
        for path in FILES
        for name, text in docstrings(path)
        if _NOT_RUN.search(text) or ("Examples" in titles(text) and ">>>" not in text)
    ]
    assert not not_run, "write an example's lines as >>> and its answers below them"


def test_every_example_is_in_a_section_that_the_reference_shows():
    """The reference's builder knows the title Examples, and takes what stands under Example for Markdown."""
    wrong = [
        f"{module_name(path)}.{name}"
        for path in FILES
        for name, text in docstrings(path)
        if "Example" in titles(text) or (">>>" in text and "Examples" not in titles(text))
    ]
    assert not wrong, "write Examples: above the lines"


def test_the_facade_has_an_example():
    assert "medclipsam_monai.zero_shot.text_segmenter" in map(module_name, WITH_EXAMPLES)


@pytest.mark.parametrize(
    "text",
    [
        "Adds.\n\nExample::\n\n    add(1, 2)",
        "Adds.\n\n    Examples::\n\n    add(1, 2)",
        "Adds.\n\n.. code-block:: python\n\n    add(1, 2)",
    ],
)
def test_an_example_that_would_not_run_is_seen(text):
    assert _NOT_RUN.search(text)
