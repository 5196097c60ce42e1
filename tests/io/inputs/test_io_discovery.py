"""Which images a path, a folder or a glob means, and what their outputs are called."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import ImageSource, InputWarning, find_inputs, read_image, supported_suffixes
from medclipsam_monai.io.inputs.discovery import with_unique_stems

Make = Callable[..., Any]
PLANES = np.arange(3 * 8 * 9, dtype=np.uint16).reshape(3, 8, 9)


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PLANES[0].astype(np.uint8)).save(path) if path.suffix == ".png" else path.write_bytes(b"x")


def found(*patterns: str | Path) -> list[tuple[str, str]]:
    return [(source.stem, source.name) for source in find_inputs(patterns)]


def test_a_folder_gives_every_supported_image_below_it_sorted(tmp_path: Path) -> None:
    touch(
        tmp_path, *(f"f{index}{suffix}" for index, suffix in enumerate(supported_suffixes())), "z/UP.PNG", "notes.txt"
    )
    touch(tmp_path, "list.csv", "noext")
    expected = sorted(f"f{index}{suffix}" for index, suffix in enumerate(supported_suffixes()))
    assert [name for _, name in found(tmp_path)] == [*expected, "UP.PNG"]


def test_hidden_files_and_our_own_outputs_are_left_out_of_folders_and_globs(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", ".b.png", ".cache/c.png", "._a.png")
    touch(
        tmp_path, "a_mask.png", "a_overlay.png", "a_saliency.png", "a_probability_lung.png", "a.json", "v_mask.nii.gz"
    )
    assert found(tmp_path) == [("a", "a.png")]
    assert found(tmp_path / "*.png") == found(tmp_path / "**") == [("a", "a.png")]
    assert found(tmp_path / "a_mask.png") == [("a_mask", "a_mask.png")]  # named by the user: meant


def test_a_file_with_the_name_of_an_output_that_no_record_names_is_left_out_with_a_note(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "a_mask.png", "a_saliency_1_overlay.png", "b_mask.png", "c_overlay.png")
    outputs = {"a_mask.png": "0", "a_saliency_1_overlay.png": "0"}
    (tmp_path / "a.json").write_text(json.dumps({"request": "0", "input_sha256": "0", "outputs": outputs}))
    for pattern in (tmp_path, tmp_path / "*.png"):
        with pytest.warns(InputWarning, match="left out for names that outputs have: b_mask.png and 1 more") as notes:
            assert found(pattern) == [("a", "a.png")]
        assert len(notes) == 1
    (tmp_path / "b_mask.png").unlink()
    (tmp_path / "c_overlay.png").unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert found(tmp_path) == [("a", "a.png")]


def test_stems_below_a_folder_tell_the_way_whatever_else_is_there(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.png")
    assert found(tmp_path) == [("a_x", "x.png")]
    touch(tmp_path, "b/x.png", "x.png", "b/c/v.nii.gz")
    assert found(tmp_path) == [("a_x", "x.png"), ("b_c_v", "v.nii.gz"), ("b_x", "x.png"), ("x", "x.png")]


def test_files_of_one_stem_get_different_stems_in_any_order(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.png", "b/x.jpg", "b/y.png")
    paths = [tmp_path / "a/x.png", tmp_path / "b/x.jpg", tmp_path / "b/y.png"]
    assert [stem for stem, _ in found(*paths)] == ["a_x", "b_x", "y"]
    assert [stem for stem, _ in found(*reversed(paths))] == ["y", "b_x", "a_x"]
    assert [stem for stem, _ in found(tmp_path / "*" / "x.*")] == ["a_x", "b_x"]


@pytest.mark.parametrize(
    "names",
    [
        ["x.png", "x.jpg"],
        ["x.png", "X.jpg"],  # one name on file systems that ignore case
        ["p/a/x.png", "q/a/x.png"],
        ["a/b/x.png", "a_b/x.png", "a_b_x.png"],
        ["a/x.nii", "a/x.nii.gz", "b/x.nii"],
    ],
)
def test_no_two_sources_share_a_stem(tmp_path: Path, names: list[str]) -> None:
    touch(tmp_path, *names)
    for patterns in ([tmp_path], [tmp_path / name for name in names]):
        stems = [source.stem.casefold() for source in find_inputs(patterns)]
        assert len(stems) == len(set(stems)) == len(names)
        assert stems == [source.stem.casefold() for source in find_inputs(patterns)]


def test_an_image_meant_twice_is_found_once(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "b.png")
    assert found(tmp_path / "b.png", tmp_path, tmp_path / "*.png") == [("b", "b.png"), ("a", "a.png")]


def test_double_star_crosses_folders_and_a_name_with_brackets_is_taken_as_it_is(tmp_path: Path) -> None:
    touch(tmp_path, "a/b/x.png", "y.png", "scan[1].png")
    assert {name for _, name in found(tmp_path / "**" / "*.png")} == {"x.png", "y.png", "scan[1].png"}
    assert found(tmp_path / "scan[1].png") == [("scan[1]", "scan[1].png")]


def test_a_series_is_one_image_named_by_its_folder(tmp_path: Path, make_series: Make) -> None:
    make_series(tmp_path / "ct", PLANES)
    (source,) = find_inputs([tmp_path / "ct"])
    assert (source.stem, source.kind, len(source.paths), source.name) == ("ct", "dicom", 3, "ct")
    assert read_image(tmp_path / "ct").meta["source"] == source
    assert found(tmp_path) == [("ct", "ct")]
    make_series(tmp_path / "deep" / "mr", PLANES)
    touch(tmp_path, "deep/x.png")
    assert found(tmp_path) == [("ct", "ct"), ("deep_mr", "mr"), ("deep_x", "x.png")]
    assert found(tmp_path / "*") == [("ct", "ct"), ("mr", "mr"), ("x", "x.png")]


def test_two_series_in_one_folder_are_two_images(tmp_path: Path, make_series: Make) -> None:
    make_series(tmp_path / "study", PLANES)
    for path in (tmp_path / "study").iterdir():
        path.rename(path.with_name(f"first-{path.name}"))
    make_series(tmp_path / "study", PLANES[:2] + 1000, SeriesInstanceUID="1.9", SeriesNumber=7)
    sources = find_inputs([tmp_path / "study"])
    assert [(source.stem, len(source.paths)) for source in sources] == [("study_series7", 2), ("study_series1", 3)]
    assert read_image(sources[0]).shape == (1, 8, 9, 2) and read_image(sources[1]).shape == (1, 8, 9, 3)
    with pytest.raises(InputError, match="holds 2 images; give one of them"):
        read_image(tmp_path / "study")


def test_two_series_of_one_number_are_told_apart(tmp_path: Path, make_series: Make) -> None:
    make_series(tmp_path / "study", PLANES, SeriesInstanceUID="1.1")
    for path in (tmp_path / "study").iterdir():
        path.rename(path.with_name(f"first-{path.name}"))
    make_series(tmp_path / "study", PLANES, SeriesInstanceUID="1.2")
    assert sorted(stem for stem, _ in found(tmp_path / "study")) == ["study_series1_1", "study_series1_2"]


def test_dicom_without_positions_and_frames_are_images_by_themselves(
    tmp_path: Path, make_dicom: Make, make_series: Make
) -> None:
    make_dicom(tmp_path / "xr" / "lateral.dcm", PLANES[0])
    make_dicom(tmp_path / "xr" / "pa", PLANES[1])  # by its mark, without a suffix
    make_dicom(tmp_path / "xr" / "frames.dcm", PLANES)
    make_dicom(tmp_path / "xr" / "1.2.840.5", PLANES[2])
    make_dicom(tmp_path / "xr" / "seg.dcm", PLANES[0], Modality="SEG")
    make_series(tmp_path / "xr", PLANES[:1], SeriesInstanceUID="5.5")
    stems = [stem for stem, _ in found(tmp_path / "xr")]
    assert stems == ["00", "1.2.840.5", "frames", "lateral", "pa"]


def test_a_slice_that_is_named_is_a_picture(tmp_path: Path, make_series: Make) -> None:
    paths = make_series(tmp_path / "ct", PLANES)
    assert found(paths[1]) == [("01", "01.dcm")]
    assert read_image(paths[1]).shape == (1, 8, 9)


@pytest.mark.parametrize(
    "patterns",
    [["cd/A", "cd/B"], ["cd/*"], ["cd/**/*.dcm"], ["cd/A", "cd/B/03.dcm", "cd/B/04.dcm"], ["cd"], ["cd/B", "cd"]],
)
def test_a_series_whose_files_lie_in_two_folders_is_one_image_however_they_are_named(
    tmp_path: Path, make_series: Make, patterns: list[str]
) -> None:
    paths = make_series(tmp_path / "cd" / "A", np.repeat(PLANES, 2, axis=0)[:5])
    (tmp_path / "cd" / "B").mkdir()
    for path in paths[3:]:
        path.rename(tmp_path / "cd" / "B" / path.name)
    make_series(tmp_path / "other", PLANES, SeriesInstanceUID="1.9")
    whole, other = find_inputs([*(tmp_path / pattern for pattern in patterns), tmp_path / "other"])
    assert (whole.stem, len(whole.paths), other.stem, len(other.paths)) == ("cd", 5, "other", 3)
    assert read_image(whole).shape == (1, 8, 9, 5)


def test_a_broken_slice_does_not_hide_the_others(tmp_path: Path, make_series: Make) -> None:
    make_series(tmp_path / "ct", PLANES)
    (tmp_path / "ct" / "broken.dcm").write_bytes(b"")
    sources = find_inputs([tmp_path / "ct"])
    assert [(source.stem, len(source.paths)) for source in sources] == [("ct", 3), ("broken", 1)]
    with pytest.raises(InputError, match=r"broken.dcm: is empty"):
        read_image(sources[1])


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("none.png", r"none.png: no such file or folder$"),
        ("*.bmp", r"matches no image; looked for .png"),
        ("empty", r"empty: no image in this folder; looked for .png .* DICOM files without a suffix$"),
        ("notes.txt", r"notes.txt: is not a supported image"),
    ],
)
def test_what_finds_nothing_says_what_was_sought(tmp_path: Path, pattern: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    touch(tmp_path, "notes.txt", "empty/readme.md")
    with pytest.raises(InputError, match=message):
        find_inputs([tmp_path / pattern])


def test_a_series_and_its_first_slice_have_names_of_their_own(tmp_path: Path) -> None:
    files = tuple(tmp_path / name for name in ("1.dcm", "2.dcm"))
    sources = with_unique_stems([ImageSource(files, "dicom", "x"), ImageSource(files[:1], "dicom", "x")])
    assert len({source.stem for source in sources}) == 2


def test_the_home_of_nobody_is_refused() -> None:
    with pytest.raises(InputError, match=r"^~nosuchuser/x.png: ~nosuchuser has no home folder here; give the path"):
        find_inputs(["~nosuchuser/x.png"])


def test_no_pattern_at_all_is_refused() -> None:
    with pytest.raises(InputError, match="no input given"):
        find_inputs([])


def test_a_file_goes_before_the_links_to_it(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for folder, name in ((tmp_path, "m.png"), (tmp_path / "sub", "n.png")):
        Image.fromarray(np.zeros((9, 9), np.uint8)).save(folder / name)
        for link in ("a.png", "z.png"):
            (tmp_path / f"{name[0]}{link}").symlink_to(folder / name)
    assert [source.paths[0].name for source in find_inputs([tmp_path])] == ["m.png", "n.png"]
