"""The measure of volumes: what it counts, and the table it prints."""

from __future__ import annotations

import json
import math

import nibabel as nib
import numpy as np
import pytest

from medclipsam_monai.phantoms.seeds import VOLUMES
from medclipsam_monai.phantoms.volumes import make_phantom_volume, write_phantom_volume_series
from tools.figures.evaluate_volumes import Score, main, read_case, score

SHAPE = (32, 32, 12)


def test_false_slices_and_dsc_are_counted():
    truth, found = np.zeros((4, 4, 5), bool), np.zeros((4, 4, 5), bool)
    truth[:2, :2, 1:3] = True
    found[:2, :2, 2:5] = True
    assert score(found, truth) == Score(2 * 4 / (8 + 12), 2)
    absent = score(found, np.zeros_like(truth))
    assert math.isnan(absent.dsc) and absent.false == 3


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two volumes where the measure looks for them, with TotalSegmentator's numbers for liver and lungs."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "nifti").mkdir()
    (folder / "volumes").mkdir()
    volume = make_phantom_volume("chest_abdomen_ct", VOLUMES.first, SHAPE)
    labels = np.zeros(SHAPE, np.uint8)
    labels[volume.masks["liver"]], labels[volume.masks["lungs"]] = 5, 12
    for place in ("nifti/example_seg", "volumes/ct_dicom_seg"):
        nib.save(nib.Nifti1Image(labels, volume.affine), folder / f"{place}.nii.gz")
    nib.save(nib.Nifti1Image(volume.image, volume.affine), folder / "nifti" / "example_ct_sm.nii.gz")
    write_phantom_volume_series(volume, folder / "volumes" / "ct_dicom")
    return folder


def test_labels_are_turned_as_the_volume_is(data):
    case = read_case("a", data / "nifti/example_ct_sm.nii.gz", data / "nifti/example_seg.nii.gz", {"lungs": (12,)})
    volume = make_phantom_volume("chest_abdomen_ct", VOLUMES.first, SHAPE)
    assert case.truth["lungs"].sum() == volume.masks["lungs"].sum()
    assert case.truth["lungs"].any(axis=(0, 1)).tolist() == volume.masks["lungs"].any(axis=(0, 1)).tolist()


def test_a_row_a_class_and_a_sheet_of_each(data, tmp_path, capsys):
    saliency = {"method": "m2ib", "layer": 11, "steps": 2, "samples": 1, "standardise": True, "share_alpha": True}
    (tmp_path / "quick.json").write_text(json.dumps({"extends": "demo", "saliency": saliency}))
    main(data, preset=str(tmp_path / "quick.json"), phantoms=0, pictures=tmp_path / "look", device="cpu")
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()]
    assert [row[:2] for row in rows[2:6]] == [
        ["| example_ct_sm", name] for name in ("liver", "lungs", "kidneys", "spleen")
    ]
    assert [len(row) for row in rows] == [7, 1, *[7] * 8]
    kidneys = rows[4]
    assert kidneys[2] == "0 of 12" and kidneys[3] == kidneys[5] == "absent" and kidneys[4].endswith(" of 12")
    assert len(list((tmp_path / "look").glob("*.png"))) == 8


def test_a_folder_without_volumes_is_named(tmp_path, tiny_preset, capsys):
    import typer

    with pytest.raises(typer.Exit) as stop:
        main(tmp_path, preset=str(tiny_preset), phantoms=0, pictures=None, device="cpu")
    assert stop.value.exit_code == 2 and capsys.readouterr().err.startswith("volumes: ")
