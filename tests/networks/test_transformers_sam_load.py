"""Folders of promptable networks: the real forms load, everything else is one clear line."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import transformers
from promptable_networks import SETTINGS, random_network, write_network
from safetensors.torch import load_file, save_file

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.networks.transformers_sam.families import FAMILIES
from medclipsam_monai.networks.transformers_sam.load import load_segmenter
from medclipsam_monai.weights.hugging_face.tensors import weight_files
from medclipsam_monai.weights.registry import weight_hash

pytestmark = pytest.mark.usefixtures("offline")
WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_network(tmp_path_factory.mktemp("sam2"), "Sam2")


@pytest.fixture(scope="module")
def in_parts(tmp_path_factory):
    return write_network(tmp_path_factory.mktemp("parts"), "Sam2", max_shard_size="200KB")


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / "sam2")


@pytest.fixture
def parts(in_parts, tmp_path):
    return shutil.copytree(in_parts, tmp_path / "parts")


def change_config(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def change_section(folder: Path, section: str, **changes: object) -> None:
    """Change values of an object in config.json, given by its path: "vision_config.backbone_config"."""
    config = json.loads((folder / "config.json").read_text())
    inner = config
    for name in section.split("."):
        inner = inner[name]
    inner |= changes
    (folder / "config.json").write_text(json.dumps(config))


def change_weights(folder: Path, **changes: torch.Tensor | None) -> None:
    """Put tensors in a folder's weights; None takes one out."""
    state = {**load_file(folder / WHOLE), **changes}
    save_file({key: value for key, value in state.items() if value is not None}, folder / WHOLE)


def same_weights(folder: Path, name: str = "Sam2") -> bool:
    expected, loaded = random_network(name).state_dict(), load_segmenter(folder).network.state_dict()
    assert loaded.keys() == expected.keys()
    return all(torch.equal(value, expected[key]) for key, value in loaded.items())


@pytest.mark.parametrize("name", SETTINGS)
def test_every_family_loads_with_its_very_weights(name, tmp_path):
    assert same_weights(write_network(tmp_path, name), name)


def test_weights_in_parts_load_as_one_file_does(parts):
    assert len(weight_files(parts)) > 2 and not (parts / WHOLE).exists()
    assert same_weights(parts)


def test_the_hash_of_weights_in_parts_changes_with_each_part(parts):
    before = weight_hash(parts)
    last = weight_files(parts)[-1]
    save_file({key: value + 1 for key, value in load_file(last).items()}, last)
    assert len(before) == 64 and weight_hash(parts) not in (before, weight_hash(last))


def test_half_precision_files_load_as_float32(folder):
    change_weights(folder, **{key: value.half() for key, value in load_file(folder / WHOLE).items()})
    network = load_segmenter(folder).network
    assert all(value.dtype == torch.float32 for value in network.parameters())


def test_the_video_networks_checkpoint_loads_as_its_image_part(tmp_path):
    """Meta's own folders are those of Sam2VideoModel, with model_type sam2_video."""
    settings = {
        **SETTINGS["Sam2"],
        "image_size": 128,
        "memory_attention_hidden_size": 32,
        "memory_attention_feed_forward_hidden_size": 48,
        "memory_encoder_hidden_size": 32,
        "memory_fuser_embed_dim": 32,
        "memory_fuser_intermediate_dim": 48,
        "mask_downsampler_embed_dim": 32,
        "memory_attention_rope_feat_sizes": [8, 8],
    }
    video = random_network("Sam2Video", settings)
    video.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "sam2_video"
    network = load_segmenter(tmp_path).network
    assert type(network) is transformers.Sam2Model
    expected = video.state_dict()
    assert any(key.startswith("memory_attention.") for key in expected)
    assert all(torch.equal(value, expected[key]) for key, value in network.state_dict().items())


def test_the_tracker_is_found_in_the_folder_of_all_of_sam_3(tmp_path):
    tracker = write_network(tmp_path / "tracker", "Sam3Tracker")
    config = json.loads((tracker / "config.json").read_text())
    whole = tmp_path / "whole"
    whole.mkdir()
    (whole / "config.json").write_text(
        json.dumps({"model_type": "sam3_video", "architectures": ["Sam3VideoModel"], "tracker_config": config})
    )
    state = {}
    for key, value in random_network("Sam3Tracker").state_dict().items():
        for old, new in (
            ("vision_encoder.backbone.", "detector_model.vision_encoder.backbone."),
            ("vision_encoder.neck.", "tracker_neck."),
            ("", "tracker_model."),
        ):
            if key.startswith(old):
                state[new + key.removeprefix(old)] = value.clone()
                break
    state["detector_model.text_encoder.weight"] = torch.zeros(3)
    state["tracker_model.memory_encoder.weight"] = torch.zeros(3)
    save_file(state, whole / WHOLE)
    assert same_weights(whole, "Sam3Tracker")


def test_one_of_two_names_of_the_shared_positions_is_enough(folder):
    change_weights(folder, **{"prompt_encoder.shared_embedding.positional_embedding": None})
    network = load_segmenter(folder).network
    shared = network.shared_image_embedding.positional_embedding
    assert torch.equal(network.prompt_encoder.shared_embedding.positional_embedding, shared)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "clip"}, r"has model_type 'clip'; expected one of sam2, sam2_video, edgetam"),
        ({"model_type": None}, r"has no model_type; expected one of sam2"),
        ({"model_type": ["sam2"]}, r"has model_type a list of 1; expected"),
        ({"model_type": "edgetam"}, r"architectures in .* is 'Sam2Model'; expected EdgeTamModel"),
        ({"architectures": ["os.system"]}, r"architectures in .* is 'os.system'; expected Sam2Model or Sam2VideoModel"),
        ({"architectures": "Sam2Model"}, r"architectures in .* is 'Sam2Model'; expected"),
        ({"vision_config": 3}, r"vision_config in .*config.json must be an object, got 3"),
    ],
)
def test_a_folder_of_another_kind_is_said(folder, changes, message):
    change_config(folder, **changes)
    with pytest.raises(InputError, match=message):
        load_segmenter(folder)


@pytest.mark.parametrize(
    ("section", "changes", "message"),
    [
        ("vision_config.backbone_config", {"hidden_size": 10**9}, "hidden_size in backbone_config in vision_config"),
        ("vision_config.backbone_config", {"blocks_per_stage": [1, 2, 2, 10**6]}, "blocks_per_stage in"),
        ("vision_config.backbone_config", {"model_type": "timm_wrapper"}, "must be sam2_hiera_det_model, got 'timm_wr"),
        ("vision_config", {"model_type": "sam3_vision_model"}, "must be sam2_vision_model, got"),
        ("vision_config", {"backbone_feature_sizes": [[32, 32]]}, "backbone_feature_sizes in vision_config"),
        ("vision_config", {"num_feature_levels": 2}, "num_feature_levels in vision_config in .* must be 3, got 2"),
        ("prompt_encoder_config", {"image_size": 10**6}, "image_size in prompt_encoder_config in .* must be a whole"),
        ("mask_decoder_config", {"hidden_act": "__import__('os')"}, "hidden_act in .* must be one of gelu, relu"),
        ("mask_decoder_config", {"num_hidden_layers": True}, "num_hidden_layers in .* must be a whole number"),
        ("prompt_encoder_config", {"image_size": 96}, "describes no network that works"),
        ("vision_config", {"backbone_feature_sizes": [[32, 32], [16, 16], [9, 9]]}, "describes no network that works"),
        ("vision_config.backbone_config", {"num_attention_heads_per_stage": [1, 2]}, "describes no network that works"),
        ("mask_decoder_config", {"mlp_dim": 40}, "another architecture than this Sam2Model: .* of another shape"),
        ("mask_decoder_config", {"num_hidden_layers": 3}, "another architecture than this Sam2Model: .* missing"),
    ],
)
def test_sizes_that_cannot_be_are_refused_before_memory_is_taken(folder, section, changes, message):
    change_section(folder, section, **changes)
    with pytest.raises(InputError, match=message) as refused:
        load_segmenter(folder)
    assert "\n" not in str(refused.value)


def test_what_is_no_size_is_not_passed_on(folder):
    change_config(folder, custom="os.system", dtype="float16", id2label=None)
    change_section(folder, "vision_config.backbone_config", evil="x", initializer_range="a text")
    assert same_weights(folder)


@pytest.mark.parametrize("section", ["", "vision_config", "vision_config.backbone_config"])
def test_code_to_fetch_or_run_is_refused(folder, section):
    evil = {"auto_map": {"AutoModel": "evil--evil.Model"}}
    change_section(folder, section, **evil) if section else change_config(folder, **evil)
    with pytest.raises(InputError, match=r"names code to run or fetch \(auto_map\); expected settings only"):
        load_segmenter(folder)


def test_another_timm_network_is_refused(tmp_path):
    folder = write_network(tmp_path, "EdgeTam")
    change_section(folder, "vision_config.backbone_config", architecture="hf-hub:someone/something")
    with pytest.raises(InputError, match=r"architecture in backbone_config .* must be one of repvit_m1"):
        load_segmenter(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask_decoder.iou_token.weight": None}, r"1 names missing \(first mask_decoder.iou_token.weight\)"),
        ({"mask_decoder.iou_token.weight": torch.zeros(1, 31)}, r"is \(1, 31\), expected \(1, 32\)"),
        ({"text_model.weight": torch.zeros(2)}, r"1 unknown \(first text_model.weight\)"),
        ({"mask_decoder.iou_token.weight": torch.full((1, 32), torch.nan)}, "holds NaN or infinity"),
        ({"mask_decoder.iou_token.weight": torch.zeros(1, 32, dtype=torch.int8)}, "holds int8; expected float32"),
    ],
)
def test_weights_that_do_not_fit_are_refused(folder, changes, message):
    change_weights(folder, **changes)
    with pytest.raises(InputError, match=message):
        load_segmenter(folder)


@pytest.mark.parametrize("kept", [0, 7, 200, 100_000])
def test_a_truncated_file_is_refused(folder, kept):
    (folder / WHOLE).write_bytes((folder / WHOLE).read_bytes()[:kept])
    with pytest.raises(InputError, match=r"model.safetensors is not a whole safetensors file .*; download it again"):
        load_segmenter(folder)


def test_a_missing_part_is_named(parts):
    weight_files(parts)[1].unlink()
    with pytest.raises(InputError, match=r"lacks model-00002-of-0000\d.safetensors, one of \d parts"):
        load_segmenter(parts)


def test_a_truncated_part_is_named(parts):
    last = weight_files(parts)[-1]
    last.write_bytes(last.read_bytes()[:-50])
    with pytest.raises(InputError, match=f"{last.name} is not a whole safetensors file"):
        load_segmenter(parts)


def test_a_part_without_what_the_index_says_is_refused(parts):
    last = weight_files(parts)[-1]
    state = load_file(last)
    lost = sorted(state)[0]
    save_file({key: value for key, value in state.items() if key != lost}, last)
    with pytest.raises(InputError, match=f"{last.name} lacks {lost}, which {INDEX} says is in it"):
        load_segmenter(parts)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({}, "weight_map in .* must be an object of files by tensor, got None"),
        (
            {"weight_map": {"a": "../elsewhere.safetensors"}},
            "must name safetensors files beside it, got '../elsewhere",
        ),
        ({"weight_map": {"a": "weights.bin"}}, "must name safetensors files beside it, got 'weights.bin'"),
        ({"weight_map": {"a": 3}}, "must name safetensors files beside it, got 3"),
    ],
)
def test_an_index_that_names_no_plain_files_is_refused(parts, index, message):
    (parts / INDEX).write_text(json.dumps(index))
    with pytest.raises(InputError, match=message):
        load_segmenter(parts)


def test_a_pickle_in_a_folder_is_not_read(folder):
    (folder / WHOLE).rename(folder / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"holds no weights; expected model.safetensors, or several parts and"):
        load_segmenter(folder)


@pytest.mark.parametrize("source", ["hf-hub:facebook/sam2.1-hiera-tiny", "facebook/sam2.1-hiera-tiny"])
def test_a_name_is_no_folder(source):
    with pytest.raises(InputError, match=f"not found: {source}; expected a local folder"):
        load_segmenter(source)


def test_an_image_size_is_not_for_a_folder(folder):
    with pytest.raises(InputError, match=r"image_size is for a .pt file; .* says it, got 512"):
        load_segmenter(folder, image_size=512)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Sam2", r"SAM 2 \(arXiv:2408.00714\) needs transformers 4.56 or newer, got 4.48.0"),
        ("EdgeTam", r"EdgeTAM .* needs transformers 4.57 or newer, got 4.48.0; pip install 'transformers>=4.57'"),
    ],
)
def test_a_transformers_that_is_too_old_is_said(name, message, tmp_path, monkeypatch):
    folder = write_network(tmp_path, name)
    monkeypatch.setitem(sys.modules, "transformers", SimpleNamespace(__version__="4.48.0"))
    with pytest.raises(InputError, match=message):
        load_segmenter(folder)


def test_every_model_type_is_one_of_the_librarys():
    known = dict(transformers.models.auto.configuration_auto.CONFIG_MAPPING_NAMES)
    assert FAMILIES.keys() <= known.keys()
    assert all(hasattr(transformers, name) for family in FAMILIES.values() for name in (family.model, family.config))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_mean": [0.1, 0.2]}, r"image_mean in .*preprocessor_config.json must be a list of 3"),
        ({"image_std": [0, 0, 0]}, r"image_std in .* must be a list of 3, each a number from 0.001 to 10"),
    ],
)
def test_a_processor_that_cannot_be_is_refused(folder, settings, message):
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.raises(InputError, match=message):
        load_segmenter(folder)
