"""From the config.json of a Hugging Face folder to transformers' CLIPModel or SiglipModel, without network access.

The file says what the network is by its ``model_type`` and its sizes. Nothing is imported by a name in it: a table
here has the two classes, and transformers sees only values that `tables` knows.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.json_files import read_object
from medclipsam_monai.base.quiet import silenced
from medclipsam_monai.base.value_checks import Kind, check_object, shown
from medclipsam_monai.weights.clip_config import CONFIG_NAME as OPEN_CLIP_CONFIG
from medclipsam_monai.weights.clip_tables import CODE
from medclipsam_monai.weights.hugging_face import tables

CONFIG_NAME = "config.json"
PICTURE_CONFIGS = ("preprocessor_config.json", "processor_config.json")
_OPENAI_MEAN, _OPENAI_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_DEFAULTS = {"clip": (_OPENAI_MEAN, _OPENAI_STD), "siglip": ((0.5,) * 3, (0.5,) * 3)}
_EIGHT_BITS = 1 / 255


@dataclass(frozen=True)
class HuggingFaceConfig:
    """What a folder says of its network.

    Attributes:
        kind: "clip" or "siglip".
        path: of the config.json.
        values: arguments of the transformers configuration.
        mean: of each of the 3 channels, subtracted from values in [0, 1].
        std: of each of the 3 channels, divides.
    """

    kind: str
    path: Path
    values: Mapping[str, Any]
    mean: tuple[float, ...]
    std: tuple[float, ...]


def is_hugging_face_folder(path: Path) -> bool:
    """Whether a path is a folder whose config.json says that it is a CLIP or a SigLIP, whatever else is wrong."""
    try:
        return path.is_dir() and read_object(path / CONFIG_NAME).get("model_type") in tuple(tables.MODEL)
    except InputError:
        return False


def read_config(folder: Path) -> HuggingFaceConfig:
    """The checked settings of a folder that transformers saved.

    The side of the picture becomes a whole number of patches: of 384 pixels, patches of 14 leave the last 6 unseen, and
    a map would not lie on its picture.

    Raises:
        InputError: no such file, a network of another family, or a value that none of the tables knows.
    """
    path = folder / CONFIG_NAME
    if not path.is_file():
        other = "; it is in open_clip's form, which the encoder clip loads" if _is_open_clip(folder) else ""
        raise InputError(f"{folder} lacks {CONFIG_NAME}; expected a folder as transformers saves a CLIP{other}")
    content = read_object(path)
    kind = _kind(content, path)
    _refuse_code(content, path)
    values = _known(content, tables.MODEL[kind], str(path))
    for part, known in (("text_config", tables.TEXT[kind]), ("vision_config", tables.VISION[kind])):
        values[part] = _tower(content, part, kind, known, path)
    vision = values["vision_config"]
    defaults = {"clip": (224, 32), "siglip": (224, 16)}[kind]  # what transformers takes where the file says nothing
    side, patch = vision.get("image_size", defaults[0]), vision.get("patch_size", defaults[1])
    if patch > side:
        raise InputError(f"patch_size in {path} must be at most image_size, {side}, got {patch}")
    vision.update(image_size=side // patch * patch, patch_size=patch)
    mean, std = _picture(folder, kind)
    return HuggingFaceConfig(kind, path, values, mean, std)


def build_model(config: HuggingFaceConfig, device: str = "cpu") -> nn.Module:
    """The transformers model of a configuration, with random weights.

    Args:
        config: what `read_config` gave.
        device: "cpu", or "meta" for a model that takes no memory and holds nothing but shapes.

    Raises:
        InputError: there is no network of these sizes.
    """
    from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

    classes: dict[str, tuple[Any, Any]] = {"clip": (CLIPConfig, CLIPModel), "siglip": (SiglipConfig, SiglipModel)}
    settings, model = classes[config.kind]
    with silenced(("transformers",), logging.WARNING), torch.device(device):
        try:
            network: nn.Module = model(settings(**config.values))
        except Exception as error:  # transformers 5 checks sizes by errors of another library
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise InputError(f"{config.path} describes no {model.__name__}: {reason}") from error
    _check_joint_space(network, config)
    return network


def _check_joint_space(network: Any, config: HuggingFaceConfig) -> None:
    if config.kind != "siglip":
        return
    given = config.values["text_config"].get("projection_size")  # which early versions of transformers pass over
    text, image = given or network.text_model.head.out_features, network.config.vision_config.hidden_size
    if text != image:
        raise InputError(f"{config.path} gives texts {text} numbers and pictures {image}; expected the same")


def _kind(content: Mapping[str, Any], path: Path) -> str:
    given = content.get("model_type")
    if type(given) is str and given in tables.MODEL:
        return given
    is_open_clip = "; this folder is in open_clip's form, which the encoder clip loads"
    other = is_open_clip if _is_open_clip(path.parent) else ""
    known = tables.FAMILIES.get(given) if type(given) is str else None
    what = f"{shown(given)}, {known}" if known else shown(given)
    raise InputError(f"model_type in {path} must be one of {', '.join(tables.MODEL)}, got {what}{other}")


def _is_open_clip(folder: Path) -> bool:
    return (folder / OPEN_CLIP_CONFIG).is_file()


def _tower(content: Mapping[str, Any], part: str, kind: str, known: Mapping[str, Kind], path: Path) -> dict[str, Any]:
    """The settings of one half; old files repeat them under another name, which counts."""
    settings: dict[str, Any] = {}
    for name in (part, f"{part}_dict"):
        given = content.get(name)
        if given is None:
            continue
        if type(given) is not dict:
            raise InputError(f"{name} in {path} must be an object, got {shown(given)}")
        _refuse_code(given, path)
        expected = tables.TOWER_TYPES[kind][part]
        if given.get("model_type", expected) != expected:
            raise InputError(
                f"model_type of {name} in {path} must be {expected}, got {shown(given['model_type'])}; a BiomedCLIP in "
                "the transformers layout is loaded by the encoder clip"
            )
        settings |= _known(given, known, f"{name} of {path}")
    return settings


def _known(content: Mapping[str, Any], table: Mapping[str, Kind], where: str) -> dict[str, Any]:
    """The part of an object that a table names; nothing else gets any further."""
    return check_object({name: value for name, value in content.items() if name in table}, {}, table, where)


def _refuse_code(content: Mapping[str, Any], path: Path) -> None:
    named = next((name for name in CODE if content.get(name)), None)
    if named is not None:
        raise InputError(
            f"{path} names code to run or fetch ({named}); expected settings only. A BiomedCLIP in the transformers "
            "layout is loaded by the encoder clip"
        )


def _picture(folder: Path, kind: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of the network's input; those of its family where the folder does not say."""
    path = next((folder / name for name in PICTURE_CONFIGS if (folder / name).is_file()), None)
    mean, std = _DEFAULTS[kind]
    if path is None:
        return mean, std
    content = read_object(path)
    _refuse_code(content, path)
    inner = content.get("image_processor", content)  # transformers 5 keeps it there, in a file for both halves
    if type(inner) is not dict:
        raise InputError(f"image_processor in {path} must be an object, got {shown(inner)}")
    known = _known(inner, tables.PICTURE, str(path))
    factor = known.get("rescale_factor") or _EIGHT_BITS
    if known.get("do_rescale") is False or abs(factor - _EIGHT_BITS) > 1e-6:
        raise InputError(f"rescale_factor in {path} must be 1/255: pictures come in as [0, 1], got {shown(factor)}")
    if known.get("do_normalize") is False:
        return (0.0,) * 3, (1.0,) * 3
    return tuple(known.get("image_mean") or mean), tuple(known.get("image_std") or std)
