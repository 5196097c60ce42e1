"""Pseudo-labels are what the zero-shot stage writes: resumable, with what fails left out, of every kind of image."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from dicom_files import write_series
from PIL import Image
from weak_files import picture, volume

from medclipsam_monai import TextSegmenter
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.weak.folders import WorkFolders
from medclipsam_monai.weak.nnunet.dataset import build_dataset
from medclipsam_monai.weak.pseudo.labels import write_pseudo_labels
from medclipsam_monai.weak.pseudo.quality_gate import Gate, apply_gate

PASS_ALL = Gate(min_presence=0, min_quality=0, min_agreement=0, min_area=0, max_area=1)


@pytest.fixture(scope="module")
def segmenter(tiny_preset):
    return TextSegmenter.from_preset(tiny_preset, device="cpu")


@pytest.fixture
def folders(tmp_path):
    return WorkFolders(tmp_path / "work")


def test_pictures_get_masks_and_records_and_are_not_done_twice(segmenter, folders, tmp_path):
    for n in range(2):
        picture(tmp_path / "in" / f"p{n}.png", (20, 30), n)
    (tmp_path / "in" / "broken.png").write_bytes(b"no picture")
    told: list[str] = []

    def run():
        told.clear()
        return write_pseudo_labels(
            segmenter, [tmp_path / "in"], ["lungs", "heart"], folders, notify=lambda kind, line: told.append(kind)
        )

    labels = run()
    assert told == ["failed", "done", "done"]
    assert [label.stem for label in labels] == ["p0", "p1"] and labels[0].source == tmp_path / "in" / "p0.png"
    assert np.asarray(Image.open(labels[0].mask)).shape == (20, 30)
    (lungs, heart) = labels[0].record["classes"]
    assert (lungs["name"], heart["name"]) == ("lungs", "heart")
    assert {"presence", "quality", "agreement", "fraction"} <= lungs.keys()
    assert run() == labels and told == ["failed", "skipped", "skipped"]


def test_a_volume_and_a_series_go_all_the_way_to_a_data_set(segmenter, folders, tmp_path):
    volume(tmp_path / "in" / "a.nii.gz", (24, 20, 3))
    files = write_series(
        tmp_path / "in" / "scan", np.random.default_rng(0).integers(0, 400, (3, 20, 24)).astype("int16")
    )
    labels = write_pseudo_labels(segmenter, [tmp_path / "in"], "lungs", folders)
    assert [(label.stem, len(label.files)) for label in labels] == [("a", 0), ("scan", 3)]
    assert labels[1].source == files[0].parent
    kept = apply_gate(labels, PASS_ALL, folders)
    build_dataset(kept, ["lungs"], folders)
    for label, case in zip(kept, ("case_0001", "case_0002"), strict=True):
        written = nib.load(folders.labels / f"{case}.nii.gz").get_fdata()
        assert written.sum() == nib.load(label.mask).get_fdata().sum() > 0


def test_nothing_to_segment_is_refused(segmenter, folders, tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        write_pseudo_labels(segmenter, [tmp_path / "none"], "lungs", folders)
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"none of the 1 images can be used; the first: .*a\.png"):
        write_pseudo_labels(segmenter, [tmp_path / "a.png"], "lungs", folders)
    with pytest.raises(InputError, match="the text is empty"):
        write_pseudo_labels(segmenter, [picture(tmp_path / "b.png")], " ", folders)
