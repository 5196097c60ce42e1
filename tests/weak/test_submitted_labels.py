"""`PseudoLabelledDataset` of labels that a host such as MONAI Label gives: they alone are learnt from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.weak.dataset import PseudoLabelledDataset
from medclipsam_monai.weak.folders import WorkFolders
from medclipsam_monai.weak.pseudo.quality_gate import Gate


def write_pairs(folder: Path, count: int) -> list[dict[str, str]]:
    """Pictures, the label of each a bar of its own width."""
    folder.mkdir(parents=True)
    items = []
    for number in range(count):
        pixels = np.full((16, 20), 10 * number, np.uint8)
        label = np.zeros((16, 20), np.uint8)
        label[:, : number + 1] = 255
        Image.fromarray(pixels).save(folder / f"scan{number}.png")
        Image.fromarray(label).save(folder / f"scan{number}_label.png")
        items.append({"image": str(folder / f"scan{number}.png"), "label": str(folder / f"scan{number}_label.png")})
    return items


def make(tmp_path: Path, data: object, **options: object) -> PseudoLabelledDataset:
    """Without a segmenter, a gate's table or a folder of images: none of them is touched."""
    return PseudoLabelledDataset(
        WorkFolders(tmp_path / "work"), "", "heart", segmenter=None, gate=Gate(), data=data, **options
    )


@pytest.mark.parametrize(("train", "held_out", "validating"), [(6, 2, 2), (3, 1, 0), (8, None, 2), (2, [], 0)], ids=str)
def test_the_labels_become_the_data_set_and_the_share_validates(tmp_path, train, held_out, validating):
    items = write_pairs(tmp_path / "images", train + (held_out or 0))
    more = items[train:] if isinstance(held_out, int) else held_out
    dataset = make(tmp_path, items[:train], validation_data=more, validation=0.25)
    assert len(dataset) == len(items)
    assert sum(item["split"] == "validation" for item in dataset) == validating
    for number, item in enumerate(dataset):
        expected = np.zeros((16, 20))
        expected[:, : number + 1] = 1
        np.testing.assert_array_equal(np.asarray(Image.open(item["label"])), expected)
        assert (np.asarray(Image.open(item["image"])) == 10 * number).all()
    cases = json.loads((tmp_path / "work/nnunet/raw/Dataset001_Weak/cases.json").read_text())
    assert {case["label"] for case in cases} == {"given"}
    assert not (tmp_path / "work" / "pseudo_labels").exists()


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ([], "no label was submitted yet; submit the labels of some images, then train"),
        ([{"image": "a.png"}], 'must be {"image": file, "label": file}'),
        (["a.png"], 'must be {"image": file, "label": file}'),
    ],
)
def test_what_is_no_label_is_said(tmp_path, data, line):
    with pytest.raises(InputError, match=line):
        make(tmp_path, data)
    assert not (tmp_path / "work").exists()
