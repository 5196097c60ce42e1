"""An output folder of `medclipsam archive` without Ray and without networks: masks, records and the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from medclipsam_monai.archive.parts import schema_of
from medclipsam_monai.archive.rows import OWN, done_row, failed_row
from medclipsam_monai.archive.sources import Item
from medclipsam_monai.base.json_files import write_json
from medclipsam_monai.io import ImageSource, build_record, find_inputs, hash_files, hash_outputs, write_mask
from medclipsam_monai.io.tables.parquet import TABLE_FOLDER
from medclipsam_monai.weak.nnunet.case_image import read_case_image


def of_class(name: str = "lungs", **figures: Any) -> dict[str, Any]:
    """A class that was found, with these figures in place of good ones."""
    usual = {"presence": 0.95, "size": 4.0, "unit": "pixels", "fraction": 0.2, "quality": 0.9, "agreement": 0.8}
    return {"name": name, **usual, **figures}


def write_archive(
    folder: Path, images: Mapping[Path, Mapping[str, Any]], carried: Sequence[str] = (), failed: Sequence[str] = ()
) -> Path:
    """Segment each image into rows of background and of its classes.

    Args:
        folder: for the outputs.
        images: a file or the folder of a series -> the carried columns, and "classes", see `of_class`.
        carried: names of the carried columns.
        failed: paths of rows of images that could not be read.
    """
    (folder / TABLE_FOLDER).mkdir(parents=True, exist_ok=True)
    rows = []
    for path, row in images.items():
        (source,) = find_inputs([path])
        item = Item(str(path), source, carried={name: row.get(name) for name in carried})
        rows.append(done_row(item, _segmented(source, folder, row.get("classes", [of_class()]))))
    rows += [failed_row(Item(path, None, carried=dict.fromkeys(carried)), f"{path}: broken") for path in failed]
    kinds = {name: pa.infer_type([row[name] for row in rows]) for name in carried}
    for first in range(0, len(rows), 3):  # in several files
        table = pa.Table.from_pylist(rows[first : first + 3], schema=schema_of(OWN, kinds))
        parquet.write_table(table, folder / TABLE_FOLDER / f"part-{first:08}.parquet")
    return folder


def _segmented(source: ImageSource, folder: Path, classes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Write mask and record of an image."""
    image = read_case_image(source)
    shape = image.geometry.display_shape
    of_rows = np.arange(shape[0]) % (len(classes) + 1)
    labels = np.broadcast_to(of_rows.reshape(-1, *[1] * (len(shape) - 1)), shape).astype(np.uint8)
    mask = write_mask(labels, image.geometry, folder / f"{source.stem}_mask")
    record = build_record(
        input_name=source.name,
        input_sha256=hash_files(source.files),
        texts={one["name"]: [f"a picture of {one['name']}"] for one in classes},
        preset="demo",
        weights={"clip": "c" * 64, "sam": "s" * 64},
        parameters={},
        classes=classes,
        outputs=hash_outputs([mask]),
        seconds=1.0,
    )
    write_json(record, folder / f"{source.stem}.json")
    return record
