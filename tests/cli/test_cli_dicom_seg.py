"""``medclipsam segment --dicom-seg``: a DICOM SEG beside the mask, on the very frames of the files."""

from __future__ import annotations

import hashlib
import json
import sys

import nibabel as nib
import numpy as np
import pytest
from command_line import make_picture, outputs
from PIL import Image
from pydicom import dcmread

from medclipsam_monai import TextSegmenter
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.dicom import reader
from medclipsam_monai.phantoms.dicom import OBLIQUE, write_phantom_ultrasound, write_phantom_volume, write_phantom_xray

TEXTS = ("--text", "lungs", "--text", "heart", "--dicom-seg")
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
NOTHING = ("--text", "lungs", "--opposite", "no lungs", "--set", "presence_threshold=1", "--dicom-seg")

pytestmark = pytest.mark.seg


def segread(path):
    from highdicom.seg import segread as read  # not there where these tests are left out

    return read(path)


@pytest.fixture
def ct(tmp_path):
    return write_phantom_volume(tmp_path / "ct", slices=8, order="shuffled", directions=OBLIQUE)


def test_the_segments_of_a_series_lie_where_its_mask_lies(run, tmp_path, ct):
    code, _, err = run(tmp_path / "ct", *TEXTS)
    assert (code, err) == (0, "")
    assert outputs(tmp_path / "out") == {
        f"ct{end}" for end in ("_mask.nii.gz", "_labels.txt", "_overlay.png", "_seg.dcm", ".json")
    }
    mask = nib.load(tmp_path / "out" / "ct_mask.nii.gz")
    labels = np.asarray(mask.dataobj)
    present = [number for number in (1, 2) if (labels == number).any()]
    assert present
    seg = segread(tmp_path / "out" / "ct_seg.dcm")
    assert [segment.SegmentLabel for segment in seg.SegmentSequence] == [("lungs", "heart")[k - 1] for k in present]
    for segment, number in enumerate(present, start=1):
        volume = seg.get_volume(segment_numbers=[segment], allow_missing_positions=True)
        to_seg = np.linalg.inv(LPS_TO_RAS @ volume.affine) @ mask.affine
        voxels = np.argwhere(labels == number)
        places = voxels @ to_seg[:3, :3].T + to_seg[:3, 3]
        nearest = np.rint(places).astype(int)
        assert np.abs(places - nearest).max() < 1e-2
        found = volume.array[..., 0] > 0
        assert found[tuple(nearest.T)].all() and found.sum() == len(voxels)
    record = json.loads((tmp_path / "out" / "ct.json").read_text())
    written = (tmp_path / "out" / "ct_seg.dcm").read_bytes()
    assert record["outputs"]["ct_seg.dcm"] == hashlib.sha256(written).hexdigest()
    source = dcmread(ct.files[0])
    assert (seg.PatientID, seg.StudyInstanceUID) == (source.PatientID, source.StudyInstanceUID)
    assert (
        seg.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0].AlgorithmName == "MedCLIP-SAM for MONAI"
    )


def test_what_is_done_is_skipped_and_no_image_of_a_searched_folder(run, tmp_path, ct):
    assert run(tmp_path / "ct", *TEXTS, "--output", tmp_path / "ct")[0] == 0
    code, out, _ = run(tmp_path / "ct", *TEXTS, "--output", tmp_path / "ct", "--strict")
    assert code == 0 and out.splitlines()[-1].startswith("0 done, 1 skipped, 0 failed:")


def test_no_slice_is_decoded_twice_for_it(run, tmp_path, ct, monkeypatch):
    decoded = []
    decode = reader.decode_file
    monkeypatch.setattr(reader, "decode_file", lambda file, path: decoded.append(path) or decode(file, path))
    assert run(tmp_path / "ct", *TEXTS)[0] == 0
    assert sorted(decoded) == sorted(ct.files)


@pytest.mark.parametrize("write", [write_phantom_xray, write_phantom_ultrasound], ids=["x-ray", "ultrasound"])
def test_the_segments_of_a_picture_lie_on_its_pixels(run, tmp_path, write):
    (file,) = write(tmp_path / "in").files
    assert run(file, "--text", "lungs", "--dicom-seg")[0] == 0
    mask = np.array(Image.open(tmp_path / "out" / f"{file.stem}_mask.png"))
    assert mask.any()
    seg = segread(tmp_path / "out" / f"{file.stem}_seg.dcm")
    found = seg.get_pixels_by_source_instance([dcmread(file).SOPInstanceUID], ignore_spatial_locations=True)
    np.testing.assert_array_equal(found[0, ..., 0], mask == 1)


def test_nothing_found_is_no_seg_and_a_note(run, tmp_path, ct):
    code, out, err = run(tmp_path / "ct", *NOTHING)
    assert (code, err) == (0, "")
    assert "nothing was found, so no DICOM SEG is written" in next(x for x in out.splitlines() if x.startswith("note"))
    assert "ct_mask.nii.gz" in outputs(tmp_path / "out") and "ct_seg.dcm" not in outputs(tmp_path / "out")
    assert "1 skipped" in run(tmp_path / "ct", *NOTHING)[1]


def test_a_picture_among_dicom_fails_alone(run, tmp_path, ct):
    picture = make_picture(tmp_path / "a.png")
    code, out, err = run(picture, tmp_path / "ct", *TEXTS)
    assert code == 2 and "1 done, 0 skipped, 1 failed" in out
    assert (
        err.strip()
        == f"failed   [1/2] {picture}: is not DICOM; a DICOM SEG refers to the DICOM images that it was made from"
    )
    assert not any(name.startswith("a") for name in outputs(tmp_path / "out"))


def test_pictures_alone_are_refused_before_the_networks_are_loaded(run, tmp_path, monkeypatch):
    monkeypatch.setattr(TextSegmenter, "from_preset", None)
    code, out, err = run(make_picture(tmp_path / "a.png"), *TEXTS)
    assert (code, out) == (2, "") and "a.png: is not DICOM" in err and len(err.splitlines()) == 1
    assert outputs(tmp_path / "out") == set()


def test_a_cine_leaves_nothing_behind(run, tmp_path):
    (file,) = write_phantom_ultrasound(tmp_path / "in", frames=8).files
    code, _, err = run(file, "--text", "lungs", "--dicom-seg")
    assert code == 2 and "8 frames without positions (a cine)" in err
    assert outputs(tmp_path / "out") == set()


def test_without_highdicom_the_extra_is_named(run, tmp_path, ct, monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    code, _, err = run(tmp_path / "ct", *TEXTS)
    assert code == 2 and "pip install 'medclipsam-monai[seg]'" in err and len(err.splitlines()) == 1
    assert outputs(tmp_path / "out") == set()


def test_a_result_saves_itself_with_a_seg(tiny_preset, tmp_path, ct):
    segmenter = TextSegmenter.from_preset(tiny_preset, "cpu")
    written = segmenter(tmp_path / "ct", "lungs").save(tmp_path / "out", overlay=False, dicom_seg=True)
    assert [path.name for path in written] == ["ct_mask.nii.gz", "ct_labels.txt", "ct_seg.dcm", "ct.json"]
    in_memory = segmenter(np.zeros((40, 60), np.uint8), "lungs")
    with pytest.raises(InputError, match="an image in memory: is not DICOM"):
        in_memory.save(tmp_path / "memory", dicom_seg=True)
    assert outputs(tmp_path / "memory") == set()


def test_an_open_image_whose_files_became_another_patients_makes_no_seg(tiny_preset, tmp_path, ct):
    opened = TextSegmenter.from_preset(tiny_preset, "cpu").open(tmp_path / "ct")
    for file in ct.files:
        dataset = dcmread(file)
        dataset.PatientID, dataset.PatientName = "other", "Other^Patient"
        dataset.save_as(file)
    with pytest.raises(InputError, match="have changed since it was read"):
        opened("lungs").save(tmp_path / "out", dicom_seg=True)
    assert outputs(tmp_path / "out") == set()
