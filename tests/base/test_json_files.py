"""JSON files of users: whatever is wrong with one is one line, by every way it can be given."""

from __future__ import annotations

import json
import math
import os

import pytest
from hostile import refuses

from medclipsam_monai.base.json_files import MAX_DEPTH, parse_object, read_list, read_object
from medclipsam_monai.deploy.series_selection import read_rules
from medclipsam_monai.finetune.data.pairs import read_pairs
from medclipsam_monai.io.records import is_finished
from medclipsam_monai.presets import load_preset
from medclipsam_monai.prompts import load_prompt_set, read_prompts
from medclipsam_monai.study.table import StudyTable
from medclipsam_monai.weak.folders import WorkFolders
from medclipsam_monai.weak.nnunet.planning import read_planned
from medclipsam_monai.weak.nnunet.raw_data import read_cases
from medclipsam_monai.weak.nnunet.training import members_missing
from medclipsam_monai.weak.resunet import read_raw_data

BROKEN = {
    "empty": b"",
    "cut": b'{"levels": {"P0": ["a"',
    "nested": b'{"levels": ' + b"[" * 3000 + b"]" * 3000 + b"}",
    "nested_objects": b'{"a":' * 3000 + b"1" + b"}" * 3000,
    "too_deep": b"[" * 100 + b"]" * 100,
    "latin1": '{"levels": "Löwe"}'.encode("latin-1"),
    "utf16": '{"levels": 1}'.encode("utf-16"),
    "twice": b'{"levels": 1, "levels": 2}',
    "half_a_pair": b'{"levels": "\\ud83d"}',
    "long_number": b'{"levels": ' + b"9" * 5000 + b"}",
    "two_values": b"{} {}",
    "pickle": b"\x80\x04}\x94.",
    "list": b"[1, 2]",
    "null": b"null",
    "number": b"3",
}


def as_study(path):
    (path.parent / "study.json").write_bytes(path.read_bytes())
    return StudyTable(path.parent, {"seed": 1})


def as_raw_data(path):
    folders = WorkFolders(path.parent)
    for target in (folders.dataset_json, folders.splits_json):
        target.parent.mkdir(parents=True)
        target.write_bytes(path.read_bytes())
    return read_raw_data(folders)


def as_cases(path):
    folders = WorkFolders(path.parent)
    folders.raw.mkdir(parents=True)
    folders.cases_json.write_bytes(path.read_bytes())
    return read_cases(folders)


def as_members(path):
    folders = WorkFolders(path.parent)
    folders.fold.mkdir(parents=True)
    folders.members_json.write_bytes(path.read_bytes())
    return members_missing(folders)


READERS = {
    "read_object": read_object,
    "read_list": lambda path: read_list(path) if path.read_bytes() != BROKEN["list"] else read_object(path),
    "preset": load_preset,
    "prompts": lambda path: read_prompts(str(path)),
    "prompt_set": load_prompt_set,
    "rules": read_rules,
    "study": as_study,
    "raw_data": as_raw_data,
    "members": as_members,
    "cases": as_cases,
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_a_broken_file_is_one_line(read, content, tmp_path):
    path = tmp_path / "given.json"
    path.write_bytes(content)
    refuses(lambda: read(path))


@pytest.mark.parametrize("content", [value for key, value in BROKEN.items() if key != "pickle"])
@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_a_broken_table_is_one_line(content, suffix, tmp_path):
    path = tmp_path / f"given{suffix}"
    path.write_bytes(content)
    assert f"given{suffix}" in refuses(lambda: read_pairs(path))


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_broken_record_or_note_of_our_own_counts_as_none(content, tmp_path):
    path = tmp_path / "record.json"
    path.write_bytes(content)
    assert not is_finished(path, "key")
    folders = WorkFolders(tmp_path)
    folders.preprocessed.mkdir(parents=True)
    folders.plans_json.write_text("{}")
    folders.planned_json.write_bytes(content)
    assert read_planned(folders) == {}
    assert folders.configuration == "2d"


def test_what_is_no_file_is_named_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    assert "there is no such file" in refuses(lambda: read_object(tmp_path / "pipe.json"))
    assert "there is no such file" in refuses(lambda: read_object(tmp_path / "none.json"))
    assert "it is a folder" in refuses(lambda: read_object(tmp_path))


def test_a_file_larger_than_the_limit_is_not_read(tmp_path):
    path = tmp_path / "large.json"
    path.write_text("[" + "1," * 100 + "1]")
    assert "has 203 bytes; expected a JSON file of at most 200" in refuses(lambda: read_list(path, max_bytes=200))
    assert len(read_list(path, max_bytes=203)) == 101


def test_messages_say_what_and_what_to_do(tmp_path):
    path = tmp_path / "given.json"
    path.write_text("[1]")
    assert refuses(lambda: read_object(path, what="preset")) == f"preset {path} must hold a JSON object, got a list"
    path.write_text('{"a": 1, "a": 2}')
    assert refuses(lambda: read_object(path, "train again")) == (
        f"{path} is not a readable JSON file: the name 'a' occurs twice in one object; train again"
    )


def test_what_json_can_hold_is_read_as_it_is(tmp_path):
    content = {"text": "Lunge, poumon, 肺", "numbers": [1, -2.5, 1e300], "none": None, "yes": True, "empty": {}}
    path = tmp_path / "given.json"
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8-sig")  # with a byte order mark
    assert read_object(path) == content
    assert math.isnan(parse_object('{"a": NaN}', "text")["a"])
    deepest = '{"a": ' + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1) + "}"
    assert json.dumps(parse_object(deepest, "text")) == deepest
    assert "too deeply" in refuses(lambda: parse_object(f'{{"a": {deepest}}}', "text"))
