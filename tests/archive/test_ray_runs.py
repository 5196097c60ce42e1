"""`medclipsam archive` as a whole, on a Ray of its own: the files of `segment`, a row an image, going on, refusals."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pytest
from page_commands import blocks
from pyarrow import parquet

from medclipsam_monai.archive.parts import FOLDER

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "archive.md"
DEMO = ("-t", "lungs", "--preset", "demo", "--device", "cpu")


def files(folder, *suffixes):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.suffix in suffixes}


def records(folder):
    return {name: {**json.loads(text), "seconds": 0} for name, text in files(folder, ".json").items()}


def test_the_files_are_those_of_segment_and_the_table_has_a_row_an_image(command, pictures, tmp_path):
    code, _, _ = command("segment", pictures, "-o", tmp_path / "one", *DEMO)
    assert code == 2
    code, out, err = command("archive", pictures, "-o", tmp_path / "two", *DEMO)
    assert (code, out.splitlines()[-1]) == (2, f"4 done, 0 skipped, 1 failed: {tmp_path / 'two'}")
    assert [line.split()[0] for line in err.splitlines()] == ["failed"]
    assert files(tmp_path / "two", ".png") == files(tmp_path / "one", ".png")
    assert records(tmp_path / "two") == records(tmp_path / "one")
    assert not list((tmp_path / "two").glob(".*"))

    table = pd.read_parquet(tmp_path / "two" / FOLDER).set_index("name")
    assert table.state.to_dict() == {
        "xray_normal": "done",
        "xray_pacemaker": "done",
        "ct_chest": "done",
        "brain_tumour": "done",
        "broken": "failed",
    }
    for name, record in records(tmp_path / "two").items():
        row = table.loc[name.removesuffix(".json")]
        assert (row.request, row.clip_sha256) == (record["request"], record["weights"]["clip"])
        assert (row.classes[0]["presence"], row.classes[0]["size"]) == tuple(
            record["classes"][0][key] for key in ("presence", "size")
        )
    parts = tmp_path / "two" / FOLDER / "part-*.parquet"
    query = f"SELECT name, c.quality FROM (SELECT name, unnest(classes) AS c FROM '{parts}') WHERE c.fraction > 0"
    assert ("xray_normal",) in [row[:1] for row in duckdb.sql(query).fetchall()]

    before = files(tmp_path / "two" / FOLDER, ".parquet")
    code, out, _ = command("archive", pictures, "-o", tmp_path / "two", *DEMO)
    assert (code, out.splitlines()[-1]) == (2, f"0 done, 4 skipped, 1 failed: {tmp_path / 'two'}")
    again = pd.read_parquet(tmp_path / "two" / FOLDER)
    assert sorted(again["name"]) == sorted(table.index)
    assert before.items() & files(tmp_path / "two" / FOLDER, ".parquet").items(), "rows that stay are not written again"


def test_a_parquet_table_says_texts_and_patients_and_batches_change_nothing(command, pictures, tmp_path):
    rows = [
        {"path": str(pictures / "xray_normal.png"), "text": "heart", "patient": 7},
        {"path": str(pictures / "xray_pacemaker.png"), "text": None, "patient": 8},
        {"path": str(pictures / "ct_chest.png"), "text": None, "patient": 9},
        {"path": "gone.png", "text": None, "patient": None},
    ]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "table.parquet")
    words = ("--workers", 2, "--threads", 1, "--batch", 4, "--no-overlay")
    code, out, err = command("archive", tmp_path / "table.parquet", "-o", tmp_path / "out", *words, *DEMO)
    assert code == 2 and out.splitlines()[-1].startswith("3 done, 0 skipped, 1 failed")
    assert err == f"failed   [1/4] {tmp_path / 'gone.png'}: no such file or folder\n"
    table = parquet.read_table(tmp_path / "out" / FOLDER)
    assert table.schema.field("patient").type == pa.int64()
    found = {row["path"]: (row["patient"], row["texts"], row["state"]) for row in table.to_pylist()}
    assert found == {
        str(pictures / "xray_normal.png"): (7, ["heart"], "done"),
        str(pictures / "xray_pacemaker.png"): (8, ["lungs"], "done"),
        str(pictures / "ct_chest.png"): (9, ["lungs"], "done"),
        "gone.png": (None, None, "failed"),
    }
    command("segment", pictures / "xray_pacemaker.png", pictures / "ct_chest.png", "-o", tmp_path / "one", *DEMO)
    for name in ("xray_pacemaker_mask.png", "ct_chest_mask.png"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


def test_the_commands_of_the_page_run_as_they_stand_there(command, pictures, tmp_path, monkeypatch):
    """With the small weights, on one folder; the table's file and the Python below it, too."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(pictures, "scans", ignore=shutil.ignore_patterns("broken*"))
    Path("studies.csv").write_text("path,patient\nscans/ct_chest.png,p1\n")
    lines = [line for block in blocks(PAGE, "console") for line in block.splitlines() if "archive scans" in line]
    assert len(lines) == 1
    code, out, err = command(*shlex.split(lines[0])[1:], "--preset", "demo", "--device", "cpu")
    assert (code, err.count("failed")) == (0, 0), out + err
    (python,) = blocks(PAGE, "python")
    exec(python, {})
    query = next(part for part in PAGE.read_text("utf-8").split("`") if part.startswith("SELECT"))
    assert len(duckdb.sql(query).fetchall()) == 4


def refused(command, *words):
    code, out, err = command("archive", *words)
    assert (code, out) == (2, "") and err.startswith("medclipsam: ") and err.count("\n") == 1, (code, out, err)
    return err


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:0", "ray://127.0.0.1:10001"])
def test_an_address_that_is_none_is_one_line(command, pictures, tmp_path, address):
    told = refused(command, pictures, "-o", tmp_path / "out", "--ray", address, *DEMO)
    assert "--ray must be HOST:PORT of a cluster's head" in told


def test_an_address_where_nobody_listens_is_one_line(command, pictures, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert f"no Ray at {address}" in refused(command, pictures, "-o", tmp_path / "out", "--ray", address, *DEMO)


def test_bad_sources_and_destinations_are_one_line(command, pictures, tmp_path):
    (tmp_path / "other.csv").write_text("image\na.png\n")
    (tmp_path / "untold.csv").write_text(f"path\n{pictures / 'ct_chest.png'}\n")
    (tmp_path / "file").write_text("")
    (tmp_path / "broken.parquet").write_text("no table")
    cases = {
        "has no column 'path'": (tmp_path / "other.csv", "-o", tmp_path / "out", *DEMO),
        "cannot be read as a table": (tmp_path / "broken.parquet", "-o", tmp_path / "out", *DEMO),
        "nothing says what to segment": (tmp_path / "untold.csv", "-o", tmp_path / "out", *DEMO[2:]),
        "it is a file": (pictures, "-o", tmp_path / "file", *DEMO),
        "must be a folder of this machine": (pictures, "-o", "s3://bucket/out", *DEMO),
        "no such file or folder": (tmp_path / "none", "-o", tmp_path / "out", *DEMO),
    }
    for told, words in cases.items():
        assert told in refused(command, *words)


def test_a_destination_that_refuses_is_one_line(command, pictures, tmp_path):
    if os.geteuid() == 0:
        place = "/proc/archive"  # where root cannot write either
    else:
        (tmp_path / "shut").mkdir(mode=0o500)
        place = tmp_path / "shut"
    assert "cannot write in the output folder" in refused(command, pictures, "-o", place, *DEMO)
