"""The JSON record beside every mask: what was asked, of which weights, and what was found.

A record holds no DICOM tags and no folder names: the input's base name and the hash of its bytes only. Its ``request``
is a hash over everything that decides the result, by which a second run knows what is done; ``outputs`` maps the name
of each file beside it to its SHA-256, by which it knows that they are still what this package wrote.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from medclipsam_monai.base.files import file_sha256
from medclipsam_monai.base.json_files import read_own_object
from medclipsam_monai.version import __version__

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

_UNITS = {2: "mm2", 3: "mm3"}
_COUNTS = {2: "pixels", 3: "voxels"}


def hash_files(paths: Iterable[str | Path]) -> str:
    """SHA-256 of a file's bytes; of several files, over their hashes in sorted order, whatever their names.

    Raises:
        OSError: a file cannot be read.
    """
    return joined_hash([file_sha256(path) for path in paths])


def joined_hash(digests: Sequence[str]) -> str:
    """The hash of an image of several files by theirs, in any order; of one file its own."""
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()


def request_key(
    texts: Mapping[str, Sequence[str]],
    preset: str,
    weights: Mapping[str, str],
    parameters: Mapping[str, Any],
    input_sha256: str,
) -> str:
    """SHA-256 over all that decides a result: texts, preset, weight hashes, parameters, input and package version.

    Args:
        texts: sentences by class, in the order of the labels.
        preset: name of the preset.
        weights: SHA-256 by weight file.
        parameters: every other setting, of types that JSON holds; the order of the keys does not matter.
        input_sha256: ``hash_files`` of the input.
    """
    request = {
        "texts": [[name, list(sentences)] for name, sentences in texts.items()],  # their order is that of the labels
        "preset": preset,
        "weights": dict(weights),
        "parameters": dict(parameters),
        "input": input_sha256,
        "version": __version__,
    }
    return hashlib.sha256(json.dumps(request, sort_keys=True, allow_nan=False).encode()).hexdigest()


def class_sizes(
    label_map: np.ndarray | Tensor,
    spacing: Sequence[float] | None,
    names: Sequence[str],
    voxel_volumes: np.ndarray | None = None,
) -> list[dict[str, Any]]:
    """Area or volume of each class.

    Args:
        label_map: (H, W[, D]) or (1, H, W[, D]); class ``names[i]`` has label i + 1.
        spacing: millimetres along each axis, ``meta["spacing"]``; None where unknown.
        names: the classes in the order of their labels.
        voxel_volumes: of a volume, where a voxel is not the product of its sides, see `Geometry.voxel_volumes`.

    Returns:
        For each class ``name``, ``pixels`` (count), ``size`` and its ``unit``: mm2 or mm3, or where spacing is unknown
        pixels or voxels.
    """
    import numpy as np

    labels = np.asarray(label_map if isinstance(label_map, np.ndarray) else label_map.detach().cpu())
    dimensions = labels.ndim
    if spacing is not None:
        dimensions = len(spacing)
    elif labels.shape[0] == 1 and labels.ndim > 2:
        dimensions -= 1
    one = np.array(1.0 if spacing is None else np.prod(spacing))
    if spacing is not None and dimensions == 3 and voxel_volumes is not None:
        one = voxel_volumes
    unit = (_UNITS if spacing is not None else _COUNTS)[dimensions]
    sizes = []
    for label, name in enumerate(names, start=1):
        found = labels == label
        pixels = int(np.count_nonzero(found))
        size = float(np.broadcast_to(one, found.shape)[found].sum()) if one.size > 1 else pixels * float(one.item())
        sizes.append({"name": name, "pixels": pixels, "size": size if spacing is not None else pixels, "unit": unit})
    return sizes


def build_record(
    *,
    input_name: str,
    input_sha256: str,
    texts: Mapping[str, Sequence[str]],
    preset: str,
    weights: Mapping[str, str],
    parameters: Mapping[str, Any],
    classes: Sequence[Mapping[str, Any]],
    outputs: Mapping[str, str],
    seconds: float,
    nearest_picture: Mapping[str, Any] | None = None,
    warnings: Sequence[str] = (),
) -> dict[str, Any]:
    """Builds the record of one finished image.

    Args:
        input_name: the input's name; only its base name is kept.
        input_sha256: ``hash_files`` of the input.
        texts: sentences by class.
        preset: name of the preset.
        weights: SHA-256 by weight file.
        parameters: every other setting.
        classes: for each class what ``class_sizes`` gives, with ``fraction`` (of the image), ``presence`` (in [0, 1],
            None if it was not asked), ``quality`` (SAM's estimate of its mask's IoU, None without a mask),
            ``object_score`` (SAM 2's logit that an object is there, None where the segmenter does not say),
            ``agreement`` (DSC of the masks before and after SAM, None where both are empty), ``boxes``
            ([x0, y0, x1, y1] in pixels) and ``nearest_known`` (of what the weights know, see `Nearest`, None where that
            is not listed).
        outputs: SHA-256 by file name of what is written beside the record, the mask first; see `hash_outputs`.
        seconds: time the image took.
        nearest_picture: of the kinds of pictures that the weights know, see `NearestPicture`; None where that is not
            measured.
        warnings: what a person should know about the texts and the picture, a line each.
    """
    return {
        "input": Path(input_name).name,
        "input_sha256": input_sha256,
        "request": request_key(texts, preset, weights, parameters, input_sha256),
        "version": __version__,
        "preset": preset,
        "weights": dict(weights),
        "texts": {name: list(sentences) for name, sentences in texts.items()},
        "parameters": dict(parameters),
        "classes": [dict(entry) for entry in classes],
        "nearest_picture": None if nearest_picture is None else dict(nearest_picture),
        "warnings": list(warnings),
        "outputs": dict(outputs),
        "seconds": round(float(seconds), 3),
    }


def hash_outputs(files: Iterable[str | Path]) -> dict[str, str]:
    """SHA-256 by base name of files that were written, in their order.

    Raises:
        OSError: a file cannot be read.
    """
    return {Path(file).name: file_sha256(file) for file in files}


def read_record(path: str | Path) -> dict[str, Any] | None:
    """A record as `build_record` makes it; None for a file that is not there, is damaged or is something else."""
    record = read_own_object(path)
    if record is None or not isinstance(record.get("outputs"), dict):
        return None
    texts = (record.get("request"), record.get("input_sha256"), *record["outputs"].values())
    plain = all(is_base_name(name) for name in record["outputs"])
    return record if plain and all(isinstance(text, str) for text in texts) else None


def is_whole(record: Mapping[str, Any]) -> bool:
    """Whether a record has all that `build_record` gives it and `read_record` does not ask for, of the right kinds."""
    texts, classes, warnings = (record.get(name) for name in ("texts", "classes", "warnings"))
    return (
        all(isinstance(record.get(name), str) for name in ("input", "version", "preset"))
        and isinstance(record.get("parameters"), dict)
        and _all(str, record.get("weights"))
        and isinstance(texts, dict)
        and all(isinstance(sentences, list) and _all(str, sentences) for sentences in texts.values())
        and isinstance(warnings, list)
        and _all(str, warnings)
        and isinstance(classes, list)
        and all(isinstance(one, dict) and _is_class(one) for one in classes)
        and _is_number(record.get("seconds"))
    )


def _all(kind: type, values: object) -> bool:
    """Whether all values of a list or a mapping are of a kind."""
    of_mapping = values.values() if isinstance(values, dict) else values
    return isinstance(values, dict | list) and all(isinstance(value, kind) for value in cast("Any", of_mapping))


def _is_class(one: Mapping[str, Any]) -> bool:
    numbers = ("presence", "size", "fraction", "quality", "agreement")  # None where there is none
    words = isinstance(one.get("name"), str) and isinstance(one.get("unit"), str | None)
    return words and all(one.get(name) is None or _is_number(one[name]) for name in numbers)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def is_base_name(name: str) -> bool:
    """Whether a name that a file holds stays in the folder of that file."""
    return name not in ("", ".", "..") and Path(name).name == name


def is_unchanged(path: Path, sha256: str) -> bool:
    """Whether a file is there with these bytes."""
    try:
        return file_sha256(path) == sha256
    except OSError:
        return False


def is_finished(record_path: str | Path, key: str) -> bool:
    """Whether a record of this very request is there and all its outputs are, unchanged; a damaged record is none.

    Args:
        record_path: the JSON record.
        key: ``request_key`` of what is asked now.
    """
    path = Path(record_path)
    record = read_record(path)
    if record is None or record["request"] != key or not is_whole(record):
        return False
    return all(is_unchanged(path.parent / name, sha256) for name, sha256 in record["outputs"].items())
