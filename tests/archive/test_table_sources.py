"""An archive's source that is a Parquet table: a file or a folder of files, and values that Python cannot hold."""

from __future__ import annotations

import pyarrow as pa
import pytest
from pyarrow import parquet

from medclipsam_monai.archive.sources import list_images
from medclipsam_monai.base.errors import InputError

_FAR = 2**62  # microseconds: the year 148,000
UNUSABLE = {
    "infinite": pa.array([2**63 - 1], pa.timestamp("us")),
    "before the year 1": pa.array([-800_000], pa.date32()),
    "far": pa.array([_FAR], pa.timestamp("us")),
    "zone": pa.array([0], pa.timestamp("us", "Nowhere/City")),
    "twice": pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]),
    "bool8": pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1], pa.int8())),
    "long": pa.array([10**18], pa.duration("s")),
    "text": pa.array([b"M\xfcller"], pa.binary()).view(pa.string()),
}
USABLE = {
    "when": pa.array([1], pa.timestamp("ns", "UTC")),
    "kind": pa.array(["ct"], pa.dictionary(pa.int8(), pa.string())),
    "sizes": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int8())),
    "nothing": pa.nulls(1),
}


@pytest.mark.parametrize("column", UNUSABLE)
def test_a_value_that_python_cannot_hold_is_one_line_with_its_column(tmp_path, column):
    path = tmp_path / "t.parquet"
    parquet.write_table(pa.table({"path": ["a.png"], column: UNUSABLE[column]}), path)
    with pytest.raises(InputError) as caught:
        list_images(path)
    told = str(caught.value)
    assert told.startswith(f"{path}: the column {column!r} has a value of ")
    assert told.endswith("; convert it, to text for example, or drop it") and "\n" not in told


def test_other_values_are_carried_through_with_their_types(tmp_path):
    table = pa.table({"path": ["none.png"], **USABLE})
    parquet.write_table(table, tmp_path / "t.parquet")
    listed = list_images(tmp_path / "t.parquet")
    assert dict(listed.columns) == {name: column.type for name, column in USABLE.items()}
    assert listed.items[0].carried == {name: column.to_pylist()[0] for name, column in USABLE.items()}


def test_a_folder_of_files_is_one_table_whose_paths_begin_beside_it(tmp_path, pictures):
    folder = pictures.parent / "parts.parquet"
    folder.mkdir()
    for number, name in enumerate(("xray_normal", "ct_chest")):
        table = pa.table({"path": [f"in/{name}.png"], "n": [number]})
        parquet.write_table(table, folder / f"part-{number}.parquet")
    items = list_images(folder).items
    assert [(item.source.stem, item.carried) for item in items] == [("xray_normal", {"n": 0}), ("ct_chest", {"n": 1})]


def test_a_column_of_a_parquet_table_needs_a_name(tmp_path):
    parquet.write_table(pa.table({"path": ["a.png"], "": [1]}), tmp_path / "t.parquet")
    with pytest.raises(InputError, match="column 2 has no name; give it one, or drop the column"):
        list_images(tmp_path / "t.parquet")
