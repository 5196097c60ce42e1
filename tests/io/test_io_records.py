"""Records name what decided a result, measure it, and tell a finished image from another request's."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medclipsam_monai import __version__
from medclipsam_monai.base.json_files import write_json
from medclipsam_monai.io import build_record, class_sizes, hash_files, hash_outputs, is_finished, records, request_key
from medclipsam_monai.io.records import read_record

REQUEST: dict[str, Any] = {
    "texts": {"lung": ["lungs"], "heart": ["the heart", "a heart"]},
    "preset": "demo",
    "weights": {"sam.safetensors": "ab", "clip.safetensors": "cd"},
    "parameters": {"gamma": 1.0, "layer": 9},
    "input_sha256": "00ff",
}
KEY = request_key(**REQUEST)


def test_class_sizes_are_in_millimetres_where_the_spacing_is_known() -> None:
    labels = np.array([[0, 1, 1], [2, 2, 2]], np.uint8)
    assert class_sizes(labels, (0.5, 2.0), ["lung", "heart", "liver"]) == [
        {"name": "lung", "pixels": 2, "size": 2.0, "unit": "mm2"},
        {"name": "heart", "pixels": 3, "size": 3.0, "unit": "mm2"},
        {"name": "liver", "pixels": 0, "size": 0.0, "unit": "mm2"},
    ]
    volume = torch.ones(1, 4, 5, 2)
    assert class_sizes(volume, (1, 1, 3), ["all"]) == [{"name": "all", "pixels": 40, "size": 120.0, "unit": "mm3"}]


@pytest.mark.parametrize(
    ("shape", "unit"), [((2, 3), "pixels"), ((1, 2, 3), "pixels"), ((2, 3, 4), "voxels"), ((1, 2, 3, 4), "voxels")]
)
def test_class_sizes_count_where_it_is_not(shape: tuple[int, ...], unit: str) -> None:
    (size,) = class_sizes(np.ones(shape, np.uint8), None, ["all"])
    assert size == {"name": "all", "pixels": int(np.prod(shape)), "size": int(np.prod(shape)), "unit": unit}


def test_the_hash_is_that_of_the_bytes_and_of_a_series_whatever_its_order(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "b").write_bytes(b"two")
    assert hash_files([tmp_path / "a"]) == hashlib.sha256(b"one").hexdigest()
    both = hash_files([tmp_path / "a", tmp_path / "b"])
    assert both == hash_files([tmp_path / "b", tmp_path / "a"]) != hash_files([tmp_path / "a"])


@pytest.mark.parametrize(
    "change",
    [
        {"texts": {"lung": ["lung"], "heart": ["the heart", "a heart"]}},
        {"texts": {"heart": ["the heart", "a heart"], "lung": ["lungs"]}},  # other labels
        {"preset": "biomedclip_sam_b"},
        {"weights": {"sam.safetensors": "ab", "clip.safetensors": "ce"}},
        {"parameters": {"gamma": 2.0, "layer": 9}},
        {"input_sha256": "00fe"},
    ],
)
def test_the_key_changes_with_all_that_decides_the_result(change: dict[str, Any]) -> None:
    assert request_key(**{**REQUEST, **change}) != KEY


def test_the_key_changes_with_the_version_and_not_with_the_order_of_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert request_key(**{**REQUEST, "parameters": {"layer": 9, "gamma": 1.0}}) == KEY
    monkeypatch.setattr(records, "__version__", "99")
    assert request_key(**REQUEST) != KEY


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def record() -> dict[str, Any]:
    return build_record(
        **REQUEST,
        input_name="/clinic/SomebodyKnown/scan.dcm",
        classes=[{"name": "lung", "pixels": 2, "size": 2.0, "unit": "mm2", "presence": None, "boxes": [[0, 1, 2, 3]]}],
        outputs={"scan_mask.png": sha256(b"mask"), "scan_overlay.png": sha256(b"overlay")},
        seconds=1.23456,
    )


def test_a_record_holds_the_request_and_no_folders() -> None:
    made = record()
    assert made["input"] == "scan.dcm" and list(made["outputs"]) == ["scan_mask.png", "scan_overlay.png"]
    assert made["request"] == KEY and made["version"] == __version__ and made["seconds"] == 1.235
    assert "clinic" not in json.dumps(made)


def test_outputs_are_hashed_in_their_order_by_base_name(tmp_path: Path) -> None:
    (tmp_path / "z.png").write_bytes(b"mask")
    (tmp_path / "a.png").write_bytes(b"overlay")
    hashes = hash_outputs([tmp_path / "z.png", tmp_path / "a.png"])
    assert list(hashes.items()) == [("z.png", sha256(b"mask")), ("a.png", sha256(b"overlay"))]


def test_finished_is_the_same_request_with_all_its_outputs_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "scan.json"
    assert not is_finished(path, KEY)
    write_json(record(), path)
    assert not is_finished(path, KEY)
    (tmp_path / "scan_mask.png").write_bytes(b"mask")
    assert not is_finished(path, KEY)
    (tmp_path / "scan_overlay.png").write_bytes(b"overlay")
    assert is_finished(path, KEY) and not is_finished(path, "another")
    (tmp_path / "scan_mask.png").write_bytes(b"mash")
    assert not is_finished(path, KEY), "somebody corrected the mask"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'{"request": 1}', b"\xff\xfe", b'{"outputs": 3}', b"[" * 3000]
)
def test_a_damaged_record_is_not_finished(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "r.json").write_bytes(content)
    assert not is_finished(tmp_path / "r.json", KEY)


@pytest.mark.parametrize("outputs", [["scan_mask.png"], {"scan_mask.png": 3}, {"../scan_mask.png": "00"}, {"": "00"}])
def test_a_record_whose_outputs_are_no_names_with_hashes_is_none(tmp_path: Path, outputs: Any) -> None:
    write_json({**record(), "outputs": outputs}, tmp_path / "r.json")
    assert read_record(tmp_path / "r.json") is None and not is_finished(tmp_path / "r.json", KEY)


def test_a_record_names_files_whose_names_are_no_utf_8(tmp_path: Path) -> None:
    name = os.fsdecode(b"M\xfcller")
    made = {**record(), "input": f"{name}.png", "outputs": {f"{name}_mask.png": sha256(b"mask")}}
    path = write_json(made, tmp_path / f"{name}.json")
    assert b"M\\udcfcller.png" in path.read_bytes()
    (tmp_path / f"{name}_mask.png").write_bytes(b"mask")
    assert read_record(path) == made and is_finished(path, KEY)
