"""Folders that transformers saved: what is wrong with one is one line, and nothing is run or fetched."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import pickle

import pytest
import torch
from encoder_folders import CLIP, KINDS, SIGLIP, write_encoder, write_hugging_face_folder, write_spiece_model
from safetensors.torch import load_file, save_file

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.networks.clip.load import load_text_image_encoder
from medclipsam_monai.networks.clip.transformers_encoder import load_transformers_encoder
from medclipsam_monai.weights.registry import weight_hash

pytestmark = pytest.mark.usefixtures("offline")
INDEX = "model.safetensors.index.json"
PARTS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


@pytest.fixture
def siglip(tmp_path):
    return write_hugging_face_folder(tmp_path / "siglip", SIGLIP)


@pytest.fixture
def clip(tmp_path):
    return write_hugging_face_folder(tmp_path / "clip", CLIP)


def refused(folder) -> str:
    """The one line that says what is wrong with a folder."""
    with pytest.raises(InputError) as caught:
        load_transformers_encoder(folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


def change(path, keys, value):
    content = json.loads(path.read_text())
    place = content
    for key in keys[:-1]:
        place = place.setdefault(key, {})
    place[keys[-1]] = value
    path.write_text(json.dumps(content))


def in_parts(folder):
    """The weights in two files with an index."""
    state = load_file(folder / "model.safetensors")
    half = len(state) // 2
    names = list(state)
    where = {name: PARTS[names.index(name) >= half] for name in names}
    for part in PARTS:
        save_file({name: state[name] for name in names if where[name] == part}, folder / part)
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": where}))
    (folder / "model.safetensors").unlink()
    return folder


def embedding(folder):
    encoder = load_transformers_encoder(folder)
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    return encoder.encode_image(image), encoder.encode_text(["lungs"])


def test_weights_in_parts_are_the_same_weights(siglip):
    whole = embedding(siglip)
    assert all(torch.equal(a, b) for a, b in zip(embedding(in_parts(siglip)), whole, strict=True))
    lines = "".join(f"{hashlib.sha256((siglip / part).read_bytes()).hexdigest()}  {part}\n" for part in PARTS)
    assert weight_hash(siglip) == hashlib.sha256(lines.encode()).hexdigest()


def test_a_pickle_of_plain_tensors_loads_and_one_that_holds_more_does_not(clip):
    whole = embedding(clip)
    state = load_file(clip / "model.safetensors")
    (clip / "model.safetensors").unlink()
    torch.save({**state, "text_model.embeddings.position_ids": torch.arange(16)[None]}, clip / "pytorch_model.bin")
    assert all(torch.equal(a, b) for a, b in zip(embedding(clip), whole, strict=True))
    (clip / "pytorch_model.bin").write_bytes(pickle.dumps({"w": os.getcwd}))
    assert "could run code" in refused(clip)


def test_half_precision_is_read_as_float32(siglip):
    state = {name: value.bfloat16() for name, value in load_file(siglip / "model.safetensors").items()}
    save_file(state, siglip / "model.safetensors")
    assert load_transformers_encoder(siglip).clip.logit_scale.dtype == torch.float32


def test_old_files_repeat_the_towers_under_another_name_and_say_2_for_the_end(clip):
    whole = embedding(clip)
    content = json.loads((clip / "config.json").read_text())
    content["text_config_dict"], content["text_config"] = content["text_config"], {"hidden_size": 12}
    content |= {"vision_config_dict": None, "torch_dtype": "float32", "bad_words_ids": None}
    (clip / "config.json").write_text(json.dumps(content))
    assert all(torch.equal(a, b) for a, b in zip(embedding(clip), whole, strict=True))
    change(clip / "config.json", ("text_config_dict", "eos_token_id"), 2)
    assert "a sentence ends with token 1 in the tokenizer" in refused(clip), "2 stands for the largest number"


def test_transformers_5_keeps_both_processors_in_one_file(siglip):
    inner = json.loads((siglip / "preprocessor_config.json").read_text())
    (siglip / "preprocessor_config.json").unlink()
    (siglip / "processor_config.json").write_text(json.dumps({"image_processor": inner}))
    assert load_transformers_encoder(siglip).preprocess.mean == (0.5, 0.4, 0.3)
    change(siglip / "processor_config.json", ("image_processor", "do_normalize"), False)
    assert load_transformers_encoder(siglip).preprocess.std == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config.json", "lacks config.json; expected a folder as transformers saves a CLIP"),
        ("model.safetensors", "holds no weights; expected model.safetensors, model.safetensors.index.json with its"),
        ("tokenizer.json", "lacks tokenizer.json; expected that, or spiece.model"),
    ],
)
def test_a_missing_file_is_named(siglip, missing, message):
    (siglip / missing).unlink()
    assert message in refused(siglip)


def test_a_tokenizer_may_be_missing_where_its_words_are_there(siglip):
    whole = embedding(siglip)
    (siglip / "tokenizer.json").unlink()
    write_spiece_model(siglip / "spiece.model")
    assert all(torch.equal(a, b) for a, b in zip(embedding(siglip), whole, strict=True))


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("model_type",), "sam2", "must be one of clip, siglip, got 'sam2', a SAM 2"),
        (("model_type",), "siglip2", "got 'siglip2', a SigLIP 2 that takes pictures of any shape"),
        (("model_type",), "clip_vision_model", "the image half of a CLIP alone"),
        (("model_type",), "os.system", "must be one of clip, siglip, got 'os.system'"),
        (("model_type",), ["siglip"], "must be one of clip, siglip, got a list of 1"),
        (("auto_map",), {"AutoModel": "code.Model"}, "names code to run or fetch (auto_map)"),
        (("vision_config", "auto_map"), {"AutoModel": "code.Model"}, "names code to run or fetch (auto_map)"),
        (("vision_config", "_attn_implementation"), "user/kernel", "names code to run or fetch"),
        (("vision_config", "model_type"), "vit", "must be siglip_vision_model, got 'vit'"),
        (("text_config", "model_type"), "bert", "is loaded by the encoder clip"),
        (("vision_config",), 3, "vision_config in"),
        (("vision_config", "hidden_size"), 10**9, "hidden_size in vision_config of"),
        (("vision_config", "hidden_size"), "32", "must be a whole number from 1 to 16384"),
        (("vision_config", "image_size"), 10**6, "image_size in vision_config of"),
        (("vision_config", "patch_size"), 65, "patch_size in"),
        (("vision_config", "num_channels"), 1, "num_channels in vision_config of"),
        (("vision_config", "num_hidden_layers"), True, "num_hidden_layers in vision_config of"),
        (("vision_config", "vision_use_head"), False, "vision_use_head in vision_config of"),
        (("vision_config", "hidden_act"), "torch.nn.GELU", "hidden_act in vision_config of"),
        (("vision_config", "num_attention_heads"), 5, "describes no SiglipModel"),
        (("text_config", "projection_size"), 48, "gives texts 48 numbers and pictures 32; expected the same"),
        (("text_config", "vocab_size"), 40, "another architecture"),
        (("text_config", "max_position_embeddings"), 65_536, "another architecture"),
        (("vision_config", "num_hidden_layers"), 200, "another architecture"),
    ],
)
def test_settings_that_are_none_are_named(siglip, keys, value, message):
    change(siglip / "config.json", keys, value)
    assert message in refused(siglip)


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("image_mean",), [0.5, 0.5], "image_mean in"),
        (("image_std",), [0, 1, 1], "image_std in"),
        (("rescale_factor",), 1.0, "must be 1/255"),
        (("do_rescale",), False, "must be 1/255"),
        (("auto_map",), {"AutoImageProcessor": "code.P"}, "names code to run or fetch"),
    ],
)
def test_settings_of_pictures_that_are_none_are_named(siglip, keys, value, message):
    change(siglip / "preprocessor_config.json", keys, value)
    assert message in refused(siglip)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", b"{", "not a readable JSON file"),
        ("config.json", b"[]", "must hold a JSON object"),
        ("model.safetensors", b"no weights", "not a whole safetensors file"),
        ("tokenizer.json", b"{}", "model in"),
        ("tokenizer.json", b'{"model": {"type": "Magic"}}', "cannot be used"),
        ("tokenizer_config.json", b'{"auto_map": {"AutoTokenizer": "code.T"}}', "names code to run or fetch"),
        ("tokenizer_config.json", b'{"eos_token": 7}', "must be a text, got 7"),
        ("tokenizer_config.json", b'{"eos_token": "<end>"}', "has no token '<end>', its eos_token"),
        ("preprocessor_config.json", b"x", "not a readable JSON file"),
    ],
)
def test_damaged_files_are_named(siglip, name, content, message):
    (siglip / name).write_bytes(content)
    assert message in refused(siglip)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_file_is_no_whole_one(siglip, share):
    whole = (siglip / "model.safetensors").read_bytes()
    (siglip / "model.safetensors").write_bytes(whole[: int(len(whole) * share)])
    assert "not a whole safetensors file" in refused(siglip)
    (siglip / "model.safetensors").write_bytes(whole)
    (siglip / "tokenizer.json").unlink()
    write_spiece_model(siglip / "spiece.model")
    pieces = (siglip / "spiece.model").read_bytes()
    (siglip / "spiece.model").write_bytes(pieces[: int(len(pieces) * share) - 1])
    assert "spiece.model" in refused(siglip) or "numbers its words" in refused(siglip)


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, b"\x0a\x7f", bytes(100), b"\x0b\x01"])
def test_what_is_no_sentencepiece_model_is_refused(siglip, content):
    (siglip / "tokenizer.json").unlink()
    (siglip / "spiece.model").write_bytes(content)
    assert "is not a whole SentencePiece model" in refused(siglip)


def without(name):
    return lambda state: {key: value for key, value in state.items() if key != name}


HEAD = "vision_model.head.probe"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (without(HEAD), f"1 names missing (first {HEAD})"),
        (lambda s: {**s, "extra.weight": torch.ones(1)}, "1 unknown (first extra.weight)"),
        (
            lambda s: {**s, HEAD: torch.ones(1, 1, 31)},
            f"1 of another shape ({HEAD} is (1, 1, 31), expected (1, 1, 32))",
        ),
        (lambda s: {**s, HEAD: torch.full((1, 1, 32), torch.nan)}, f"{HEAD} holds NaN or infinity"),
        (lambda s: {**s, HEAD: torch.ones(1, 1, 32, dtype=torch.int8)}, f"{HEAD} holds int8"),
    ],
)
def test_tensors_that_do_not_fit_are_named(siglip, edit, message):
    save_file(edit(load_file(siglip / "model.safetensors")), siglip / "model.safetensors")
    assert message in refused(siglip)


def lacks_a_part(folder):
    (folder / PARTS[1]).unlink()


def names_a_file_elsewhere(folder):
    change(folder / INDEX, ("weight_map", HEAD), "../model.safetensors")


def names_a_pickle(folder):
    change(folder / INDEX, ("weight_map", HEAD), "pytorch_model.bin")


def has_no_map(folder):
    change(folder / INDEX, ("weight_map",), [])


def swaps_a_tensor(folder):
    where = json.loads((folder / INDEX).read_text())["weight_map"]
    change(folder / INDEX, ("weight_map", HEAD), PARTS[where[HEAD] == PARTS[0]])


def cuts_a_part(folder):
    (folder / PARTS[0]).write_bytes((folder / PARTS[0]).read_bytes()[:-10])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lacks_a_part, f"lacks {PARTS[1]}, one of 2 parts of the weights that {INDEX} names"),
        (names_a_file_elsewhere, "must name safetensors files beside it, got '../model.safetensors'"),
        (names_a_pickle, "must name safetensors files beside it, got 'pytorch_model.bin'"),
        (has_no_map, "must be an object of files by tensor, got a list of 0"),
        (swaps_a_tensor, f"lacks {HEAD}, which {INDEX} says is in it"),
        (cuts_a_part, "not a whole safetensors file"),
    ],
)
def test_parts_that_are_no_whole_are_named(siglip, damage, message):
    damage(in_parts(siglip))
    assert message in refused(siglip)


@pytest.mark.parametrize("kind", ["medsiglip", "pubmedclip"])
def test_the_loader_of_open_clip_says_which_encoder_takes_such_a_folder(kind, tmp_path):
    folder = write_encoder(kind, tmp_path)
    with pytest.raises(InputError, match=r"is loaded by the encoder transformers \(--set encoder=transformers\)"):
        load_text_image_encoder(folder)


def test_the_loader_of_transformers_says_which_encoder_takes_open_clips_form(tmp_path):
    folder = write_encoder("open_clip_siglip", tmp_path)
    assert "is in open_clip's form, which the encoder clip loads" in refused(folder)
    (folder / "config.json").write_text('{"model_type": "bert"}')
    assert "got 'bert', a BERT, a text model alone; this folder is in open_clip's form" in refused(folder)


def test_a_folder_with_weights_of_two_forms_is_refused(siglip, tmp_path):
    (siglip / "open_clip_model.safetensors").write_bytes((siglip / "model.safetensors").read_bytes())
    assert "weights in another form, too; expected one form in a folder" in refused(siglip)


@pytest.mark.parametrize(
    ("source", "message"), [("hf-hub:google/medsiglip-448", "is a hub name"), ("/nowhere", "is no folder")]
)
def test_only_folders_are_taken(source, message):
    assert message in refused(source)


def test_a_tokenizer_with_more_words_than_the_text_tower_is_refused(tmp_path):
    config = copy.deepcopy(KINDS["medsiglip"][1])
    config["text_config"]["vocab_size"] = 40
    assert "numbers its words up to" in refused(write_hugging_face_folder(tmp_path, config))
