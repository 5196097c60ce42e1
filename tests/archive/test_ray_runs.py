"""`medclipsam archive` as a whole, on a Ray of its own: the files of `segment`, a row an image, going on, refusals."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import sys
from io import BytesIO
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pydicom
import pytest
import torch
from fake_s3 import ACCESS, BUCKET, SECRET, fake_s3
from page_commands import blocks
from pyarrow import parquet

from medclipsam_monai.io.tables.parquet import TABLE_FOLDER
from medclipsam_monai.phantoms.dicom import write_phantom_volume
from medclipsam_monai.phantoms.samples import sample_folder, sample_pictures

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "archive.md"
DEMO = ("-t", "lungs", "--preset", "demo", "--device", "cpu")
ONE = ("--threads", 1)  # of each worker, as here


@pytest.fixture(autouse=True)
def one_thread():
    """With other numbers of threads the last digits differ."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def files(folder, *suffixes):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.suffix in suffixes}


def records(folder):
    return {name: {**json.loads(text), "seconds": 0} for name, text in files(folder, ".json").items()}


def test_the_files_are_those_of_segment_and_the_table_has_a_row_an_image(command, pictures, tmp_path):
    code, _, _ = command("segment", pictures, "-o", tmp_path / "one", *DEMO)
    assert code == 2
    code, out, err = command("archive", pictures, "-o", tmp_path / "two", *ONE, *DEMO)
    assert (code, out.splitlines()[-1]) == (2, f"4 done, 0 skipped, 1 failed: {tmp_path / 'two'}")
    assert [line.split()[0] for line in err.splitlines()] == ["failed"]
    assert files(tmp_path / "two", ".png") == files(tmp_path / "one", ".png")
    assert records(tmp_path / "two") == records(tmp_path / "one")
    assert not list((tmp_path / "two").glob(".*"))

    table = pd.read_parquet(tmp_path / "two" / TABLE_FOLDER).set_index("name")
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
    parts = tmp_path / "two" / TABLE_FOLDER / "part-*.parquet"
    query = f"SELECT name, c.quality FROM (SELECT name, unnest(classes) AS c FROM '{parts}') WHERE c.fraction > 0"
    assert ("xray_normal",) in [row[:1] for row in duckdb.sql(query).fetchall()]

    before = files(tmp_path / "two" / TABLE_FOLDER, ".parquet")
    code, out, _ = command("archive", pictures, "-o", tmp_path / "two", *ONE, *DEMO)
    assert (code, out.splitlines()[-1]) == (2, f"0 done, 4 skipped, 1 failed: {tmp_path / 'two'}")
    again = pd.read_parquet(tmp_path / "two" / TABLE_FOLDER)
    assert sorted(again["name"]) == sorted(table.index)
    now = files(tmp_path / "two" / TABLE_FOLDER, ".parquet")
    assert before.items() & now.items(), "rows that stay are not written again"


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
    table = parquet.read_table(tmp_path / "out" / TABLE_FOLDER)
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


def test_a_dicom_series_gets_the_dicom_seg_that_segment_writes(command, tmp_path):
    write_phantom_volume(tmp_path / "in" / "ct")
    shutil.copy(sample_pictures()["ct_chest"], tmp_path / "in" / "picture.png")
    words = (tmp_path / "in", "-t", "lungs", "--always", "--dicom-seg", "--preset", "demo", "--device", "cpu")
    command("segment", *words, "-o", tmp_path / "one")
    code, out, err = command("archive", *words, *ONE, "-o", tmp_path / "two")
    assert (code, out.splitlines()[-1]) == (2, f"1 done, 0 skipped, 1 failed: {tmp_path / 'two'}")
    assert "picture.png: is not DICOM" in err
    (name,) = (path.name for path in (tmp_path / "one").glob("*_seg.dcm"))
    objects = [pydicom.dcmread(tmp_path / folder / name) for folder in ("one", "two")]
    assert objects[0].PixelData == objects[1].PixelData and any(objects[0].PixelData)
    references = [tmp_path / folder / f"{name.removesuffix('_seg.dcm')}.json" for folder in ("one", "two")]
    assert [name in json.loads(path.read_text())["outputs"] for path in references] == [True, True]


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes there")
def test_a_name_that_is_no_utf_8_has_a_row_and_another_text_takes_no_row_away(command, tmp_path):
    (tmp_path / "in").mkdir()
    for name, sample in ((b"caf\xe9.png", "ct_chest"), (b"plain.png", "xray_normal")):
        shutil.copy(sample_pictures()[sample], tmp_path / "in" / os.fsdecode(name))
    words = (tmp_path / "in", "-o", tmp_path / "out", "--preset", "demo", "--device", "cpu")
    assert command("archive", *words, "-t", "lungs")[0] == 0
    rows = parquet.read_table(tmp_path / "out" / TABLE_FOLDER).to_pylist()
    assert {Path(row["path"]).name: row["state"] for row in rows} == {r"caf\udce9.png": "done", "plain.png": "done"}
    code, out, err = command("archive", *words, "-t", "heart")
    assert (code, out.splitlines()[-1]) == (2, f"0 done, 0 skipped, 2 failed: {tmp_path / 'out'}")
    assert err.count("is in the way: it is of another request") == 2
    assert parquet.read_table(tmp_path / "out" / TABLE_FOLDER).to_pylist() == rows


def test_a_text_that_is_none_fails_its_row_alone(command, pictures, tmp_path):
    lines = ["path,text", f"{pictures / 'ct_chest.png'},", f"{pictures / 'xray_normal.png'},=x"]
    (tmp_path / "table.csv").write_text("\n".join(lines))
    code, out, err = command("archive", tmp_path / "table.csv", "-o", tmp_path / "out", *DEMO)
    assert (code, out.splitlines()[-1]) == (2, f"1 done, 0 skipped, 1 failed: {tmp_path / 'out'}")
    assert err == f"failed   [1/2] {pictures / 'xray_normal.png'}: a class needs a name, got an empty one\n"


def of_the_page(part):
    """The words of the page's first command on the folder scans that has some part."""
    lines = [line for block in blocks(PAGE, "console") for line in block.splitlines() if "archive scans" in line]
    return shlex.split(next(line for line in lines if part in line))[1:]


def test_the_commands_of_the_page_run_as_they_stand_there(command, pictures, tmp_path, monkeypatch):
    """With the small weights, on one folder; the table's file and the Python below it, too."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(pictures, "scans", ignore=shutil.ignore_patterns("broken*"))
    Path("studies.csv").write_text("path,patient\nscans/ct_chest.png,p1\n")
    code, out, err = command(*of_the_page("--output archive_results"), "--preset", "demo", "--device", "cpu")
    assert (code, err.count("failed")) == (0, 0), out + err
    (python,) = blocks(PAGE, "python")
    exec(python, {})
    query = next(part for part in PAGE.read_text("utf-8").split("`") if part.startswith("SELECT"))
    assert len(duckdb.sql(query).fetchall()) == 4


def test_the_page_s_command_on_s3_by_the_options_of_segment_tells_no_secret(command, pictures, tmp_path, monkeypatch):
    """Examples, a parameter, a seed, maps: the files of `segment`, found again, and done again with --overwrite."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(pictures, "scans")
    (archive, source, _, url, *text), told = of_the_page("s3://"), []
    assert url.startswith(f"s3://{BUCKET}/")
    changed = ("--set", "coarse.threshold=otsu", "--always", "--seed", 4, "--max-voxels", 10**6)
    maps = ("--save-saliency", "--save-probability", "--preset", "demo", "--device", "cpu")
    words = (*text, *changed, "--examples", sample_folder(), *maps)
    command("segment", source, "-o", "one", *words)
    expected = {name: plain(content) for name, content in files(Path("one"), ".png", ".json").items()}
    with fake_s3() as server:
        for name, value in server.variables.items():
            monkeypatch.setenv(name, value)
        for done, skipped, option in ((4, 0, ()), (0, 4, ()), (4, 0, ("--overwrite",))):
            code, out, err = command(archive, source, "--output", url, *option, *ONE, *words)
            assert (code, out.splitlines()[-1]) == (2, f"{done} done, {skipped} skipped, 1 failed: {url}"), err
            told.append(out + err)
            there = {key.removeprefix("results/"): content for key, content in server.files().items()}
            assert {name: plain(there[name]) for name in there if TABLE_FOLDER not in name} == expected
        tables = [pd.read_parquet(BytesIO(there[name])) for name in there if TABLE_FOLDER in name]
    assert len(expected) == 4 * 6 and pd.concat(tables).state.value_counts().to_dict() == {"done": 4, "failed": 1}
    assert not [text for text in (*told, *map(str, there.values())) if SECRET in text or ACCESS in text]


def plain(content):
    return {**json.loads(content), "seconds": 0} if content.startswith(b"{") else content


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


def test_bad_sources_destinations_and_options_are_one_line(command, pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    (tmp_path / "other.csv").write_text("image\na.png\n")
    (tmp_path / "untold.csv").write_text(f"path\n{pictures / 'ct_chest.png'}\n")
    (tmp_path / "file").write_text("")
    (tmp_path / "broken.parquet").write_text("no table")
    cases = {
        "has no column 'path'": (tmp_path / "other.csv", "-o", tmp_path / "out", *DEMO),
        "cannot be read as a table": (tmp_path / "broken.parquet", "-o", tmp_path / "out", *DEMO),
        "nothing says what to segment": (tmp_path / "untold.csv", "-o", tmp_path / "out", *DEMO[2:]),
        "it is a file": (pictures, "-o", tmp_path / "file", *DEMO),
        "pyarrow takes s3://": (pictures, "-o", "nosuch://bucket/out", *DEMO),
        "set it in the environment": (pictures, "-o", "s3://AKIA:hush@bucket/out", *DEMO),
        "NETWORK_CONNECTION": (pictures, "-o", "s3://bucket/out", *DEMO),
        "100000 workers need at least": (pictures, "-o", tmp_path / "out", "--workers", 100000, *DEMO),
        "give what to segment as --text or as --prompts": (pictures, "-o", tmp_path / "out", "--prompts", "x", *DEMO),
        "unknown setting 'none'": (pictures, "-o", tmp_path / "out", "--set", "none=1", *DEMO),
        "is no folder of examples": (pictures, "-o", tmp_path / "out", "--examples", tmp_path / "none", *DEMO),
        "--example-encoder compares": (pictures, "-o", tmp_path / "out", "--example-encoder", tmp_path, *DEMO),
        "is not DICOM": (pictures, "-o", tmp_path / "out", "--dicom-seg", *DEMO),
        "no such file or folder": (tmp_path / "none", "-o", tmp_path / "out", *DEMO),
    }
    for told, words in cases.items():
        line = refused(command, *words)
        assert told in line and "hush" not in line
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out" / TABLE_FOLDER).iterdir())


def test_a_destination_that_refuses_is_one_line(command, pictures, tmp_path):
    if os.geteuid() == 0:
        place = "/proc/archive"  # where root cannot write either
    else:
        (tmp_path / "shut").mkdir(mode=0o500)
        place = tmp_path / "shut"
    assert "cannot write in the output folder" in refused(command, pictures, "-o", place, *DEMO)
