"""Each file is opened once to be read, hashed in that opening, and never held twice in memory."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from medclipsam_monai.io import FORMATS, find_inputs, hash_files, read_geometry, read_image

Make = Callable[..., Any]
VOLUME = np.random.default_rng(0).integers(-1000, 2000, (24, 64, 96)).astype(np.int16)  # slices, rows, columns
RESCALED = {"RescaleSlope": 1, "RescaleIntercept": -1024}

_counts: dict[str, int] | None = None


def _count(event: str, args: Any) -> None:
    if event == "open" and _counts is not None and isinstance(args[0], str):
        _counts[args[0]] = _counts.get(args[0], 0) + 1


sys.addaudithook(_count)  # hooks stay for good; this one does nothing but between the lines of `openings`


def openings(folder: Path, ask: Callable[[], Any]) -> tuple[Any, list[int]]:
    """What a function gives, and how often it opened each file of a folder."""
    global _counts
    _counts = {}
    try:
        result = ask()
        return result, [
            count for path, count in _counts.items() if Path(path).parent == folder and Path(path).is_file()
        ]
    finally:
        _counts = None


@pytest.mark.parametrize("name", ["{}.dcm", "1.2.{}"])
@pytest.mark.parametrize("ask", [read_image, read_geometry])
@pytest.mark.parametrize("given", ["folder", "files", "both"])
def test_a_series_is_opened_once_to_be_found_and_once_for_each_image_read(
    tmp_path: Path, make_series: Make, name: str, ask: Callable[[Any], Any], given: str
) -> None:
    paths = [
        path.rename(path.with_name(name.format(number)))
        for number, path in enumerate(make_series(tmp_path, VOLUME[:5, :16, :16], **RESCALED))
    ]
    inputs = {"folder": [tmp_path], "files": paths, "both": [tmp_path, *paths]}[given]
    (source, *_), found = openings(tmp_path, lambda: find_inputs(inputs))
    assert (len(source.paths), found) == (5, [1] * 5)
    _, read = openings(tmp_path, lambda: ask(source))
    assert read == [1] * 5


def test_a_multi_frame_file_without_suffix_is_opened_twice_in_all(tmp_path: Path, make_dicom: Make) -> None:
    make_dicom(tmp_path / "1.2.3", VOLUME[:4, :16, :16])
    ((source,), found) = openings(tmp_path, lambda: find_inputs([tmp_path]))
    with pytest.warns(match="state no positions"):
        _, read = openings(tmp_path, lambda: read_image(source))
    assert (found, read) == ([1], [1])


def picture(path: Path) -> Path:
    Image.fromarray(VOLUME[0].astype(np.uint8)).save(path)
    return path


def nifti(path: Path) -> Path:
    nib.save(nib.Nifti1Image(VOLUME, np.diag([2.0, 3, 4, 1])), path)
    return path


def nifti_2d(path: Path) -> Path:
    nib.save(nib.Nifti1Image(VOLUME[0], np.diag([2.0, 3, 4, 1])), path)
    return path


def itk_file(path: Path, packed: bool = True) -> Path:
    image = sitk.GetImageFromArray(VOLUME)
    image.SetSpacing((0.5, 0.7, 3))
    sitk.WriteImage(image, str(path), useCompression=packed)
    return path


WRITERS = {
    **{f"a.{suffix}": picture for suffix in ("png", "jpg", "tif", "bmp")},
    **dict.fromkeys(("a.nii", "a.nii.gz"), nifti),
    "flat.nii": nifti_2d,
    **dict.fromkeys(("a.nrrd", "a.nhdr", "a.mha", "a.mhd"), itk_file),
}


@pytest.mark.parametrize("name", sorted(WRITERS))
@pytest.mark.parametrize("slice_axis", ["acquired", "sagittal"])
def test_hash_and_geometry_of_a_file(tmp_path: Path, name: str, slice_axis: str) -> None:
    (source,) = find_inputs([WRITERS[name](tmp_path / name)])
    image = read_image(source, slice_axis)
    assert image.meta["sha256"] == hash_files(source.files)
    same_geometry(read_geometry(source, slice_axis), image.meta)


@pytest.mark.parametrize("frames", [1, 6])
@pytest.mark.parametrize("placed", [True, False])
def test_hash_and_geometry_of_dicom(
    tmp_path: Path, make_dicom: Make, make_series: Make, frames: int, placed: bool
) -> None:
    if placed:
        make_series(tmp_path, VOLUME[:frames], **RESCALED)
    else:
        make_dicom(tmp_path / "a.dcm", VOLUME[:frames] if frames > 1 else VOLUME[0], PixelSpacing=[0.5, 0.7])
    (source,) = find_inputs([tmp_path])
    image = read_image(source)
    assert image.meta["sha256"] == hash_files(source.files)
    same_geometry(read_geometry(source), image.meta)


def test_copies_of_a_slice_count_in_the_hash_and_not_in_the_geometry(tmp_path: Path, make_series: Make) -> None:
    paths = make_series(tmp_path, VOLUME[:4])
    (tmp_path / "copy.dcm").write_bytes(paths[1].read_bytes())
    (source,) = find_inputs([tmp_path])
    with pytest.warns(match="copies of another slice"):
        image = read_image(source)
    assert image.shape[-1] == 4 and len(source.files) == 5
    assert image.meta["sha256"] == hash_files(source.files)
    with pytest.warns(match="copies of another slice"):
        same_geometry(read_geometry(source), image.meta)


def same_geometry(found: Any, meta: Any) -> None:
    geometry, spacing = found
    assert geometry == meta["geometry"] and spacing == meta["spacing"]
    assert (geometry.affine is None) == (meta["geometry"].affine is None)
    if geometry.affine is not None:
        np.testing.assert_array_equal(geometry.affine, meta["geometry"].affine)
    assert geometry.slice_positions == meta["geometry"].slice_positions


def test_the_geometry_of_a_file_with_broken_pixels_is_read(tmp_path: Path) -> None:
    path = nifti(tmp_path / "a.nii.gz")
    expected = read_image(path).meta
    content = bytearray(path.read_bytes())
    content[2000:] = bytes(len(content) - 2000)
    path.write_bytes(content)
    same_geometry(read_geometry(path), expected)
    content = picture(tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content.replace(b"IDAT", b"IDAT\0\0\0", 1)[: len(content)])
    assert read_geometry(tmp_path / "a.png")[0].shape == (64, 96)


LARGE = np.random.default_rng(0).integers(0, 2000, (48, 192, 256)).astype(np.int16)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "raw.nrrd", "a.mha", "series", "mr_series", "frames"])
def test_reading_takes_at_most_nine_bytes_a_voxel(
    tmp_path: Path, make_series: Make, make_dicom: Make, name: str
) -> None:
    path = tmp_path / name
    if ".nii" in name:
        nib.save(nib.Nifti1Image(LARGE, np.diag([2.0, 3, 4, 1])), path)
    elif name == "frames":
        path = make_dicom(tmp_path / "frames.dcm", LARGE, **RESCALED)
    elif name.endswith("series"):
        make_series(path, LARGE, **(RESCALED if name == "series" else {}))
    else:
        sitk.WriteImage(sitk.GetImageFromArray(LARGE), str(path), useCompression="raw" not in name)
    (source,) = find_inputs([path])
    assert callable(FORMATS[source.kind].code.read)  # the reader's module is imported before memory is counted
    tracemalloc.start()
    try:
        image = read_image(source)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 4 <= peak / image.numel() <= 9
