"""The notebook of the docs: its cells run in their order, and what they show is what its text says."""

from __future__ import annotations

import ast
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

NOTEBOOK = Path(__file__).parents[2] / "docs" / "tutorial" / "notebook.ipynb"
CELLS = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def run_cell(source: str, names: dict[str, Any]) -> Any:
    """Run a cell; the value of its last expression, as a notebook shows it."""
    code = ast.parse(source, str(NOTEBOOK))
    last = ast.Expression(code.body.pop().value) if isinstance(code.body[-1], ast.Expr) else None
    exec(compile(code, str(NOTEBOOK), "exec"), names)
    return None if last is None else eval(compile(last, str(NOTEBOOK), "eval"), names)


def test_no_outputs_are_stored():
    code = [cell for cell in CELLS if cell["cell_type"] == "code"]
    assert code and all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


@pytest.mark.slow
def test_the_cells_run_in_their_order(tmp_path, monkeypatch, capsys, offline):
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    shown = [run_cell("".join(cell["source"]), names) for cell in CELLS if cell["cell_type"] == "code"]
    pictures = [Image.open(io.BytesIO(value._repr_png_())) for value in shown if hasattr(value, "_repr_png_")]
    assert len(pictures) == 5 and all(len(np.unique(np.asarray(picture))) > 50 for picture in pictures)
    printed = capsys.readouterr().out
    assert printed.count("Segmentation of ct_chest.png") == 5
    assert names["presence"]["brain_normal"] < 0.5 < names["presence"]["brain_tumour"]
    assert names["dsc"] > 0.8
    assert float(names["both"].found.saliency.max()) == pytest.approx(1, abs=0.01)
    assert set(names["saved"]) == {path.name for path in (tmp_path / "notebook_output").iterdir()}
    assert {"ct_chest_mask.png", "ct_chest.json", "image_mask.nii.gz", "image.json"} <= set(names["saved"])
