"""Single DICOM files in a folder, without any archive: found, segmented, labelled and offered next like pictures."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import requests
from dicom_files import write_series
from label_server import LabelServer, as_png

from medclipsam_monai import TextSegmenter
from medclipsam_monai.phantoms import make_phantom


@pytest.fixture(scope="module")
def dicom_server(tmp_path_factory):
    """A server of two chest phantoms as single DICOM files, radiograph_0.dcm and radiograph_1.dcm."""
    folder = tmp_path_factory.mktemp("dicom")
    (folder / "studies").mkdir()
    for number in range(2):
        levels = make_phantom("chest_xray", 3_320_000 + number).image
        written = folder / f"written_{number}"
        write_series(written, (4000 * levels).round().astype(np.int16)[None], Modality="CR")
        next(written.rglob("*.dcm")).rename(folder / "studies" / f"radiograph_{number}.dcm")
    started = LabelServer(folder / "app", folder / "studies", preset="demo")
    yield started
    started.stop()


def test_a_dicom_file_is_segmented_as_the_command_line_does(dicom_server, tmp_path):
    image = dicom_server.studies / "radiograph_0.dcm"
    expected, *_ = TextSegmenter.from_preset("demo", "cpu")(image, "lungs").save(tmp_path)
    answer = dicom_server.infer("text", "radiograph_0", output="image", text="lungs")
    assert answer.status_code == 200, answer.text
    (tmp_path / "answer.nii.gz").write_bytes(answer.content)
    ours, theirs = nib.load(tmp_path / "answer.nii.gz"), nib.load(expected)
    assert np.asarray(ours.dataobj).sum() > 0 and np.allclose(ours.affine, theirs.affine)
    np.testing.assert_array_equal(np.asarray(ours.dataobj), np.asarray(theirs.dataobj))


def test_a_label_is_kept_and_the_other_image_comes_next(dicom_server):
    label = dicom_server.infer("text", "radiograph_0", output="image", text="lungs").content
    answer = dicom_server.save_label("radiograph_0", label, "label.nii.gz")
    assert answer.status_code == 200, answer.text
    kept = requests.get(f"{dicom_server.url}/datastore/label", params={"label": "radiograph_0", "tag": "final"})
    assert kept.status_code == 200
    for strategy in ("random", "diverse"):
        sample = requests.post(f"{dicom_server.url}/activelearning/{strategy}", json={}).json()
        assert sample["id"] == "radiograph_1"


def test_a_label_of_another_size_is_refused(dicom_server):
    answer = dicom_server.save_label("radiograph_1", as_png(np.ones((8, 9), np.uint8)))
    assert answer.status_code == 422 and "is a mask of 8 x 9" in answer.json()["detail"]
