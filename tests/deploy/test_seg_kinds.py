"""Every kind of image that is read has a SEG that highdicom and another reader open, and give back voxel for voxel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_checks import ALGORITHM, by_dcmqi, dciodvfy_errors, needs_dciodvfy
from highdicom.seg import Segmentation, segread
from pydicom.dataset import Dataset
from seg_kinds import KINDS, POSITION, REFERENCE, SPACING, THICKNESS, Kind, normal_of, write

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import find_inputs, read_image
from medclipsam_monai.io.dicom_seg.segmentation import write_segmentation
from medclipsam_monai.io.dicom_seg.source_places import Where

NAMES = ["lungs", "something described"]
WRITTEN = {name: kind for name, kind in KINDS.items() if kind.where != "cine"}
CINES = {name: kind for name, kind in KINDS.items() if kind.where == "cine"}


def write_seg(folder: Path) -> Path:
    """The SEG of what is in a folder, with the labels that its pixels are."""
    (source,) = find_inputs([folder])
    image = read_image(source)
    _, labels = np.unique(image.numpy()[0], return_inverse=True)
    assert labels.max() == 2
    path = folder / "seg.dcm"
    geometry = image.meta["geometry"]
    label_map = labels.reshape(geometry.display_shape).astype(np.uint8)
    return write_segmentation(label_map, NAMES, geometry, source.paths, path, ALGORITHM, image.meta["sha256"])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Each kind once: its headers, the label of every stored pixel, and the SEG."""
    made: dict[str, tuple[list[Dataset], np.ndarray, Path]] = {}

    def make(name: str) -> tuple[list[Dataset], np.ndarray, Path]:
        if name not in made:
            folder = tmp_path_factory.mktemp("kind")
            headers, labels = write(KINDS[name], folder)
            made[name] = headers, labels, write_seg(folder)
        return made[name]

    return make


def test_the_kinds_are_many():
    described = {
        (kind.storage, kind.modality, kind.form, *sorted(kind.tags), str(kind.frames), kind.slices, kind.size)
        for kind in WRITTEN.values()
    }
    assert len(described) == len(WRITTEN) >= 61
    assert {kind.where for kind in WRITTEN.values()} == {where.name for where in Where}


def pixels_by_source(seg: Segmentation, headers: list[Dataset], frames: int) -> np.ndarray:
    """(F, rows, columns, segments) by highdicom, in the order of the source's frames."""
    if len(headers) == 1 and frames > 1:
        return seg.get_pixels_by_source_frame(headers[0].SOPInstanceUID, list(range(1, frames + 1)))
    return seg.get_pixels_by_source_instance([header.SOPInstanceUID for header in headers])


@pytest.mark.parametrize("name", WRITTEN)
def test_highdicom_gives_back_every_voxel_segment_and_source(name, written):
    headers, labels, path = written(name)
    seg = segread(path)
    assert list(seg.segment_numbers) == [1, 2]
    assert [seg.get_segment_description(number).SegmentLabel for number in (1, 2)] == NAMES
    sources = {(header.StudyInstanceUID, header.SeriesInstanceUID, header.SOPInstanceUID) for header in headers}
    assert set(seg.get_source_image_uids()) == sources
    found = pixels_by_source(seg, headers, len(labels))
    np.testing.assert_array_equal(found, np.stack([labels == 1, labels == 2], axis=-1))


@pytest.mark.parametrize("name", [name for name, kind in WRITTEN.items() if kind.where == "PIXELS"])
def test_gdcm_gives_back_every_voxel_of_full_bytes(name, written):
    """The frames are those of the first segment, then of the second; in millimetres it takes both for one volume."""
    _, labels, path = written(name)
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    assert len(pydicom.dcmread(path).PixelData) == 2 * -(-found.size // 16)  # one bit a voxel, padded to even length
    expected = np.concatenate([labels == 1, labels == 2])
    assert found.shape == expected.shape
    # frames follow each other without gaps; where all their bits end within a byte, GDCM leaves that byte's voxels as
    # they were in memory, whatever follows them in the file, so they differ from run to run
    full = found.size - found.size % 8
    np.testing.assert_array_equal(found.ravel()[:full] > 0, expected.ravel()[:full])


def test_some_seg_without_a_pixel_size_ends_within_a_byte():
    sizes = {np.prod(kind.size) * len(NAMES) % 8 for kind in WRITTEN.values() if kind.where == "PIXELS"}
    assert sizes == {0, 2}


@pytest.mark.parametrize("name", [name for name, kind in WRITTEN.items() if kind.where != "PIXELS"])
def test_dcmqi_gives_back_every_voxel_in_its_place(name, written):
    headers, labels, path = written(name)
    kind = KINDS[name]
    places = _places(kind, len(labels))
    order = np.argsort(places)
    directions = _directions(kind, headers[0])
    origin = np.zeros(3)
    if kind.where != "PIXEL_GRID":
        origin = np.array(POSITION) + places[order[0]] * normal_of(directions)
    for segment in (1, 2):
        image = by_dcmqi(path, segment)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image) > 0, labels[order] == segment)
        np.testing.assert_allclose(image.GetOrigin(), origin, atol=1e-4)
        np.testing.assert_allclose(image.GetSpacing()[:2], SPACING[::-1])
        columns = [directions[:3], directions[3:], normal_of(directions)]
        np.testing.assert_allclose(np.array(image.GetDirection()).reshape(3, 3).T, columns, atol=1e-6)
        if len(labels) > 1:
            assert image.GetSpacing()[2] == pytest.approx(THICKNESS)


@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_stated_of_the_place_is_no_more_than_the_source_states(name, written):
    headers, _, path = written(name)
    where, seg = Where[KINDS[name].where], pydicom.dcmread(path)
    assert seg.get("ImageComments", "") == where.value
    stated = headers[0].get("FrameOfReferenceUID")
    shared = seg.SharedFunctionalGroupsSequence[0]
    if where is Where.PATIENT:
        assert seg.FrameOfReferenceUID == stated == REFERENCE
    elif where is Where.PIXELS:
        assert seg.get("FrameOfReferenceUID") == stated
        assert not {"PixelMeasuresSequence", "PlaneOrientationSequence", "PlanePositionSequence"} & set(shared.dir())
        assert "PlanePositionSequence" not in seg.PerFrameFunctionalGroupsSequence[0]
    else:
        assert seg.FrameOfReferenceUID not in (stated, REFERENCE)
        assert shared.PixelMeasuresSequence[0].PixelSpacing == SPACING


@needs_dciodvfy
@pytest.mark.parametrize("name", WRITTEN)
def test_dciodvfy_finds_no_error(name, written):
    assert dciodvfy_errors(written(name)[2]) == []


@pytest.mark.parametrize("name", CINES)
def test_a_cine_is_one_line_and_no_file(name, tmp_path):
    write(CINES[name], tmp_path)
    with (
        pytest.raises(InputError, match=r"^\d frames without positions \(a cine\)"),
        pytest.warns(match="no positions"),
    ):
        write_seg(tmp_path)
    assert not (tmp_path / "seg.dcm").exists()


def _places(kind: Kind, count: int) -> np.ndarray:
    """Of each frame its millimetres along the normal."""
    if isinstance(kind.frames, tuple):
        return np.array(kind.frames)
    return THICKNESS * np.arange(count)


def _directions(kind: Kind, header: Dataset) -> list[float]:
    """What the source states, or what readers assume where it states none."""
    if isinstance(kind.frames, tuple):
        return list(header.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient)
    if "DetectorInformationSequence" in header:
        return list(header.DetectorInformationSequence[0].ImageOrientationPatient)
    return list(header.get("ImageOrientationPatient") or [1, 0, 0, 0, 1, 0])
