"""Records name what decided a result, measure it, and tell a finished image from another request's."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medclipsam_monai import __version__
from medclipsam_monai.io import build_record, class_sizes, hash_files, is_finished, records, request_key, write_json

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


def record() -> dict[str, Any]:
    return build_record(
        **REQUEST,
        input_name="/clinic/SomebodyKnown/scan.dcm",
        classes=[{"name": "lung", "pixels": 2, "size": 2.0, "unit": "mm2", "presence": None, "boxes": [[0, 1, 2, 3]]}],
        outputs=["/clinic/out/scan_mask.png", "scan_overlay.png"],
        seconds=1.23456,
    )


def test_a_record_holds_the_request_and_no_folders() -> None:
    made = record()
    assert made["input"] == "scan.dcm" and made["outputs"] == ["scan_mask.png", "scan_overlay.png"]
    assert made["request"] == KEY and made["version"] == __version__ and made["seconds"] == 1.235
    assert "clinic" not in json.dumps(made)


def test_finished_is_the_same_request_with_all_its_outputs(tmp_path: Path) -> None:
    path = tmp_path / "scan.json"
    assert not is_finished(path, KEY)
    write_json(record(), path)
    assert not is_finished(path, KEY)
    (tmp_path / "scan_mask.png").touch()
    assert not is_finished(path, KEY)
    (tmp_path / "scan_overlay.png").touch()
    assert is_finished(path, KEY) and not is_finished(path, "another")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"request": 1}', b"\xff\xfe", b'{"outputs": 3}'])
def test_a_damaged_record_is_not_finished(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "r.json").write_bytes(content)
    assert not is_finished(tmp_path / "r.json", KEY)


def test_a_record_without_outputs_is_not_finished(tmp_path: Path) -> None:
    write_json({**record(), "outputs": []}, tmp_path / "r.json")
    assert not is_finished(tmp_path / "r.json", KEY)
