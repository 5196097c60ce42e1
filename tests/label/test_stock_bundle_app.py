"""The three bundles in MONAI Label's own monaibundle app: from a local folder, without a network."""

from __future__ import annotations

import shutil
import sys
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest
import torch
from label_server import LabelServer, write_phantoms
from PIL import Image

from medclipsam_monai import TextSegmenter
from medclipsam_monai.zero_shot.build import build_network

BUNDLES = Path(__file__).parents[2] / "bundles"
NAMES = ("medclipsam_finetune", "medclipsam_weak_segmentation", "medclipsam_zeroshot_segmentation")


def _stock_app() -> Path:
    """Where the wheel's app lies: some installers unpack its data folder, some leave it among the packages."""
    packages = Path(str(distribution("monailabel").locate_file("")))
    places = [Path(sys.prefix), *packages.glob("monailabel-*.data/data")]
    return next(path for place in places if (path := place / "monailabel" / "sample-apps" / "monaibundle").is_dir())


@pytest.fixture(scope="module")
def stock(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stock")
    shutil.copytree(_stock_app(), folder / "app")
    for name in NAMES:
        shutil.copytree(BUNDLES / name, folder / "app" / "model" / name, ignore=shutil.ignore_patterns("eval"))
    weights = folder / "app" / "model" / NAMES[2] / "models" / "model.pt"  # as the bundle's "export" writes it
    weights.parent.mkdir(exist_ok=True)
    torch.save({"model": build_network("demo", "cpu").state_dict()}, weights)
    write_phantoms(folder / "studies", 1)
    # any source but the default one, which asks the model zoo
    started = LabelServer(folder / "app", folder / "studies", models=",".join(NAMES), zoo_source="local", sam2="false")
    yield started
    started.stop()


def test_all_three_are_loaded(stock):
    info = stock.info()
    assert set(info["models"]) == {"medclipsam_weak_segmentation", "medclipsam_zeroshot_segmentation"}
    assert set(info["trainers"]) == {"medclipsam_finetune", "medclipsam_weak_segmentation"}
    assert info["models"]["medclipsam_zeroshot_segmentation"]["config"]["text_prompt"] == "lungs"


def test_the_text_of_a_request_decides_the_mask(stock):
    image = stock.studies / "image_0.png"
    for text in ("lungs", "heart"):
        answer = stock.infer(NAMES[2], "image_0", device="cpu", text_prompt=text, result_dtype="uint8")
        assert answer.status_code == 200, answer.text
        with Image.open(stock.app / "model" / NAMES[2] / "eval" / "image_0_mask.png") as written:
            mask = np.asarray(written)
        np.testing.assert_array_equal(mask, TextSegmenter.from_preset("demo", "cpu")(image, text).label_map.numpy())


def test_the_ensemble_answers(stock):
    answer = stock.infer(NAMES[1], "image_0", device="cpu", result_dtype="uint8")
    assert answer.status_code == 200, answer.text
    assert answer.json()["label_names"] == {"heart": 1}
    with Image.open(stock.app / "model" / NAMES[1] / "eval" / "image_0_mask.png") as written:
        assert written.size == (64, 64)
