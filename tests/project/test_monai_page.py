"""The page of MONAI's own tools: each answer in its tables has a test, which is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "monai.md").read_text(encoding="utf-8")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def rows() -> list[str]:
    """The lines of the page's tables, without their heads."""
    return [line for line in PAGE.splitlines() if line.startswith("|") and not line.startswith(("|---", "| program "))]


def functions_of(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_answer_names_a_test_that_is_there():
    named = [(row, TEST.findall(row.rpartition(" | ")[2])) for row in rows()]
    assert [row for row, found in named if not found] == []
    assert len(named) > 30
    assert [(path, name) for _, found in named for path, name in found if name not in functions_of(path)] == []
