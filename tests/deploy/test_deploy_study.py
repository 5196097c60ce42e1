"""Which series a folder holds, whatever its folders and files are called."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pydicom import dcmread

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.deploy.study import Study, search_study, without_paths
from medclipsam_monai.phantoms.dicom import (
    write_phantom_ultrasound,
    write_phantom_volume,
    write_phantom_xray,
)


def test_each_series_is_one_and_pictures_stand_alone(tmp_path):
    write_phantom_volume(tmp_path, "CT", slices=3)
    write_phantom_volume(tmp_path, "MR", slices=4, order="shuffled")
    write_phantom_xray(tmp_path)
    write_phantom_ultrasound(tmp_path, frames=3)
    found = {series.header.Modality: len(series.source.paths) for series in search_study(tmp_path).series}
    assert found == {"CT": 3, "MR": 4, "CR": 1, "US": 1}


def test_two_radiographs_of_one_series_are_two_images(tmp_path, change):
    first = write_phantom_xray(tmp_path / "a").files[0]
    second = shutil.copy(first, tmp_path / "a" / "lateral.dcm")
    change(Path(second), SOPInstanceUID="1.2.3.4")
    assert len({series.name for series in search_study(tmp_path).series}) == 2


def test_a_series_spread_over_folders_is_one_volume(tmp_path):
    files = write_phantom_volume(tmp_path / "all", slices=6).files
    for number, file in enumerate(files):
        (tmp_path / f"part{number // 2}").mkdir(exist_ok=True)
        file.rename(tmp_path / f"part{number // 2}" / file.name)
    (series,) = search_study(tmp_path).series
    assert sorted(path.name for path in series.source.paths) == sorted(path.name for path in files)


def test_names_say_modality_and_number_and_nothing_of_folders(tmp_path):
    write_phantom_volume(tmp_path / "DOE_JOHN" / "DOE^JOHN", slices=3)
    (series,) = search_study(tmp_path).series
    assert series.name.startswith("ct_1_") and len(series.name) == len("ct_1_") + 8
    (tmp_path / "DOE_JOHN").rename(tmp_path / "other")
    assert search_study(tmp_path).series[0].name == series.name


@pytest.mark.parametrize("number", ["", None, "12345678901234567890", "DOE"])
def test_a_series_number_that_is_none_leaves_the_name_whole(tmp_path, change, number):
    change(write_phantom_xray(tmp_path).files[0], Modality="CR", SeriesNumber=None)
    if number:
        header = dcmread(next(tmp_path.glob("*.dcm")))
        header.add_new("SeriesNumber", "LO", number)
        header.save_as(next(tmp_path.glob("*.dcm")), implicit_vr=False, little_endian=True)
    name = search_study(tmp_path).series[0].name
    assert name.startswith("cr") and "^" not in name and len(name) < 40


def test_damaged_files_are_series_by_themselves_with_a_reason_that_names_no_path(tmp_path):
    write_phantom_volume(tmp_path / "DOE", slices=3)
    (tmp_path / "DOE" / "broken.dcm").write_bytes(b"nothing of the kind")
    (tmp_path / "DOE" / "empty.dcm").write_bytes(b"")
    found = search_study(tmp_path).series
    problems = [series.problem for series in found if series.problem]
    assert len(found) == 3 and len(problems) == 2 and len({series.name for series in found}) == 3
    assert all("DICOM" in problem and "DOE" not in problem for problem in problems)


def test_a_file_cut_within_its_header_is_no_silence(tmp_path):
    files = write_phantom_volume(tmp_path, slices=3).files
    cut = tmp_path / "cut.dcm"
    cut.write_bytes(files[0].read_bytes()[:600])
    found = search_study(tmp_path).series
    assert [series.problem for series in found if series.problem] == ["is cut short: it ends within its header"]
    for file in files:
        file.unlink()
    assert len(search_study(tmp_path).series) == 1


def test_a_message_about_files_tells_which_by_number(tmp_path):
    write_phantom_volume(tmp_path / "DOE", slices=3)
    (series,) = search_study(tmp_path).series
    second = series.source.paths[1]
    assert without_paths(f"{second}: is empty\n(0 bytes)", series) == "file 2 of 3: is empty (0 bytes)"
    assert without_paths(f"{series.source.label}: holds nothing", series) == "holds nothing"
    assert without_paths("1 of 3 files are copies and left out: DOE.dcm", series).endswith("copies and left out")


def test_a_folder_without_dicom_holds_nothing_and_a_file_is_refused(tmp_path):
    assert search_study(tmp_path) == Study((), ())
    shutil.copy(Path(__file__).parents[2] / "docs" / "pictures" / "demo.png", tmp_path)
    assert search_study(tmp_path) == Study((), ())
    with pytest.raises(InputError, match="not a folder"):
        search_study(tmp_path / "demo.png")
