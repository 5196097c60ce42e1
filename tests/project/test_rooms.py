"""The rooms: what may import what, where optional packages are imported, and how large a module and a folder may be.

The rules between rooms are contracts of import-linter, in pyproject.toml.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
LINES, MODULES = 300, 12
CODE = ("medclipsam_monai", "tools", "scripts")
NOWHERE: tuple[str, ...] = ()
OPTIONAL = {
    "highdicom": NOWHERE,
    "openai": NOWHERE,
    "peft": NOWHERE,
    "mlflow": NOWHERE,
    "ipyniivue": NOWHERE,
    "itk": NOWHERE,  # slow to import
    "pydensecrf": NOWHERE,
    "dicomweb_client": ("medclipsam_monai/label/*",),
    "monailabel": ("medclipsam_monai/label/*",),
    "monai.deploy": ("medclipsam_monai/deploy/app.py",),
    "napari": ("medclipsam_monai/napari/dock.py", "medclipsam_monai/napari/work.py"),
    "magicgui": ("medclipsam_monai/napari/dock.py",),
    "ray": NOWHERE,
    "duckdb": NOWHERE,
    "pyarrow": tuple(f"medclipsam_monai/archive/{name}.py" for name in ("parts", "pipeline", "stores/remote")),
    "qtpy": ("medclipsam_monai/napari/work.py",),
    "gradio": tuple(f"medclipsam_monai/web/{name}.py" for name in ("events", "fields", "handlers", "page", "parts")),
    "uvicorn": NOWHERE,
}
"""Packages that are not always there, or slow -> the files that may import them as soon as they are read."""


def modules(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported_at_once(code: ast.AST) -> Iterator[str]:
    """What a module imports while it is read itself: not what its functions do, and not what only type checkers see."""
    for node in ast.iter_child_nodes(code):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        yield from imported_at_once(node)


def imports_early(code: str, package: str) -> bool:
    return any(f"{name}.".startswith(f"{package}.") for name in imported_at_once(ast.parse(code)))


@pytest.mark.parametrize("contract", ["rooms", "tools", "circles"])
def test_the_rules_between_rooms_are_kept(contract):
    command = [Path(sys.executable).parent / "lint-imports", "--no-cache", "--contract", contract]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "1 kept, 0 broken" in result.stdout


@pytest.mark.parametrize(
    ("code", "early"),
    [
        ("import itk", True),
        ("import itk.support as s", True),
        ("from itk import image", True),
        ("try:\n    import itk\nexcept ImportError: pass", True),
        ("class A:\n    import itk", True),
        ("def f():\n    import itk", False),
        ("if TYPE_CHECKING:\n    import itk", False),
        ("import itkwidgets", False),
    ],
)
def test_an_import_is_early_unless_a_function_does_it(code, early):
    assert imports_early(code, "itk") is early


@pytest.mark.parametrize("package", OPTIONAL)
def test_optional_packages_are_imported_where_they_are_needed(package):
    early = [name_of(path) for path in modules("medclipsam_monai") if imports_early(path.read_text("utf-8"), package)]
    assert [name for name in early if not any(fnmatch(name, allowed) for allowed in OPTIONAL[package])] == []


def test_no_module_is_long():
    lines = {name_of(path): len(path.read_text("utf-8").splitlines()) for path in modules(*CODE)}
    assert {name: count for name, count in lines.items() if count > LINES} == {}


def test_no_folder_is_full():
    folders = {path.parent for path in modules(*CODE)}
    counts = {
        name_of(folder): len([path for path in folder.glob("*.py") if path.stem != "__init__"]) for folder in folders
    }
    assert {name: count for name, count in counts.items() if count > MODULES} == {}


def test_the_picture_of_the_rooms_is_the_contract():
    config = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    (rooms,) = [one["layers"] for one in config["contracts"] if one["id"] == "rooms"]
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text("utf-8")
    drawn = re.findall(r'L\d+\["(.+?)"\]', page)
    arrows = re.findall(r"\bL(\d+)\S* --> L(\d+)", page)
    assert drawn == [layer for layer in rooms if layer not in ("__main__", "version")]
    assert arrows == [(str(n), str(n + 1)) for n in range(1, len(drawn))]


def test_the_functions_and_files_of_the_architecture_are_there():
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text("utf-8")
    code = "\n".join(path.read_text("utf-8") for path in modules("medclipsam_monai"))
    names = {word for quoted in re.findall(r"`([A-Za-z_.]+)`", page) for word in quoted.split(".") if "/" not in quoted}
    files = re.findall(r"`((?:[a-z_]+/)+[a-z_]*(?:\.py|\.json)?)`", page)
    there = {path.name for path in (ROOT / "medclipsam_monai").iterdir()} | {path.name for path in ROOT.iterdir()}
    unknown = {name for name in names if not re.search(rf"\b{name}\b", code)} - there
    assert unknown - {"toml", "pyproject", "lint-imports"} == set()
    assert files and [f for f in files if not ((ROOT / "medclipsam_monai" / f).exists() or (ROOT / f).exists())] == []
