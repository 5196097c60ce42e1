"""Weights and settings of CLIP and SAM come from anywhere: whatever is in them, they are data or one line."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import zipfile

import pytest
import torch
from hostile import Touch, refuses
from safetensors.torch import load_file, save_file

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.finetune.checkpoint import load_best
from medclipsam_monai.networks.clip.load import load_text_image_encoder
from medclipsam_monai.networks.clip.preprocess import Preprocess
from medclipsam_monai.networks.sam.sizes import SamSize, load_sam
from medclipsam_monai.weights.convert import convert
from medclipsam_monai.weights.state_dicts import read_state_dict, to_open_clip

pytestmark = pytest.mark.usefixtures("offline")
NESTED = "[" * 3000 + "]" * 3000
CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"


@pytest.fixture
def clip(clip_folder, tmp_path):
    return shutil.copytree(clip_folder, tmp_path / "clip")


@pytest.fixture
def sam(sam_folder, tmp_path):
    return shutil.copytree(sam_folder, tmp_path / "sam")


def change(path, keys, value):
    """Put a value at some place of a JSON file."""
    content = json.loads(path.read_text()) if path.is_file() else {}
    place = content
    for key in keys[:-1]:
        place = place.setdefault(key, {})
    place[keys[-1]] = value
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("form", ["pickle", "torch", "old_torch"])
@pytest.mark.parametrize("loader", ["clip", "sam", "convert", "best"])
def test_a_weights_file_that_holds_code_runs_none(form, loader, tmp_path, marker, encoder):
    path = tmp_path / "weights.bin"
    if form == "pickle":
        path.write_bytes(pickle.dumps({"model": Touch(marker)}))
    else:
        content = {"model": {"w": Touch(marker)}, "network": Touch(marker)}
        torch.save(content, path, _use_new_zipfile_serialization=form == "torch")
    load = {
        "clip": lambda: load_text_image_encoder(path),
        "sam": lambda: load_sam(path),
        "convert": lambda: convert(path, tmp_path / "out.safetensors", "open_clip"),
        "best": lambda: load_best(encoder.clip, path),
    }[loader]
    assert "weights.bin is refused: opening it could run code" in refuses(load)


BROKEN = {
    "text": b"these are no weights\n",
    "empty": b"",
    "one_byte": b"\x80",
    "zip_of_nothing": b"PK\x05\x06" + b"\0" * 18,
    "json": b'{"a": 1}',
    "huge_header": (2**62).to_bytes(8, "little") + b"{}",
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("name", ["w.bin", "w.safetensors", "w.pt", "w.pth"])
def test_what_are_no_weights_are_one_line(content, name, tmp_path):
    (tmp_path / name).write_bytes(content)
    for load in (load_text_image_encoder, load_sam):
        assert str(tmp_path / name) in refuses(lambda load=load: load(tmp_path / name))


@pytest.mark.parametrize("name", ["w.bin", "w.safetensors"])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.9, 0.999])
def test_truncated_weights_are_one_line(name, part, tmp_path, clip_folder):
    state = load_file(clip_folder / WEIGHTS)
    whole = tmp_path / name
    save_file(state, whole) if name.endswith("safetensors") else torch.save(state, whole)
    whole.write_bytes(whole.read_bytes()[: int(part * whole.stat().st_size)])
    refuses(lambda: load_text_image_encoder(whole))


def test_a_folder_or_a_pipe_in_place_of_weights_is_one_line(clip, sam, tmp_path):
    for folder, name in ((clip, WEIGHTS), (sam, "sam.safetensors")):
        (folder / name).unlink()
        (folder / name).mkdir()
    refuses(lambda: load_text_image_encoder(clip))
    assert "is a folder" in refuses(lambda: load_sam(sam))
    os.mkfifo(tmp_path / "pipe.bin")
    assert "no such" in refuses(lambda: load_sam(tmp_path / "pipe.bin"))


def test_a_compressed_weights_file_is_not_unpacked(tmp_path, clip_folder):
    torch.save(load_file(clip_folder / WEIGHTS), tmp_path / "plain.bin")
    with (
        zipfile.ZipFile(tmp_path / "plain.bin") as plain,
        zipfile.ZipFile(tmp_path / "packed.bin", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry))
    assert "is compressed" in refuses(lambda: read_state_dict(tmp_path / "packed.bin"))


def nan(value):
    return torch.full_like(value, torch.nan)


def one_infinity(value):
    changed = value.clone()
    changed.view(-1)[-1] = -torch.inf
    return changed


def too_large_for_float32(value):
    return torch.full_like(value, 1e300, dtype=torch.float64)


def too_few_numbers(value):
    return torch.zeros(1).expand(value.shape)


WRONG = {
    "int8": lambda value: value.to(torch.int8),
    "uint8": lambda value: value.to(torch.uint8),
    "int64": lambda value: value.to(torch.int64),
    "bool": lambda value: value.bool(),
    "complex": lambda value: value.to(torch.complex64),
    "float8": lambda value: value.to(torch.float8_e4m3fn),
    "sparse": lambda value: value.to_sparse(),
    "nan": nan,
    "infinity": one_infinity,
    "float64": too_large_for_float32,
    "expanded": too_few_numbers,
    "meta": lambda value: value.to("meta"),
}
NOT_IN_SAFETENSORS = [WRONG[name] for name in ("complex", "sparse", "expanded", "meta")]  # complex: in new ones alone


def as_clip_folder(folder, weights):
    """A CLIP's folder with these weights in place of its own."""
    (folder / WEIGHTS).unlink()
    shutil.copy(weights, folder / "pytorch_model.bin")
    return folder


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("which", ["clip", "sam", "best"])
def test_weights_that_no_network_can_have_are_refused_by_the_name_of_the_first(
    wrong, which, tmp_path, clip, sam, encoder
):
    state = load_file(sam / "sam.safetensors" if which == "sam" else clip / WEIGHTS)
    key = sorted(state)[3]
    state[key] = wrong(state[key])
    path = tmp_path / "weights.pt"
    if which == "sam" and wrong not in NOT_IN_SAFETENSORS:
        path = sam / "sam.safetensors"
        save_file(state, path)
    else:
        torch.save({"model": state}, path)
    load = {
        "clip": lambda: load_text_image_encoder(as_clip_folder(clip, path)),
        "sam": lambda: load_sam(sam if path.parent == sam else path),
        "best": lambda: load_best(encoder.clip, path),
    }[which]
    assert f": {key} " in refuses(load)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float32])
def test_any_floating_point_weights_are_loaded(dtype, clip, sam):
    for folder, name in ((clip, WEIGHTS), (sam, "sam.safetensors")):
        state = {key: value.to(dtype) for key, value in load_file(folder / name).items() if value.is_floating_point()}
        save_file(state, folder / name)
    encoder = load_text_image_encoder(clip)
    name, weight = next(iter(encoder.clip.visual.trunk.named_parameters()))
    assert weight.dtype == torch.float32
    assert torch.equal(weight, load_file(clip / WEIGHTS)[f"visual.trunk.{name}"].float())
    assert next(load_sam(sam).parameters()).dtype == torch.float32


def test_keys_and_values_of_unlike_shapes_are_one_line():
    prefix = "vision_model.encoder.layers.0.self_attn"
    state = {f"{prefix}.{part}_proj.weight": torch.zeros(4, 4) for part in "qkv"}
    state[f"{prefix}.k_proj.weight"] = torch.zeros(3, 5)
    assert "another shape" in refuses(lambda: to_open_clip(state))


MODEL, VISION, TEXT = ("model_cfg",), ("model_cfg", "vision_cfg"), ("model_cfg", "text_cfg")
SETTINGS = [
    (CONFIG, ("model_cfg",), []),
    (CONFIG, ("model_cfg",), None),
    (CONFIG, ("model_cfg",), "ViT-B-32"),
    (CONFIG, VISION, []),
    (CONFIG, TEXT, [1]),
    (CONFIG, TEXT, "roberta"),
    (CONFIG, ("preprocess_cfg",), []),
    (CONFIG, (*MODEL, "embed_dim"), "24"),
    (CONFIG, (*MODEL, "embed_dim"), 10**9),
    (CONFIG, (*MODEL, "multimodal_cfg"), {}),
    (CONFIG, (*MODEL, "cast_dtype"), "os.system"),
    (CONFIG, (*VISION, "timm_model_name"), "hf-hub:evil/model"),
    (CONFIG, (*VISION, "timm_model_name"), "local-dir:/etc"),
    (CONFIG, (*VISION, "timm_model_name"), "../../evil"),
    (CONFIG, (*VISION, "timm_model_name"), ["test_vit"]),
    (CONFIG, (*VISION, "timm_model_pretrained"), "yes"),
    (CONFIG, (*VISION, "image_size"), 0),
    (CONFIG, (*VISION, "image_size"), -160),
    (CONFIG, (*VISION, "image_size"), 10**6),
    (CONFIG, (*VISION, "image_size"), 160.0),
    (CONFIG, (*VISION, "image_size"), [160, 0]),
    (CONFIG, (*VISION, "payload"), 1),
    (CONFIG, (*VISION, "norm_kwargs"), {"device": "cuda"}),
    (CONFIG, (*VISION, "act_kwargs"), []),
    (CONFIG, (*TEXT, "tokenizer_kwargs"), {"trust_remote_code": True}),
    (CONFIG, (*TEXT, "tokenizer_kwargs"), {"cache_dir": "/"}),
    (CONFIG, (*TEXT, "tokenizer_kwargs"), []),
    (CONFIG, (*TEXT, "tokenizer_mode"), "bert_clips"),
    (CONFIG, (*TEXT, "hf_model_name"), 7),
    (CONFIG, (*TEXT, "hf_model_name"), ""),
    (CONFIG, (*TEXT, "hf_tokenizer_name"), {"a": 1}),
    (CONFIG, (*TEXT, "hf_pooler_type"), "os.system"),
    (CONFIG, (*TEXT, "hf_proj_type"), "os.system"),
    (CONFIG, (*TEXT, "context_length"), 0),
    (CONFIG, (*TEXT, "context_length"), 10**9),
    (CONFIG, (*TEXT, "context_length"), 65),
    (CONFIG, ("preprocess_cfg", "mean"), [0.5, 0.5]),
    (CONFIG, ("preprocess_cfg", "mean"), [0.5, 0.5, float("nan")]),
    (CONFIG, ("preprocess_cfg", "mean"), "0.5"),
    (CONFIG, ("preprocess_cfg", "std"), [0.5, 0, 0.5]),
    (CONFIG, ("preprocess_cfg", "std"), [0.5, -0.5, 0.5]),
    (CONFIG, ("preprocess_cfg", "std"), [0.5, 0.5, float("inf")]),
    (CONFIG, ("preprocess_cfg", "std"), [0.5, 0.5, 0.5, 0.5]),
    ("config.json", ("auto_map",), {"AutoConfig": "evil.Config"}),
    ("config.json", ("model_type",), "evil"),
    ("config.json", ("model_type",), ["bert"]),
    ("config.json", ("quantization_config",), {"quant_method": "gptq"}),
    ("config.json", ("_attn_implementation",), "evil/kernel"),
    ("config.json", ("text_config",), []),
    ("config.json", ("text_config", "auto_map"), {"AutoModel": "evil.Model"}),
    ("config.json", ("hidden_size",), 10**9),
    ("config.json", ("hidden_size",), 33),
    ("config.json", ("num_hidden_layers",), -1),
    ("config.json", ("vocab_size",), 3),
    ("config.json", ("hidden_act",), "os.system"),
    ("tokenizer_config.json", ("tokenizer_class",), "EvilTokenizer"),
    ("tokenizer_config.json", ("tokenizer_class",), ["os", "system"]),
    ("tokenizer_config.json", ("auto_map",), {"AutoTokenizer": ["evil.Tokenizer", None]}),
    ("tokenizer_config.json", ("trust_remote_code",), True),
    ("tokenizer_config.json", ("added_tokens_decoder",), {"0": "os.system"}),
    ("tokenizer_config.json", ("added_tokens_decoder",), [1]),
    ("tokenizer_config.json", ("model_max_length",), "long"),
    ("tokenizer_config.json", ("unk_token",), {"content": ["x"]}),
    ("tokenizer.json", ("model",), []),
    ("tokenizer.json", ("model",), {"type": "Evil"}),
    ("tokenizer.json", ("model", "vocab"), {"lung": -1}),
    ("tokenizer.json", ("model", "vocab", "lung"), 10**6),
    ("tokenizer.json", ("pre_tokenizer",), {"type": "Evil"}),
    ("tokenizer.json", ("added_tokens",), 3),
    ("special_tokens_map.json", ("unk_token",), 5),
]


@pytest.mark.parametrize(("file", "keys", "value"), SETTINGS, ids=lambda value: str(value)[:40])
def test_settings_of_a_clip_are_settings_and_nothing_else(file, keys, value, clip):
    change(clip / file, keys, value)
    assert str(clip) in refuses(lambda: load_text_image_encoder(clip))


@pytest.mark.parametrize("file", [CONFIG, "config.json", "tokenizer_config.json", "tokenizer.json"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"a": 1, "a": 2}',
        b"\xff\xfe{\x00}",
        b'"\\ud800"',
        NESTED.encode(),
        b"\x80\x04K\x01.",
    ],
    ids=["empty", "cut", "list", "null", "twice", "utf16", "surrogate", "nested", "pickle"],
)
def test_a_damaged_settings_file_is_one_line(file, content, clip):
    (clip / file).write_bytes(content)
    assert file in refuses(lambda: load_text_image_encoder(clip))


@pytest.mark.parametrize("file", [CONFIG, "config.json", "tokenizer_config.json", "tokenizer.json", "vocab.txt"])
def test_a_folder_in_place_of_a_settings_file_is_one_line(file, clip):
    (clip / file).unlink()
    (clip / file).mkdir()
    refuses(lambda: load_text_image_encoder(clip))


@pytest.mark.parametrize("name", ["config.json", CONFIG, "tokenizer_config.json"])
def test_code_beside_the_weights_stays_where_it_is(name, clip, marker):
    """The names of the released files that carry code, and what makes the libraries look for it."""
    for module in ("evil.py", "modeling.py", "configuration.py", "tokenization.py"):
        (clip / module).write_text(f"import os\nos.system('touch {marker}')\nclass Evil: pass\n")
    change(clip / name, ("auto_map",), {"AutoConfig": "evil.Evil", "AutoTokenizer": ["evil.Evil", None]})
    if name == CONFIG:  # nothing looks there
        assert load_text_image_encoder(clip).num_blocks
    else:
        assert "names code to run or fetch (auto_map)" in refuses(lambda: load_text_image_encoder(clip))


def test_names_of_hub_models_and_of_folders_are_not_looked_up(clip):
    for key in ("hf_model_name", "hf_tokenizer_name"):
        change(clip / CONFIG, (*TEXT, key), "/etc")
    change(clip / CONFIG, (*TEXT, "hf_model_pretrained"), True)
    change(clip / CONFIG, (*VISION, "timm_model_pretrained"), True)
    change(clip / "config.json", ("_name_or_path",), "evil/model")
    change(clip / "tokenizer_config.json", ("name_or_path",), "evil/model")
    change(clip / "tokenizer_config.json", ("tokenizer_file",), "/etc/passwd")
    encoder = load_text_image_encoder(clip)
    assert encoder.encode_text(["lungs"]).shape == (1, 24)


SIZES = [
    ("image_size", 0),
    ("image_size", 10**6),
    ("image_size", 100),
    ("image_size", "128"),
    ("encoder_embed_dim", 10**9),
    ("encoder_embed_dim", 49),
    ("encoder_depth", 10**6),
    ("encoder_num_heads", 0),
    ("encoder_global_attn_indexes", ["os.system"]),
    ("encoder_global_attn_indexes", 1),
    ("window_size", -1),
    ("decoder_mlp_dim", True),
    ("decoder_num_heads", 5),
    ("norm_layer", "torch.nn.functional.torch.os.system"),
]


@pytest.mark.parametrize(("key", "value"), SIZES)
def test_sizes_of_a_sam_are_sizes(key, value, sam):
    change(sam / "config.json", (key,), value)
    assert str(sam) in refuses(lambda: load_sam(sam))


def test_a_size_that_the_weights_do_not_have_takes_no_memory(sam):
    """Built, these would be 60 GB."""
    for key, value in (("encoder_embed_dim", 8184), ("encoder_depth", 100)):
        change(sam / "config.json", (key,), value)
    assert "another architecture" in refuses(lambda: load_sam(sam))


@pytest.mark.parametrize("content", ["", "[]", "{", NESTED, '{"image_size": 1, "image_size": 2}', "null"])
def test_a_damaged_size_file_is_one_line(content, sam):
    (sam / "config.json").write_text(content)
    assert "config.json" in refuses(lambda: load_sam(sam))


@pytest.mark.parametrize(
    ("size", "mean", "std"),
    [
        (0, (0.5,) * 3, (0.5,) * 3),
        (10**6, (0.5,) * 3, (0.5,) * 3),
        (224, (0.5,) * 2, (0.5,) * 3),
        (224, (float("nan"),) * 3, (0.5,) * 3),
        (224, (0.5,) * 3, (0.5,) * 4),
        (224, (0.5,) * 3, (0.5, 0.0, 0.5)),
        (224, (0.5,) * 3, (0.5, -1.0, 0.5)),
        (224, (0.5,) * 3, (0.5, 0.5, float("inf"))),
    ],
)
def test_a_preparation_that_makes_no_picture_is_refused(size, mean, std):
    refuses(lambda: Preprocess(size, mean, std))


def test_sizes_read_from_a_file_are_those_it_holds(sam):
    size = SamSize.from_dict(json.loads((sam / "config.json").read_text()), "x")
    assert (size.encoder_depth, size.encoder_global_attn_indexes) == (3, (1,))


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[2J", "x" * 501])
def test_a_name_that_would_not_fit_in_an_errors_line_is_refused(tmp_path, name):
    torch.save({name: torch.zeros(2)}, tmp_path / "a.pt")
    with pytest.raises(InputError, match="names of at most 500 plain characters") as raised:
        read_state_dict(tmp_path / "a.pt")
    assert str(raised.value).isprintable() and len(str(raised.value)) < 400


def test_a_tensor_of_endless_axes_is_refused(tmp_path):
    header = json.dumps({"a": {"dtype": "F32", "shape": [1] * 5000, "data_offsets": [0, 4]}}).encode()
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(InputError, match="'a' has 5000 dimensions; expected tensors of at most 8"):
        read_state_dict(tmp_path / "a.safetensors")


def test_a_torchscript_file_is_refused_without_a_warning(tmp_path, recwarn):
    torch.jit.save(torch.jit.trace(torch.nn.ReLU(), torch.zeros(1)), tmp_path / "a.pt")
    recwarn.clear()
    with pytest.raises(InputError, match=r"is compressed|is not a whole weights file"):
        read_state_dict(tmp_path / "a.pt")
    assert not recwarn.list
