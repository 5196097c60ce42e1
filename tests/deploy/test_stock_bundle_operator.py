"""The bundles in MONAI Deploy's own MonaiBundleInferenceOperator: from DICOM to DICOM SEG by the SDK's operators."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pydicom
import pytest
import torch
from dicom_checks import dice_by_highdicom, headers, points_of
from monai.deploy.conditions import CountCondition
from monai.deploy.core import AppContext, Application, Image, IOType, Operator, OperatorSpec
from monai.deploy.operators.dicom_data_loader_operator import DICOMDataLoaderOperator
from monai.deploy.operators.dicom_seg_writer_operator import DICOMSegmentationWriterOperator, SegmentDescription
from monai.deploy.operators.dicom_series_selector_operator import DICOMSeriesSelectorOperator
from monai.deploy.operators.dicom_series_to_volume_operator import DICOMSeriesToVolumeOperator
from monai.deploy.operators.monai_bundle_inference_operator import IOMapping, MonaiBundleInferenceOperator
from pydicom.sr.codedict import codes

from medclipsam_monai import TextSegmenter
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.deploy.engines import Wish
from medclipsam_monai.deploy.run import RunSettings, run
from medclipsam_monai.finetune import ContrastiveCLIP
from medclipsam_monai.phantoms import make_phantom
from medclipsam_monai.phantoms.dicom import OBLIQUE, write_phantom_volume
from medclipsam_monai.weak.ensemble.checkpoint_ensemble import CheckpointEnsemble

BUNDLES = Path(__file__).parents[2] / "bundles"
FINETUNE = "medclipsam_finetune"
ZERO_SHOT, WEAK = "medclipsam_zeroshot_segmentation", "medclipsam_weak_segmentation"
RULES = json.dumps({"selections": [{"name": "all", "conditions": {"Modality": "(?i)(CT|MR|CR|DX)"}}]})


def inference(app: Application, bundle: Path) -> MonaiBundleInferenceOperator:
    return MonaiBundleInferenceOperator(
        app,
        input_mapping=[IOMapping("image", Image, IOType.IN_MEMORY)],
        output_mapping=[IOMapping("pred", Image, IOType.IN_MEMORY)],
        app_context=AppContext({}),
        bundle_path=bundle,
        name="infer",
    )


class StockApp(Application):
    """As a user of the SDK writes it: no class of ours."""

    def __init__(self, study: Path, bundle: Path, output: Path) -> None:
        self.places = study, bundle, output
        super().__init__(argv=[])

    def compose(self) -> None:
        study, bundle, output = self.places
        load = DICOMDataLoaderOperator(self, CountCondition(self, 1), input_folder=study, name="load")
        select = DICOMSeriesSelectorOperator(self, rules=RULES, name="select")
        volume = DICOMSeriesToVolumeOperator(self, name="volume")
        infer = inference(self, bundle)
        segment = SegmentDescription(
            segment_label="found",
            segmented_property_category=codes.SCT.Organ,
            segmented_property_type=codes.SCT.Lung,
            algorithm_name="bundle",
            algorithm_family=codes.DCM.ArtificialIntelligence,
            algorithm_version="1",
        )
        write = DICOMSegmentationWriterOperator(
            self, segment_descriptions=[segment], output_folder=output, name="write"
        )
        series = "study_selected_series_list"
        self.add_flow(load, select, {("dicom_study_list", "dicom_study_list")})
        self.add_flow(select, volume, {(series, series)})
        self.add_flow(volume, infer, {("image", "image")})
        self.add_flow(select, write, {(series, series)})
        self.add_flow(infer, write, {("pred", "seg_image")})


def copy_bundle(name: str, target: Path, **values: object) -> Path:
    """A bundle with values of its inference.json set, as its user edits it, and models/model.pt."""
    bundle = shutil.copytree(BUNDLES / name, target / name, ignore=shutil.ignore_patterns("eval"))
    path = bundle / "configs" / "inference.json"
    config = json.loads(path.read_text().replace("@preset or DEFAULT_PRESET", "@preset or 'demo'"))  # it knows phantoms
    for key, value in values.items():
        group, _, inner = key.partition("__")
        if inner:
            config[group][inner] = value
        else:
            config[key] = value
    path.write_text(json.dumps(config))
    return bundle


def export(bundle: Path) -> None:
    """models/model.pt, by the bundle's own command."""
    command = ["-m", "monai.bundle", "run", "export", "--config_file", "configs/inference.json", "--bundle_root", "."]
    subprocess.run([sys.executable, *command], cwd=bundle, check=True, capture_output=True)
    assert (bundle / "models" / "model.pt").is_file()


def run_stock(study: Path, bundle: Path, output: Path) -> Path:
    StockApp(study, bundle, output).run()
    (written,) = output.glob("*.dcm")
    return written


def points_in(path: Path, series: list[pydicom.Dataset]) -> np.ndarray:
    """(N, 3) mm, sorted: where the segment's voxels of a SEG lie, by the images that its frames name."""
    from highdicom.seg import segread

    uids = [header.SOPInstanceUID for header in series]
    frames = segread(path).get_pixels_by_source_instance(
        uids, ignore_spatial_locations=True, assert_missing_frames_are_empty=True
    )
    points = points_of(frames[..., 0] > 0, series).round(3)
    return points[np.lexsort(points.T)]


@pytest.mark.parametrize(
    ("modality", "text", "directions", "order"),
    [
        pytest.param("CT", "lungs", (1.0, 0, 0, 0, 1.0, 0), "shuffled", marks=pytest.mark.minutes),
        ("MR", "ventricles", OBLIQUE, "reversed"),
    ],
)
def test_the_answer_lies_where_that_of_our_own_command_does(tmp_path, modality, text, directions, order):
    options = {"slices": 4, "directions": directions, "order": order, "spacing": (1.25, 1.5, 5.0)}
    series = headers(write_phantom_volume(tmp_path / "study", modality, **options))
    window = {"CT": (-300, 1400), "MR": (500, 1000)}[modality]  # the SDK's image has lost the DICOM's own
    bundle = copy_bundle(ZERO_SHOT, tmp_path, window=list(window), text=text, device="cpu")
    export(bundle)
    written = run_stock(tmp_path / "study", bundle, tmp_path / "stock")
    wish = Wish(text=text, window=f"{window[0]},{window[1]}")
    assert run(RunSettings(tmp_path / "study", tmp_path / "own", wish, preset="demo", device="cpu")) == 0
    (own,) = (tmp_path / "own").glob("*/segmentation.dcm")
    expected = points_in(own, series)
    assert len(expected) > 200
    np.testing.assert_array_equal(points_in(written, series), expected)
    assert dice_by_highdicom(written, 1, expected) == 1
    assert not (bundle / "eval").exists()


class Give(Operator):
    """Emits an image."""

    def __init__(self, fragment: Application, *args: object, image: Image, **kwargs: object) -> None:
        self.image = image
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        spec.output("image")

    def compute(self, op_input: object, op_output: object, context: object) -> None:
        op_output.emit(self.image, "image")


class Take(Operator):
    """Keeps what it receives."""

    def setup(self, spec: OperatorSpec) -> None:
        spec.input("pred")

    def compute(self, op_input: object, op_output: object, context: object) -> None:
        self.fragment.taken = op_input.receive("pred").asnumpy()


class PictureApp(Application):
    """A picture in memory, which the SDK's own reader of DICOM cannot make: it knows no image of one slice."""

    def __init__(self, pixels: np.ndarray, bundle: Path) -> None:
        self.given, self.taken = (pixels, bundle), None
        super().__init__(argv=[])

    def compose(self) -> None:
        pixels, bundle = self.given
        give = Give(self, CountCondition(self, 1), image=Image(pixels, metadata={}), name="give")
        infer = inference(self, bundle)
        self.add_flow(give, infer, {("image", "image")})
        self.add_flow(infer, Take(self, name="take"), {("pred", "pred")})


@pytest.mark.parametrize("name", [ZERO_SHOT, WEAK])
def test_a_picture_in_memory(tmp_path, name):
    pixels = (255 * make_phantom("chest_xray", 3_300_000).image[::2, ::2]).round().astype(np.uint8)[:, 10:110]
    bundle = copy_bundle(name, tmp_path, device="cpu")
    if name == ZERO_SHOT:
        export(bundle)
        expected = TextSegmenter.from_preset("demo", "cpu")(pixels, "lungs").label_map.numpy()
    else:
        pixels_png = tmp_path / "p.png"
        PIL.Image.fromarray(pixels).save(pixels_png)
        ensemble = CheckpointEnsemble.from_file(bundle / "models" / "model.pt", "cpu", mirroring=False)
        expected = ensemble.predict(pixels_png).label_map().numpy()
    app = PictureApp(pixels, bundle)
    app.run()
    assert 0.02 < expected.mean() < 0.6
    np.testing.assert_array_equal(app.taken, expected)


def test_a_tuned_clip_is_refused_in_one_line(tmp_path):
    bundle = copy_bundle(FINETUNE, tmp_path, device="cpu")
    (bundle / "models").mkdir(exist_ok=True)
    torch.save(ContrastiveCLIP("demo/clip").state_dict(), bundle / "models" / "model.pt")
    app = PictureApp(np.zeros((60, 50), np.uint8), bundle)
    with pytest.raises(Exception) as error:
        app.run()
    cause: BaseException | None = error.value
    while cause is not None and not isinstance(cause, InputError):
        cause = cause.__cause__
    assert str(cause).startswith("medclipsam_finetune gives features of images and captions, no masks")
    assert app.taken is None
