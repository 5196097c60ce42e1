"""Which DICOM files make one image, over folders and command lines, and what of a study is left out and listed."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.uid
import pytest

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import find_inputs, read_image, search_inputs

Make = Callable[..., Any]
PLANES = np.random.default_rng(0).integers(0, 999, (6, 8, 9)).astype(np.uint16)
SCREEN = np.full((20, 30), 9, np.uint8)


def stems(*patterns: str | Path) -> dict[str, int]:
    return {source.stem: len(source.paths) for source in find_inputs(patterns)}


def left_out(*patterns: str | Path) -> dict[str, str]:
    return {one.path.name: one.reason for one in search_inputs(patterns).left_out}


def move(paths: list[Path], folder: Path) -> None:
    folder.mkdir(parents=True)
    for path in paths:
        shutil.move(path, folder)


def test_a_series_in_two_folders_is_one_volume(tmp_path: Path, make_series: Make) -> None:
    paths = make_series(tmp_path / "cd" / "a", PLANES)
    move(paths[3:], tmp_path / "cd" / "b")
    (source,) = find_inputs([tmp_path / "cd"])
    assert (source.stem, source.name, len(source.paths)) == ("cd", "cd", 6)
    assert source.label == f"{tmp_path / 'cd'} (series of 6 files, cd)"
    np.testing.assert_array_equal(read_image(tmp_path / "cd").numpy()[0], PLANES.transpose(1, 2, 0))
    assert stems(tmp_path) == stems(tmp_path / "cd" / "*") == stems(tmp_path / "cd" / "a", tmp_path / "cd" / "b")
    assert stems(tmp_path) == {"cd": 6}
    assert stems(tmp_path / "*" / "*" / "*.dcm") == {"cd": 6}


def test_two_series_over_the_same_folders_are_told_apart(tmp_path: Path, make_series: Make) -> None:
    for number in (1, 2):
        paths = make_series(tmp_path / f"s{number}", PLANES, SeriesInstanceUID=f"1.{number}", SeriesNumber=number)
        for index, path in enumerate(paths):
            folder = tmp_path / "cd" / f"DIR{index % 2}"
            folder.mkdir(parents=True, exist_ok=True)
            path.rename(folder / f"{number}{index}")
    assert stems(tmp_path) == {"cd_series1": 6, "cd_series2": 6}


def test_folders_that_keep_phases_apart_stay_apart(tmp_path: Path, make_series: Make) -> None:
    make_series(tmp_path / "early", PLANES)
    make_series(tmp_path / "late", PLANES[::-1])
    assert stems(tmp_path) == {"early": 6, "late": 6}


def test_a_series_that_is_there_twice_is_used_once(tmp_path: Path, make_series: Make) -> None:
    make_series(tmp_path / "ct", PLANES)
    shutil.copytree(tmp_path / "ct", tmp_path / "backup")
    (source,) = find_inputs([tmp_path])
    with pytest.warns(match="6 of 12 files are copies of another slice"):
        np.testing.assert_array_equal(read_image(source).numpy()[0], PLANES.transpose(1, 2, 0))


def test_the_files_of_a_series_named_one_by_one_are_one_volume(tmp_path: Path, make_series: Make) -> None:
    paths = make_series(tmp_path / "ct", PLANES)
    assert stems(*paths) == stems(*reversed(paths)) == stems(tmp_path / "ct" / "*.dcm") == {"ct": 6}
    np.testing.assert_array_equal(read_image(find_inputs(paths)[0]).numpy()[0], PLANES.transpose(1, 2, 0))
    assert stems(paths[2]) == {"02": 1}
    other = make_series(tmp_path / "mr", PLANES[:2], SeriesInstanceUID="1.9")
    assert stems(*paths, *other) == {"ct": 6, "mr": 2}
    assert stems(paths[0], other[0]) == {"ct_00": 1, "mr_00": 1}
    assert stems(paths[2], tmp_path / "ct") == {"02": 1, "ct": 6}


def test_x_rays_named_one_by_one_stay_pictures(tmp_path: Path, make_dicom: Make) -> None:
    paths = [make_dicom(tmp_path / f"{name}.dcm", PLANES[0]) for name in "ab"]
    assert stems(*paths) == {"a": 1, "b": 1}


CAPTURE = {"SOPClassUID": pydicom.uid.SecondaryCaptureImageStorage, "Modality": "OT"}
SUMMARY = {"ImageType": ["DERIVED", "SECONDARY", "OTHER"], "SeriesInstanceUID": "1.9"}
SCREEN_REASON = "a secondary capture or report screen of a study that has images"
LOCALIZER_REASON = "a localizer of a study that has other images"


@pytest.mark.parametrize(
    ("pixels", "tags", "reason"),
    [
        (SCREEN, CAPTURE, SCREEN_REASON),
        (SCREEN, {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, SCREEN_REASON),
        (SCREEN, {"ImageType": ["DERIVED", "SECONDARY", "OTHER", "CSA REPORT"]}, SCREEN_REASON),
        (SCREEN, SUMMARY, SCREEN_REASON),
        (np.zeros((9, 10, 3), np.uint8), SUMMARY, SCREEN_REASON),
        (PLANES[0], {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, LOCALIZER_REASON),
        (PLANES[0], {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER", "CT_SOM5 TOP"]}, LOCALIZER_REASON),
        (
            PLANES[0],
            {"Modality": "SEG", "SOPClassUID": pydicom.uid.SegmentationStorage},
            "a DICOM Segmentation Storage",
        ),
    ],
)
@pytest.mark.parametrize("place", ["study", "study/ct"])
def test_what_is_no_image_of_a_study_is_left_out_and_listed(
    tmp_path: Path,
    make_series: Make,
    make_dicom: Make,
    place: str,
    pixels: np.ndarray,
    tags: dict[str, Any],
    reason: str,
) -> None:
    make_series(tmp_path / "study" / "ct", PLANES)
    named = make_dicom(tmp_path / place / "other.dcm", pixels, colour=pixels.ndim == 3, **tags)
    assert stems(tmp_path) == {"study_ct": 6}
    assert list(left_out(tmp_path)) == ["other.dcm"] and left_out(tmp_path)["other.dcm"].startswith(reason)
    assert left_out(tmp_path / "**" / "*.dcm").keys() == {"other.dcm"}
    found = search_inputs([named])  # the user asked for it
    assert [source.stem for source in found.sources] == ["other"] and not found.left_out


def test_pages_of_several_sizes_are_left_out_whatever_their_pixels(
    tmp_path: Path, make_series: Make, make_dicom: Make
) -> None:
    make_series(tmp_path / "ct", PLANES)
    for number, side in enumerate((16, 20, 24)):
        position = {"ImagePositionPatient": [0, 0, number], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
        make_dicom(tmp_path / "summary" / f"{number}.dcm", np.zeros((side, 9), np.int16), **SUMMARY, **position)
    assert stems(tmp_path) == {"ct": 6}
    assert left_out(tmp_path) == {f"{number}.dcm": SCREEN_REASON for number in range(3)}


def test_reformatted_volumes_are_images(tmp_path: Path, make_series: Make) -> None:
    make_series(tmp_path / "ct", PLANES)
    tags = {"ImageType": ["DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE"], "SeriesInstanceUID": "1.9"}
    make_series(tmp_path / "coronal", PLANES, directions=(1, 0, 0, 0, 0, -1), **tags)
    assert stems(tmp_path) == {"coronal": 6, "ct": 6} and not left_out(tmp_path)


def test_a_localizer_in_the_series_itself_is_left_out(tmp_path: Path, make_series: Make) -> None:
    make_series(tmp_path / "ct", PLANES, ImageType=["ORIGINAL", "PRIMARY", "AXIAL"])
    (path,) = make_series(tmp_path / "scout", PLANES[:1], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    path.rename(tmp_path / "ct" / "scout.dcm")
    assert stems(tmp_path / "ct") == {"ct": 6} and left_out(tmp_path) == {"scout.dcm": LOCALIZER_REASON}


def test_a_localizer_in_three_planes_is_told_by_its_angles(tmp_path: Path, make_series: Make) -> None:
    planes = {"axial": (1, 0, 0, 0, 1, 0), "coronal": (1, 0, 0, 0, 0, -1), "sagittal": (0, 1, 0, 0, 0, -1)}
    for name, directions in planes.items():
        make_series(tmp_path / "three" / name, PLANES[:2], directions=directions, SeriesInstanceUID="1.9")
    assert stems(tmp_path) == {"three_axial": 2, "three_coronal": 2, "three_sagittal": 2}  # nothing else is there
    for name in planes:
        for path in (tmp_path / "three" / name).iterdir():
            path.rename(tmp_path / "three" / f"{name}{path.name}")
    make_series(tmp_path / "ct", PLANES)
    assert stems(tmp_path) == {"ct": 6}
    assert list(left_out(tmp_path).values()) == [LOCALIZER_REASON] * 6


def test_one_slice_at_another_angle_is_not_left_out(tmp_path: Path, make_series: Make) -> None:
    """It may be a slice whose header is damaged, and a volume without it would look whole."""
    make_series(tmp_path / "ct", PLANES)
    (path,) = make_series(tmp_path / "odd", PLANES[:1], directions=(1, 0, 0, 0, 0, -1))
    path.rename(tmp_path / "ct" / "odd.dcm")
    with pytest.raises(InputError, match="its slices lie at different angles"):
        read_image(tmp_path / "ct")


def test_a_study_of_secondary_captures_alone_is_used_beside_others(
    tmp_path: Path, make_series: Make, make_dicom: Make
) -> None:
    for name in ("a", "b"):
        make_dicom(tmp_path / "pictures" / f"{name}.dcm", SCREEN, **CAPTURE, StudyInstanceUID="7.7")
    assert stems(tmp_path / "pictures") == {"a": 1, "b": 1}
    make_series(tmp_path / "ct", PLANES)
    assert stems(tmp_path) == {"ct": 6, "pictures_a": 1, "pictures_b": 1} and not left_out(tmp_path)


def test_objects_without_pixels_are_listed_and_a_disc_index_is_not(
    tmp_path: Path, make_series: Make, make_dicom: Make
) -> None:
    make_series(tmp_path / "ct", PLANES)
    classes = {
        "pr": pydicom.uid.GrayscaleSoftcopyPresentationStateStorage,
        "sr": pydicom.uid.XRayRadiationDoseSRStorage,
        "pdf": pydicom.uid.EncapsulatedPDFStorage,
        "DICOMDIR": pydicom.uid.MediaStorageDirectoryStorage,
    }
    for name, kind in classes.items():
        path = make_dicom(tmp_path / name, PLANES[0], SOPClassUID=kind)
        header = pydicom.dcmread(path)
        for keyword in ("Rows", "Columns", "PixelData"):
            del header[keyword]
        header.save_as(path)
    assert stems(tmp_path) == {"ct": 6}
    assert left_out(tmp_path) == {
        "pdf": "a DICOM Encapsulated PDF Storage, not an image",
        "pr": "a DICOM Grayscale Softcopy Presentation State Storage, not an image",
        "sr": "a DICOM X-Ray Radiation Dose SR Storage, not an image",
    }


def test_a_file_cut_within_its_header_is_no_silence(tmp_path: Path, make_series: Make) -> None:
    paths = make_series(tmp_path / "ct", PLANES)
    paths[0].write_bytes(paths[0].read_bytes()[:420])
    sources = find_inputs([tmp_path])
    assert [len(source.paths) for source in sources] == [1, 5]
    with pytest.raises(ValueError, match=r"00\.dcm: is cut short: it ends within its header"):
        read_image(sources[0])


def test_parts_of_a_series_in_folders_and_globs_that_are_named_are_one_volume(
    tmp_path: Path, make_series: Make
) -> None:
    for index, path in enumerate(make_series(tmp_path / "cd", PLANES)):
        folder = tmp_path / "cd" / f"DIR{index % 2}"
        folder.mkdir(exist_ok=True)
        path.rename(folder / path.name)
    first, second = tmp_path / "cd" / "DIR0", tmp_path / "cd" / "DIR1"
    wanted = PLANES.transpose(1, 2, 0)
    for named in ([second, first], [first, second / "*.dcm"], [f"{tmp_path}/*/*/0[01]*", f"{tmp_path}/*/*/0[2-9]*"]):
        (source,) = find_inputs(named)
        assert source.stem == "cd" and len(source.paths) == 6
        np.testing.assert_array_equal(read_image(source).numpy()[0], wanted)
    make_series(tmp_path / "late", PLANES[::-1])  # other pixels in the same places
    assert stems(first, tmp_path / "late") == {"DIR0": 3, "late": 6}


def test_finding_a_series_reads_no_pixels_and_each_header_once(tmp_path, make_series, monkeypatch) -> None:
    """Neither of files with a suffix nor of those without one: an archive has terabytes of them."""
    paths = make_series(tmp_path / "ct", np.zeros((4, 512, 512), np.uint16))
    paths[0].rename(paths[0].with_suffix(""))
    read: dict[str, list[int]] = {}

    class Watched(io.FileIO):
        def readinto(self, buffer: Any) -> int:
            count = super().readinto(buffer)
            read[Path(str(self.name)).stem][-1] = max(read[Path(str(self.name)).stem][-1], self.tell())
            return count

    def watched(path: Path, mode: str = "r", **_: Any) -> io.BufferedReader:
        read.setdefault(path.stem, []).append(0)
        return io.BufferedReader(Watched(str(path), mode))

    monkeypatch.setattr(Path, "open", watched)
    assert stems(tmp_path) == {"ct": 4}
    size = paths[1].stat().st_size
    assert {name: len(ends) for name, ends in read.items()} == {"00": 1, "01": 1, "02": 1, "03": 1}
    assert size > 500_000 and all(0 < end < 20_000 for (end,) in read.values())


def test_many_series_are_named_by_their_own_folders_and_numbers(tmp_path, make_series) -> None:
    for number in range(3):
        for folder in ("a", "b"):
            make_series(
                tmp_path / folder, PLANES[:2], SeriesInstanceUID=f"1.{number}.{ord(folder)}", SeriesNumber=number
            )
            for path in (tmp_path / folder).glob("0?.dcm"):
                path.rename(path.with_name(f"s{number}_{path.name}"))
    named = {f"{folder}_series{number}": 2 for folder in ("a", "b") for number in range(3)}
    assert stems(tmp_path) == named
