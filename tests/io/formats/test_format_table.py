"""The table of formats is the only place that names them: a new format is a module and a line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from medclipsam_monai.io import FORMATS, find_inputs, hash_files, read_geometry, read_image, write_float_map, write_mask
from medclipsam_monai.io.formats.stored import StoredGrid
from medclipsam_monai.io.formats.table import Format
from medclipsam_monai.io.inputs.stems import file_stem
from medclipsam_monai.zero_shot.output_files import OutputFiles

PIXELS = np.arange(9 * 10, dtype=np.uint8).reshape(9, 10)


def read_grid(paths: Any, name: str) -> StoredGrid:
    rows, columns = paths[0].read_bytes()[:2]
    return StoredGrid("tiny", (rows, columns), spatial=False)


def read(paths: Any, name: str) -> Any:
    grid, content = read_grid(paths, name), paths[0].read_bytes()
    pixels = np.frombuffer(content[2:], np.uint8).reshape(*grid.shape, 1)
    return grid.filled(pixels, {"uint8": True}, hash_files(paths))


def write_mask_of_tiny(labels: np.ndarray, geometry: Any, path: Path) -> None:
    path.write_bytes(bytes(labels.shape) + labels.tobytes())


def write_map_of_tiny(values: np.ndarray, geometry: Any, path: Path) -> None:
    write_mask_of_tiny((values * 255).astype(np.uint8), geometry, path)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file of a format that only this test knows."""
    code = SimpleNamespace(read=read, read_grid=read_grid, write_mask=write_mask_of_tiny, write_map=write_map_of_tiny)
    monkeypatch.setitem(sys.modules, "tiny_format", code)  # type: ignore[arg-type]
    monkeypatch.setitem(FORMATS, "tiny", Format((".tiny", ".tiny.z"), (".tiny",), "tiny_format"))
    path = tmp_path / "in" / "a.b.tiny"
    path.parent.mkdir()
    path.write_bytes(bytes(PIXELS.shape) + PIXELS.tobytes())
    return path


def test_a_new_format_is_found_read_and_written(tiny: Path, tmp_path: Path) -> None:
    (source,) = find_inputs([tiny.parent])
    assert (source.kind, source.stem, source.files) == ("tiny", "a.b", (tiny,))
    assert file_stem("x.tiny.z") == "x"
    image = read_image(source)
    np.testing.assert_array_equal(image.numpy()[0], PIXELS)
    assert read_geometry(tiny) == (image.meta["geometry"], None)
    mask = write_mask(PIXELS > 40, image.meta["geometry"], tmp_path / "a.b_mask")
    assert mask == tmp_path / "a.b_mask.tiny" and mask.read_bytes()[2:] == (PIXELS > 40).tobytes()
    saliency = write_float_map(PIXELS / 255, image.meta["geometry"], tmp_path / "a.b_saliency")
    assert saliency.suffix == ".tiny"
    names = OutputFiles(overlay=False, save_probability=True).names("a.b", "tiny", 1)
    assert names == ["a.b_mask.tiny", "a.b_probability.tiny"]


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_a_formats_module_has_all_that_the_table_promises(name: str) -> None:
    one = FORMATS[name]
    for function in ("read", "read_grid", "write_mask", "write_map", *(["detached_data"] if one.detached else [])):
        assert callable(getattr(one.code, function))


def test_no_two_formats_share_a_suffix() -> None:
    every = [suffix for one in FORMATS.values() for suffix in one.suffixes]
    assert len(set(every)) == len(every)


def test_finding_imports_no_reader(tmp_path: Path) -> None:
    for name in ("a.png", "a.nii.gz", "a.nrrd", "a.dcm", "noext"):
        (tmp_path / name).write_bytes(b"nothing")
    code = (
        "import sys; from medclipsam_monai.io import find_inputs; "
        f"assert len([f for s in find_inputs([{str(tmp_path)!r}]) for f in s.files]) == 4; "
        "print(*sorted({'torch', 'nibabel', 'monai', 'tifffile', 'imagecodecs', 'scipy', 'itk'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
