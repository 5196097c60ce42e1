"""The app on a DICOMweb server: images from Orthanc, labels back as DICOM SEG. Needs Debian's orthanc-dicomweb."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import requests
from dicom_files import write_series
from label_server import LabelServer
from pydicom.uid import generate_uid

from medclipsam_monai.phantoms import make_phantom

PLUGIN = "libOrthancDicomWeb.so"
PLUGIN_FOLDERS = ("/usr/share/orthanc/plugins", "/usr/local/share/orthanc/plugins", "/usr/lib/orthanc")
START_SECONDS = 60
SLICES = 4


def find_orthanc() -> tuple[str, str] | None:
    """Orthanc's program (on the path, or named by the variable ORTHANC) and its DICOMweb plugin."""
    program = os.environ.get("ORTHANC") or shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
    if program is None or not Path(program).is_file():
        return None
    folders = [*PLUGIN_FOLDERS, str(Path(program).parents[1] / "share" / "orthanc" / "plugins")]
    found = [Path(folder) / PLUGIN for folder in folders if (Path(folder) / PLUGIN).is_file()]
    return (program, str(found[0])) if found else None


pytestmark = pytest.mark.skipif(
    find_orthanc() is None,
    reason="Orthanc with its DICOMweb plugin is not here: apt-get install orthanc orthanc-dicomweb, or set ORTHANC",
)


class Orthanc:
    """An Orthanc on loopback with DICOMweb."""

    def __init__(self, folder: Path) -> None:
        program, plugin = find_orthanc() or ("", "")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.dicomweb = f"{self.url}/dicom-web"
        settings = {
            "Name": "test",
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"),
            "HttpPort": port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomServerEnabled": False,
            "Plugins": [plugin],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }
        (folder / "orthanc.json").write_text(json.dumps(settings))
        self.log = folder / "orthanc.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=log, stderr=log)
        self._wait_until_up()

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                requests.get(f"{self.url}/system", timeout=START_SECONDS).raise_for_status()
                return
            except requests.RequestException:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise RuntimeError(f"Orthanc did not start:\n{self.log.read_text()[-2000:]}") from None
                time.sleep(0.1)

    def store(self, *files: Path) -> None:
        for file in files:
            requests.post(f"{self.url}/instances", data=file.read_bytes()).raise_for_status()

    def series(self, modality: str) -> list[dict[str, Any]]:
        """What DICOMweb finds."""
        return requests.get(f"{self.dicomweb}/series", params={"Modality": modality}).json()

    def instances(self, modality: str) -> list[pydicom.Dataset]:
        """All instances of a modality, whole."""
        query = {"Level": "Instance", "Query": {"Modality": modality}}
        found = requests.post(f"{self.url}/tools/find", json=query).json()
        files = [requests.get(f"{self.url}/instances/{name}/file").content for name in found]
        return [pydicom.dcmread(pydicom.filebase.DicomBytesIO(file)) for file in files]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def write_ct(folder: Path, seed: int) -> str:
    """A chest CT phantom as a series of 4 equal slices; returns its UID."""
    levels = make_phantom("chest_ct", seed).image[::4, ::4]
    if levels.ndim == 3:
        levels = levels[..., 0]
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    write_series(
        folder,
        np.repeat((1400 * levels - 1000).astype(np.int16)[None], SLICES, axis=0),
        StudyInstanceUID=study,
        SeriesInstanceUID=series,
        FrameOfReferenceUID=frame,
        PatientID=f"phantom {seed}",
        StudyID="1",
        StudyDate="20200101",
        StudyTime="120000",
        AccessionNumber="1",
        SeriesDescription="phantom",
        RescaleSlope=1,
        RescaleIntercept=0,
        SliceThickness=2.0,
    )
    return str(series)


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory) -> Iterator[Orthanc]:
    started = Orthanc(tmp_path_factory.mktemp("orthanc"))
    yield started
    started.stop()


@pytest.fixture(scope="module")
def images(orthanc, tmp_path_factory) -> list[str]:
    """Two series that Orthanc holds."""
    folder = tmp_path_factory.mktemp("ct")
    uids = [write_ct(folder / str(seed), seed) for seed in (3_310_000, 3_310_001)]
    orthanc.store(*sorted(folder.rglob("*.dcm")))
    return uids


@pytest.fixture(scope="module")
def server(orthanc, images, tmp_path_factory) -> Iterator[LabelServer]:
    folder = tmp_path_factory.mktemp("label")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MONAI_LABEL_DICOMWEB_CACHE_PATH", str(folder / "cache"))
        started = LabelServer(folder / "app", orthanc.dicomweb, preset="demo")
    started.cache = folder / "cache"
    yield started
    started.stop()


def next_image(server: LabelServer, strategy: str) -> dict[str, Any]:
    answer = requests.post(f"{server.url}/activelearning/{strategy}", json={})
    assert answer.status_code == 200, answer.text
    return answer.json()


def score(server: LabelServer, method: str, **options: str) -> dict[str, Any]:
    """The status of a scoring once it has ended."""
    answer = requests.post(f"{server.url}/scoring/{method}", json=options)
    assert answer.status_code == 200, answer.text
    while True:
        status: dict[str, Any] = requests.get(f"{server.url}/scoring/").json()
        if status["status"] not in ("SUBMITTED", "RUNNING"):
            return status
        time.sleep(0.2)


def test_the_series_of_the_archive_are_the_images(server, images):
    assert server.info()["datastore"]["total"] == 2
    sample = next_image(server, "random")
    assert sample["id"] in images
    assert "PatientID" not in sample


def test_an_unknown_series_is_one_clear_line(server):
    answer = server.infer("text", "1.2.3.4.5", text="lungs")
    assert answer.status_code == 404
    assert answer.json()["detail"].startswith("there is no series '1.2.3.4.5' among the 2 of the archive")


def test_a_label_that_is_none_for_the_series_is_refused(server, orthanc, images, tmp_path):
    for pixels, line in ((np.ones((8, 8, 2)), "is a mask of 8 x 8 x 2"), (np.zeros((64, 64, SLICES)), "is empty")):
        nib.save(nib.Nifti1Image(pixels.astype(np.uint8), np.eye(4)), tmp_path / "label.nii.gz")
        answer = server.save_label(images[0], (tmp_path / "label.nii.gz").read_bytes(), "label.nii.gz")
        assert answer.status_code == 422
        assert line in answer.json()["detail"]
    assert orthanc.series("SEG") == []


def test_a_label_goes_back_as_dicom_seg(server, orthanc, images, tmp_path):
    image = images[0]
    answer = server.infer("text", image, output="image", text="lungs")
    assert answer.status_code == 200, answer.text
    file = tmp_path / "lungs.nii.gz"
    file.write_bytes(answer.content)
    mask = np.asarray(nib.load(file).dataobj)
    assert mask.shape[2] == SLICES and 0.05 < (mask == 1).mean() < 0.6
    saved = server.save_label(image, file.read_bytes(), "lungs.nii.gz", label_info=[{"name": "lungs"}])
    assert saved.status_code == 200, saved.text

    assert len(orthanc.series("SEG")) == 1
    (seg,) = orthanc.instances("SEG")
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == image
    assert [segment.SegmentLabel for segment in seg.SegmentSequence] == ["lungs"]
    assert int(np.count_nonzero(seg.pixel_array)) == int((mask == 1).sum())
    (source, *_) = [found for found in orthanc.instances("CT") if found.SeriesInstanceUID == image]
    assert (seg.StudyInstanceUID, seg.PatientID) == (source.StudyInstanceUID, source.PatientID)
    assert seg.FrameOfReferenceUID == source.FrameOfReferenceUID


def test_a_labelled_series_does_not_come_again(server, images):
    assert server.info()["datastore"]["completed"] == 1
    assert [next_image(server, "random")["id"] for _ in range(3)] == [images[1]] * 3


def test_the_archive_is_scored_by_wordings(server, images):
    status = score(server, "prompt_disagreement", text="lungs")
    assert status["status"] == "DONE", status["details"]
    sample = next_image(server, "most_uncertain")
    assert sample["id"] == images[1] and sample["scored_by"] == "prompt_disagreement" and sample["score"] >= 0


def test_a_training_learns_from_the_archives_labels_and_serves_its_ensemble(server, images):
    server.train(text="lungs", network_size="tiny", max_epochs=3, iterations=1)
    status = server.wait_for_training()
    assert status["status"] == "DONE", status["details"]
    cases = json.loads(next((server.app / "model" / "training").rglob("cases.json")).read_text())
    assert {case["stem"] for case in cases if case["label"] == "given"} == {images[0]}
    answer = server.infer("weak", images[1], output="image")
    assert answer.status_code == 200, answer.text
    assert nib.Nifti1Image.from_bytes(gzip.decompress(answer.content)).shape[2] == SLICES
    assert score(server, "ensemble_entropy")["status"] == "DONE"
    assert next_image(server, "most_uncertain")["scored_by"] == "ensemble_entropy"


def test_a_label_that_another_client_put_into_the_archive_counts(server, orthanc, images, tmp_path):
    """As one drawn elsewhere: what the server keeps of its own labels is gone."""
    for kept in Path(server.cache).rglob(f"labels/final/{images[0]}*"):
        shutil.rmtree(kept) if kept.is_dir() else kept.unlink()
    server.train(text="lungs", network_size="tiny", max_epochs=3, iterations=1)
    status = server.wait_for_training()
    assert status["status"] == "DONE", status["details"]
    cases = json.loads(next((server.app / "model" / "training").rglob("cases.json")).read_text())
    assert {case["stem"] for case in cases if case["label"] == "given"} == {images[0]}


def test_an_answer_as_dicom_seg_that_is_put_into_the_archive_is_its_label(server, orthanc, images, tmp_path):
    """Under the names that were typed, also outside ASCII, of which dcmqi writes none."""
    text = "Lungenflügel=lungs; 心臓=heart"
    answer = server.infer("text", images[1], output="dicom_seg", text=text)
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/dicom", answer.text
    (tmp_path / "answer.dcm").write_bytes(answer.content)
    seg = pydicom.dcmread(tmp_path / "answer.dcm")
    assert [str(segment.SegmentLabel) for segment in seg.SegmentSequence] == ["Lungenflügel", "心臓"]
    orthanc.store(tmp_path / "answer.dcm")
    pairs = requests.get(f"{server.url}/datastore/", params={"output": "train"}).json()
    (label,) = [pair["label"] for pair in pairs if images[1] in pair["image"]]
    said = requests.get(f"{server.url}/datastore/label/info", params={"label": images[1], "tag": "final"}).json()
    assert [(one["name"], one["idx"]) for one in said["label_info"]] == [("Lungenflügel", 1), ("心臓", 2)]
    (tmp_path / "mask.nii.gz").write_bytes(server.infer("text", images[1], output="image", text=text).content)
    mask = np.asarray(nib.load(tmp_path / "mask.nii.gz").dataobj)
    first, second = (server.info()["labels"].index(name) + 1 for name in ("Lungenflügel", "心臓"))
    expected = (mask == first) + 2 * (mask == second)
    assert {1, 2} <= set(np.unique(expected))
    np.testing.assert_array_equal(np.asarray(nib.load(label).dataobj), expected)
