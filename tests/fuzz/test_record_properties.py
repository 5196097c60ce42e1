"""Records and other JSON files: what is written is read back, and garbage is one line or nothing, never a traceback."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzzed import few
from hypothesis import given
from hypothesis import strategies as st

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.json_files import read_list, read_object, read_own_object, write_json
from medclipsam_monai.io import build_record, is_finished
from medclipsam_monai.io.outputs import clear_interrupted, open_outputs
from medclipsam_monai.io.records import read_record
from medclipsam_monai.presets import load_preset
from medclipsam_monai.prompts.prompt_set import load_prompt_set

NUMBERS = st.one_of(st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NAMES_OF_FILES = st.text(st.characters(exclude_characters="\0"), max_size=12)  # bytes that are no UTF-8 too
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, NAMES_OF_FILES),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(NAMES_OF_FILES, inner, max_size=4)),
    max_leaves=12,
)
HASHES = st.text("0123456789abcdef", min_size=64, max_size=64)
PRESETS = Path(load_preset.__code__.co_filename).parent


@st.composite
def records(draw: Any) -> dict[str, Any]:
    words = st.dictionaries(TEXTS, st.lists(TEXTS, max_size=3), min_size=1, max_size=3)
    return build_record(
        input_name=draw(TEXTS) or "x",
        input_sha256=draw(HASHES),
        texts=draw(words),
        preset=draw(TEXTS),
        weights=draw(st.dictionaries(TEXTS, HASHES, max_size=2)),
        parameters=draw(st.dictionaries(TEXTS, st.one_of(NUMBERS, TEXTS, st.none()), max_size=3)),
        classes=[{"name": draw(TEXTS), "presence": draw(st.floats(0, 1)), "boxes": []}],
        outputs={f"{draw(st.sampled_from(['a', 'b', 'ü']))}_mask.png": draw(HASHES)},
        seconds=draw(st.floats(0, 1e6)),
        warnings=draw(st.lists(TEXTS, max_size=2)),
    )


@few
@given(st.dictionaries(NAMES_OF_FILES, VALUES, max_size=5))
def test_what_is_written_as_json_is_read_back(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("json") / "x.json"
    write_json(content, path)
    assert read_own_object(path) == content
    assert [one.name for one in path.parent.iterdir()] == ["x.json"]


@few
@given(records())
def test_a_record_is_read_back_whole_and_says_of_whom_it_is(tmp_path_factory, record):
    path = tmp_path_factory.mktemp("record") / "x.json"
    write_json(record, path)
    assert read_record(path) == record
    assert not is_finished(path, record["request"]), "its outputs are not there"


@few
@given(st.sampled_from([math.nan, math.inf, -math.inf]))
def test_a_number_that_json_has_not_is_refused_before_a_file_is_there(tmp_path_factory, number):
    path = tmp_path_factory.mktemp("nan") / "x.json"
    with pytest.raises(ValueError, match="JSON"):
        write_json({"value": [number]}, path)
    assert not path.exists()


def damaged(content: bytes, seed: int) -> bytes:
    """Bytes that were changed, cut, put in or doubled."""
    rng = np.random.default_rng(seed)
    out = bytearray(content)
    for _ in range(rng.integers(1, 6)):
        at, choice = int(rng.integers(len(out) + 1)), rng.integers(5)
        if choice == 0:
            out[at : at + 1] = rng.bytes(1)
        elif choice == 1:
            del out[at : at + int(rng.integers(1, 40))]
        elif choice == 2:
            words = [b"null", b"[", b"{", b'"', b"NaN", b"1e999", b"9" * 5000, b"\\ud800", b"\xff", b"[" * 3000, b"-0"]
            out[at:at] = words[rng.integers(len(words))]
        elif choice == 3:
            out = out[:at]
        else:
            out[at:at] = out[at // 2 : at]
    return bytes(out)


def refusal(read: Callable[[Path], object], path: Path) -> str:
    """The one line with which a file is refused; nothing where it is taken."""
    try:
        read(path)
    except InputError as error:
        assert "\n" not in str(error)
        return str(error)
    return ""


@few
@given(records(), st.integers(0, 100_000))
def test_a_damaged_record_is_none_or_a_record(tmp_path_factory, record, seed):
    folder = tmp_path_factory.mktemp("damaged")
    path = write_json(record, folder / "x.json")
    path.write_bytes(damaged(path.read_bytes(), seed))
    found = read_record(path)
    assert found is None or (isinstance(found["outputs"], dict) and isinstance(found["request"], str))
    assert is_finished(path, record["request"]) is False
    refusal(read_object, path), refusal(read_list, path)
    with open_outputs(folder, "x") as outputs:
        assert not outputs.is_finished(record["request"])


@few
@given(st.binary(max_size=60))
def test_any_bytes_are_an_object_or_one_line(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("bytes") / "x.json"
    path.write_bytes(content)
    said = refusal(read_object, path)
    assert not said or str(path) in said
    assert read_record(path) is None
    refusal(load_preset, path), refusal(load_prompt_set, path)


@few
@given(st.sampled_from(sorted(one.name for one in PRESETS.glob("*.json"))), st.integers(0, 100_000))
def test_a_damaged_preset_is_a_preset_or_one_line(tmp_path_factory, name, seed):
    path = tmp_path_factory.mktemp("presets") / name
    path.write_bytes(damaged((PRESETS / name).read_bytes(), seed))
    refusal(load_preset, path)


@few
@given(st.integers(0, 100_000))
def test_a_damaged_prompt_set_is_a_set_or_one_line(tmp_path_factory, seed):
    sets = sorted((PRESETS.parent / "prompts" / "sets").glob("*.json"))
    path = tmp_path_factory.mktemp("sets") / "set.json"
    path.write_bytes(damaged(sets[seed % len(sets)].read_bytes(), seed))
    refusal(load_prompt_set, path)


@few
@given(st.binary(max_size=40), st.integers(0, 100_000))
def test_a_damaged_journal_is_cleared_away_and_takes_nothing_with_it(tmp_path_factory, content, seed):
    folder = tmp_path_factory.mktemp("journal")
    (folder / "mine.txt").write_text("mine")
    (folder / "x_mask.png").write_bytes(b"mask")
    whole = json.dumps({"stem": "x", "outputs": {"../mine.txt": ["0"], "x_mask.png": ["0" * 64]}}).encode()
    with open_outputs(folder, "x") as outputs:
        journal = outputs._journal
    journal.write_bytes(content if seed % 2 else damaged(whole, seed))
    clear_interrupted(folder)
    assert sorted(one.name for one in folder.iterdir()) == ["mine.txt", "x_mask.png"]
