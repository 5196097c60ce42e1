"""MONAI Label's own monaibundle app on a DICOMweb server: the answer lies on the archive's series."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from label_server import LabelServer
from test_dicomweb import Orthanc, find_orthanc, write_ct
from test_stock_bundle_app import BUNDLES, ZERO_SHOT, download, export, stock_app, use_demo_weights

pytestmark = pytest.mark.skipif(
    find_orthanc() is None,
    reason="Orthanc with its DICOMweb plugin is not here: apt-get install orthanc orthanc-dicomweb, or set ORTHANC",
)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    started = Orthanc(tmp_path_factory.mktemp("orthanc"))
    yield started
    started.stop()


def test_the_mask_of_a_series_in_an_archive_lies_where_that_of_the_command_does(archive, tmp_path, monkeypatch):
    series = write_ct(tmp_path / "ct", 3_300_000)
    archive.store(*sorted((tmp_path / "ct").iterdir()))
    shutil.copytree(stock_app(), tmp_path / "app")
    bundle = tmp_path / "app" / "model" / ZERO_SHOT
    shutil.copytree(BUNDLES / ZERO_SHOT, bundle, ignore=shutil.ignore_patterns("eval"))
    use_demo_weights(bundle)
    export(bundle)
    monkeypatch.setenv("MONAI_LABEL_DICOMWEB_CACHE_PATH", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")  # dcmqi is here, and is not downloaded
    server = LabelServer(tmp_path / "app", archive.dicomweb, models=ZERO_SHOT, zoo_source="local", sam2="false")
    try:
        answer = download(server, ZERO_SHOT, series, tmp_path, text="lungs")
    finally:
        server.stop()
    command = [sys.executable, "-m", "medclipsam_monai", "segment", str(tmp_path / "ct"), "--text", "lungs"]
    subprocess.run([*command, "--preset", "demo", "--device", "cpu", "--output", str(tmp_path / "out")], check=True)
    (expected,) = (tmp_path / "out").glob("*_mask.nii.gz")
    found, wanted = sitk.ReadImage(str(answer)), sitk.ReadImage(str(expected))
    labels = sitk.GetArrayFromImage(wanted)
    placed = sitk.Resample(found, wanted, sitk.Transform(), sitk.sitkNearestNeighbor, 77.0)
    assert 0.01 < labels.mean() < 0.8
    np.testing.assert_array_equal(sitk.GetArrayFromImage(placed), labels)
    assert sitk.GetArrayFromImage(found).sum() == labels.sum()
