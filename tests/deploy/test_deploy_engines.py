"""Engines give what the package's own calls give, from a preset or from a bundle's folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.deploy.bundle_folder import bundle_in
from medclipsam_monai.deploy.engines import EnsembleEngine, Wish
from medclipsam_monai.deploy.load_engine import load_engine
from medclipsam_monai.deploy.study import search_study
from medclipsam_monai.io import hash_files
from medclipsam_monai.phantoms.dicom import write_phantom_volume, write_phantom_xray
from medclipsam_monai.presets import DEFAULT_PRESET, load_preset
from medclipsam_monai.weak.ensemble.checkpoint_ensemble import CheckpointEnsemble
from medclipsam_monai.weights.registry import resolve, weight_hash
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter

BUNDLES = Path(__file__).parents[2] / "bundles"
ZERO_SHOT, WEAK = BUNDLES / "medclipsam_zeroshot_segmentation", BUNDLES / "medclipsam_weak_segmentation"


@pytest.fixture(scope="module")
def xray(tmp_path_factory):
    folder = tmp_path_factory.mktemp("xray")
    write_phantom_xray(folder, seed=3)
    return search_study(folder).series[0].source


@pytest.fixture(scope="module")
def ct(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ct")
    write_phantom_volume(folder, slices=2, directions=(1.0, 0.0, 0.0, 0.0, 0.0, -1.0))
    return search_study(folder).series[0].source


@pytest.fixture(scope="module")
def segmenter(tiny_preset):
    return TextSegmenter.from_preset(tiny_preset, "cpu")


def zero_shot(tiny_preset):
    return load_engine(ZERO_SHOT, str(tiny_preset), device="cpu")


def test_a_presets_engine_gives_what_the_segmenter_gives(tiny_preset, segmenter, ct):
    engine = load_engine(None, str(tiny_preset), device="cpu")
    wish = Wish(["lungs", "heart"], window="lung", slice_axis="coronal", pictures=5)
    expected = segmenter(ct, wish.text, window="lung", slice_axis="coronal")
    request = engine.request(wish)
    found = engine.find(ct, request)
    assert torch.equal(found.label_map, expected.label_map) and found.names == ("lungs", "heart")
    assert torch.equal(found.display, expected.display) and found.geometry == expected.geometry
    assert found.record["request"] == request.key(hash_files(ct.paths))
    assert found.record["parameters"]["pictures"] == 5 and found.record["input"] == ct.stem
    assert found.record["weights"] == dict(engine.algorithm.weights) == segmenter.weights


@pytest.mark.parametrize(
    "other",
    [Wish("heart"), Wish("lungs", window="full"), Wish("lungs", pictures=3), Wish("lungs", slice_axis="coronal")],
)
def test_another_wish_is_another_request(tiny_preset, other):
    engine = load_engine(None, str(tiny_preset), device="cpu")
    assert (
        engine.request(Wish("lungs")).key("") == engine.request(Wish("lungs")).key("") != engine.request(other).key("")
    )


def test_the_zero_shot_bundle_gives_what_its_preset_gives_and_has_a_text_of_its_own(tiny_preset, segmenter, xray):
    engine = zero_shot(tiny_preset)
    found = engine.find(xray, engine.request(Wish()))
    assert found.names == ("lungs",)  # the bundle's own text
    assert torch.equal(found.label_map, segmenter(xray, "lungs").label_map)
    assert engine.find(xray, engine.request(Wish("heart"))).names == ("heart",)
    assert engine.algorithm.preset == tiny_preset.stem and dict(engine.algorithm.weights) == segmenter.weights


def test_a_bundles_checkpoint_is_loaded_and_its_hash_recorded(tmp_path, tiny_preset, segmenter, xray):
    bundle = shutil.copytree(ZERO_SHOT, tmp_path / "bundle", ignore=shutil.ignore_patterns("models", "eval"))
    (bundle / "models").mkdir()
    state = {key: torch.zeros_like(value) for key, value in segmenter.network.state_dict().items()}
    torch.save(state, bundle / "models" / "model.pt")
    config = bundle / "configs" / "inference.json"
    config.write_text(config.read_text().replace("or DEFAULT_PRESET", f"or '{tiny_preset}'"))
    engine = load_engine(bundle, device="cpu")
    assert not any(values.any() for values in engine.segmenter.network.state_dict().values())
    assert dict(engine.algorithm.weights) == {"bundle": hash_files([bundle / "models" / "model.pt"])}
    asked = load_engine(bundle, str(tiny_preset), device="cpu")  # a preset that is asked for wins
    assert dict(asked.algorithm.weights) == segmenter.weights
    assert all(
        torch.equal(value, state)
        for value, state in zip(
            asked.segmenter.network.state_dict().values(), segmenter.network.state_dict().values(), strict=True
        )
    )


def test_a_bundle_for_a_newer_package_is_refused(tmp_path):
    bundle = shutil.copytree(WEAK, tmp_path / "bundle", ignore=shutil.ignore_patterns("eval"))
    metadata = bundle / "configs" / "metadata.json"
    metadata.write_text(metadata.read_text().replace('"medclipsam-monai": "', '"medclipsam-monai": "9.'))
    with pytest.raises(InputError, match=r"was made for medclipsam-monai 9\.\S+, and \S+ is installed"):
        load_engine(bundle, device="cpu")


@pytest.fixture(scope="module")
def weak():
    return load_engine(WEAK, device="cpu")


def test_the_weak_bundle_gives_what_its_ensemble_gives(weak, xray):
    assert isinstance(weak, EnsembleEngine)
    request = weak.request(Wish())
    found = weak.find(xray, request)
    ensemble = CheckpointEnsemble.from_file(WEAK / "models" / "model.pt", "cpu", mirroring=False)
    expected = ensemble.predict(xray, **ensemble.reading)
    assert torch.equal(found.label_map, expected.label_map()) and found.label_map.any()
    assert found.record["uncertainty"] == pytest.approx(expected.score())
    assert found.record["request"] == request.key(hash_files(xray.paths))
    assert found.names == ensemble.names[1:] and found.display.shape == (3, *found.label_map.shape)


def test_a_text_for_the_weak_bundle_is_refused(weak):
    with pytest.raises(InputError, match=r"classes are those of its training \(heart\); leave the text out"):
        weak.request(Wish("lungs"))


@pytest.mark.parametrize("bundle", [None, ZERO_SHOT])
def test_where_nobody_names_a_preset_it_is_the_default(bundle):
    engine, preset = load_engine(bundle, device="cpu"), load_preset(DEFAULT_PRESET)
    assert (engine.algorithm.preset, engine.segmenter.preset.parameters) == (preset.name, preset.parameters)
    assert engine.algorithm.weights == {role: weight_hash(resolve(getattr(preset, role))) for role in ("clip", "sam")}


def test_a_preset_for_the_weak_bundle_is_refused():
    with pytest.raises(InputError, match="medclipsam_weak_segmentation has no preset; leave --preset out"):
        load_engine(WEAK, "demo", device="cpu")


def test_a_folder_that_is_no_bundle_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"is no bundle: it has no configs/inference.json"):
        load_engine(tmp_path, device="cpu")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "inference.json").write_text("{")
    with pytest.raises(InputError, match="not a readable JSON file"):
        load_engine(tmp_path, device="cpu")
    config = {"device": "cpu", "network_def": {"_target_": "torch.nn.Identity"}}
    (tmp_path / "configs" / "inference.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="none of this package's for inference"):
        load_engine(tmp_path, device="cpu")


def test_what_a_bundle_misses_is_one_line(tmp_path):
    bundle = shutil.copytree(WEAK, tmp_path / "weak", ignore=shutil.ignore_patterns("models"))
    with pytest.raises(InputError, match=r"model.pt"):
        load_engine(bundle, device="cpu")
    with pytest.raises(InputError, match="unknown preset 'none'"):
        load_engine(ZERO_SHOT, "none", device="cpu")
    with pytest.raises(InputError, match="device 'cuda:77' is not available"):
        load_engine(ZERO_SHOT, device="cuda:77")


def test_the_bundle_at_a_containers_model_path(tmp_path):
    assert bundle_in(None) is None and bundle_in(tmp_path / "none") is None and bundle_in(tmp_path) is None
    shutil.copytree(ZERO_SHOT / "configs", tmp_path / "one" / "configs")
    assert bundle_in(tmp_path) == tmp_path / "one" == bundle_in(tmp_path / "one")
    shutil.copytree(ZERO_SHOT / "configs", tmp_path / "two" / "configs")
    with pytest.raises(InputError, match=r"holds 2 bundles \(one, two\)"):
        bundle_in(tmp_path)
