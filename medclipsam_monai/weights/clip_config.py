"""The settings files of a CLIP folder: open_clip_config.json, the text tower's config.json and the tokenizer's.

open_clip, timm and transformers look up what these files name: models on the hub, folders, Python classes, code of a
repository. Here every name that reaches them stands in a table with the kind of its value. What would fetch or import
something is refused, and the files that the libraries see hold only what the tables name.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.json_files import read_object
from medclipsam_monai.base.value_checks import check_object, shown
from medclipsam_monai.weights import clip_tables as tables

CONFIG_NAME = "open_clip_config.json"
TEXT_CONFIG_NAME = "config.json"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json")
BIOMEDCLIP_FOLDER = Path(__file__).parent.parent / "resources" / "biomedclip"
_MOST_TOKENIZER_BYTES = 64 << 20


def read_clip_config(folder: Path) -> dict[str, Any]:
    """The checked content of a folder's open_clip_config.json: "model_cfg" and "preprocess_cfg".

    Raises:
        InputError: if it is missing or damaged, or holds what is in none of the tables.
    """
    path = folder / CONFIG_NAME
    content = read_object(path)
    model = check_object(content.get("model_cfg"), tables.MODEL_REQUIRED, tables.MODEL, f"model_cfg in {path}")
    vision = check_object(model["vision_cfg"], {}, tables.VISION, f"vision_cfg in {path}")
    text = check_object(model["text_cfg"], {}, tables.TEXT, f"text_cfg in {path}")
    for where, settings in (("vision_cfg", vision), ("text_cfg", text)):
        for key, known in (("act_kwargs", tables.ACTIVATION), ("norm_kwargs", tables.NORM)):
            if settings.get(key) is not None:
                check_object(settings[key], {}, known, f"{key} of {where} in {path}")
    check_object(text.get("tokenizer_kwargs", {}), {}, tables.TOKENIZER_ARGUMENTS, f"tokenizer_kwargs in {path}")
    preprocess = content.get("preprocess_cfg", {})
    check_object(preprocess, {}, tables.PREPROCESS, f"preprocess_cfg in {path}")
    _check_timm_name(vision.get("timm_model_name"), path)
    return {"model_cfg": model, "preprocess_cfg": preprocess}


def write_self_contained(folder: Path, config: dict[str, Any], target: Path) -> None:
    """Copy a CLIP's settings, without the weights, so that open_clip needs nothing from anywhere else.

    open_clip takes the text tower's name as it stands in the file: it becomes the path of ``target``, so that a
    model's folder can be moved and no second repository is asked for BERT's configuration.

    Args:
        folder: the CLIP's.
        config: what `read_clip_config` gave.
        target: an empty folder.

    Raises:
        InputError: if a file is damaged or holds what is in none of the tables.
    """
    text = dict(config["model_cfg"]["text_cfg"])
    if text.get("hf_model_name") is not None:
        settings = _read_text_config(_text_config_path(folder, text["hf_model_name"]))
        _write(settings, target / TEXT_CONFIG_NAME)
        text.update(hf_model_name=str(target), hf_model_pretrained=False)
    model = {**config["model_cfg"], "text_cfg": text}
    _write({"model_cfg": model, "preprocess_cfg": config["preprocess_cfg"]}, target / CONFIG_NAME)
    for name in TOKENIZER_FILES:
        if (folder / name).exists():
            _copy_tokenizer_file(folder / name, target / name)


def _check_timm_name(name: str | None, path: Path) -> None:
    """timm takes a name with a prefix for a repository of the hub or a folder."""
    import timm

    if name is None or timm.is_model(name):
        return
    from medclipsam_monai.weights import pyramid_vit  # noqa: F401  # adds its name to timm's, and needs monai

    if not timm.is_model(name):
        raise InputError(
            f"{path} does not describe an open_clip model: timm_model_name must be a model of timm such as "
            f"vit_base_patch16_224, got {shown(name)}"
        )


def _text_config_path(folder: Path, name: str) -> Path:
    """The text tower's configuration; BiomedCLIP's own folder has none, so that one comes with this package."""
    if (folder / TEXT_CONFIG_NAME).exists():
        return folder / TEXT_CONFIG_NAME
    own = read_object(BIOMEDCLIP_FOLDER / CONFIG_NAME)
    if name == own["model_cfg"]["text_cfg"]["hf_model_name"]:
        return BIOMEDCLIP_FOLDER / TEXT_CONFIG_NAME
    raise InputError(f"{folder} lacks {TEXT_CONFIG_NAME}, the configuration of its text tower {shown(name)}")


def _read_text_config(path: Path) -> dict[str, Any]:
    """What the tables know of a text tower's configuration."""
    content = read_object(path)
    _refuse_code(content, path)
    settings = content.get("text_config", content)  # the transformers port keeps the BERT part there
    if type(settings) is not dict:
        raise InputError(f"text_config in {path} must be an object, got {shown(settings)}")
    return _known(settings, tables.TEXT_TOWER_REQUIRED, tables.TEXT_TOWER, path)


def _copy_tokenizer_file(source: Path, target: Path) -> None:
    if source.suffix != ".json":
        if not source.is_file() or source.stat().st_size > _MOST_TOKENIZER_BYTES:
            raise InputError(f"{source} must be a text file of at most {_MOST_TOKENIZER_BYTES:,} bytes")
        shutil.copyfile(source, target)
        return
    content = read_object(source)
    if source.name == "tokenizer.json":  # the tokenizers library reads it as data, and looks up nothing
        if type(content.get("model")) is not dict:
            raise InputError(f"model in {source} must be an object, got {shown(content.get('model'))}")
        shutil.copyfile(source, target)
        return
    known = _known(content, {}, tables.TOKENIZER, source)
    for key, value in known.items():
        if key in tables.TOKENS and type(value) is dict:
            check_object(value, {"content": tables.WORD}, tables.TOKEN, f"{key} in {source}")
    for value in known.get("added_tokens_decoder", {}).values():
        check_object(value, {"content": tables.WORD}, tables.TOKEN, f"added_tokens_decoder in {source}")
    if known.get("tokenizer_class") in tables.READ_AS_IT_IS:
        known["tokenizer_class"] = "PreTrainedTokenizerFast"
    _write(known, target)


def _known(
    content: Mapping[str, Any], required: Mapping[str, Any], optional: Mapping[str, Any], path: Path
) -> dict[str, Any]:
    """The part of a file that the tables name; nothing else gets any further."""
    _refuse_code(content, path)
    kept = {name: value for name, value in content.items() if name in {**required, **optional}}
    return check_object(kept, required, optional, str(path))


def _refuse_code(content: Mapping[str, Any], path: Path) -> None:
    named = next((name for name in tables.CODE if content.get(name)), None)
    if named is not None:
        raise InputError(f"{path} names code to run or fetch ({named}); expected settings only")


def _write(content: Mapping[str, Any], path: Path) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")
