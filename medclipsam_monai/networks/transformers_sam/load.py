"""From a local folder in transformers' form, or a file in Meta's, to a frozen segmenter. No network is asked.

What a file says is checked against tables before memory is taken for it: the family, the sizes, the names and shapes of
the weights. Weights are safetensors, or a pickle that holds nothing but tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.json_files import read_object
from medclipsam_monai.base.value_checks import each, number, shown
from medclipsam_monai.networks.transformers_sam.families import (
    SAM2,
    SAM2_VIDEO,
    Family,
    Triple,
    family_of,
    library_class,
)
from medclipsam_monai.networks.transformers_sam.frames import Frame
from medclipsam_monai.networks.transformers_sam.meta_layout import meta_settings, to_transformers_layout
from medclipsam_monai.networks.transformers_sam.meta_memory import has_memory, memory_layout, memory_settings
from medclipsam_monai.networks.transformers_sam.reported import reported
from medclipsam_monai.networks.transformers_sam.segmenter import TransformersSegmenter
from medclipsam_monai.networks.transformers_sam.tables import TABLES, checked
from medclipsam_monai.networks.transformers_sam.video_load import build_video
from medclipsam_monai.networks.transformers_sam.video_segmenter import VideoSegmenter
from medclipsam_monai.networks.transformers_sam.video_tables import VIDEO_TABLES
from medclipsam_monai.weights.hugging_face.tensors import INDEX, WHOLE, read_weights
from medclipsam_monai.weights.registry import HUB_PREFIX
from medclipsam_monai.weights.state_dicts import check_fit, load_exactly, read_state_dict

CONFIG_NAME = "config.json"
_PROCESSOR_NAMES = ("preprocessor_config.json", "processor_config.json")
_SHARED = ("shared_image_embedding.positional_embedding", "prompt_encoder.shared_embedding.positional_embedding")
_COUNTER = "num_batches_tracked"


def load_segmenter(
    source: str | Path, device: str | torch.device = "cpu", image_size: int | None = None
) -> TransformersSegmenter:
    """A frozen segmenter from local weights.

    Args:
        source: a folder with ``config.json`` and ``model.safetensors`` (or several parts and their index) of SAM 2,
            EdgeTAM, SAM-HQ or SAM 3's tracker; or a file of SAM 2.1 or MedSAM2 as their authors publish it (".pt").
        device: where the weights go.
        image_size: side of the network's square in pixels, for a ".pt" file, which does not say it; None for 512
            where the file is named as MedSAM2's are, and 1024 else.

    Raises:
        InputError: files are missing, cut off or of another family, the installed transformers is too old for the
            family, or ``image_size`` is no multiple of 32.
    """
    path = Path(source)
    if str(source).startswith(HUB_PREFIX) or not path.exists():
        raise InputError(f"segmenter weights not found: {source}; expected a local folder, or a .pt file of SAM 2.1")
    if path.is_dir():
        if image_size is not None:
            raise InputError(f"image_size is for a .pt file; {path / CONFIG_NAME} says it, got {image_size}")
        return _from_folder(path).to(device)
    state = read_state_dict(path)
    settings = meta_settings(state, path, image_size)
    network = _network(SAM2, settings, to_transformers_layout(state, str(path)), str(path), str(path))
    frame = _frame(network, SAM2, SAM2.mean, SAM2.std)
    if not has_memory(state):
        return TransformersSegmenter(network, frame).to(device)
    return VideoSegmenter(network, frame, partial(_video_of_file, path, settings)).to(device)


def _from_folder(folder: Path) -> TransformersSegmenter:
    config = folder / CONFIG_NAME
    settings = read_object(config)
    family = family_of(settings, str(config))
    where = str(config)
    if family.inside:
        settings, where = settings.get(family.inside) or {}, f"{family.inside} in {config}"
    mean, std = _normalisation(folder, family)
    library_class(family, family.model)  # a library that is too old is said before gigabytes are read
    kept = checked(settings, TABLES[family.model], where)
    network = _network(family, kept, _own_part(_safe_weights(folder), family), where, str(folder))
    frame = _frame(network, family, mean, std)
    if not family.video:
        return TransformersSegmenter(network, frame)
    return VideoSegmenter(network, frame, partial(_video_of_folder, folder, family))


def _video_of_folder(folder: Path, family: Family, network: nn.Module) -> nn.Module:
    """The video's network of a folder whose picture's network is there."""
    settings, where = read_object(folder / CONFIG_NAME), str(folder / CONFIG_NAME)
    kept = checked(settings, TABLES[family.model], where) | checked(settings, VIDEO_TABLES[family.video], where)
    state = _safe_weights(folder)
    memory = {name: value for name, value in state.items() if name.startswith(family.left_out)}
    return build_video(family, kept, memory, network, where, str(folder))


def _video_of_file(path: Path, settings: Mapping[str, Any], network: Any) -> nn.Module:
    """The video's network of a file in Meta's layout whose picture's network is there, of these settings."""
    state = read_state_dict(path)
    kept = {**settings, **memory_settings(state, _side(network, str(path)))}
    return build_video(SAM2_VIDEO, kept, memory_layout(state), network, str(path), str(path))


def _safe_weights(folder: Path) -> dict[str, Tensor]:
    """The tensors of a folder's safetensors files; a pickle that lies there is not read."""
    if not any((folder / name).is_file() for name in (WHOLE[0], INDEX)):
        raise InputError(f"{folder} holds no weights; expected {WHOLE[0]}, or several parts and {INDEX}")
    return read_weights(folder)


def _own_part(state: Mapping[str, Tensor], family: Family) -> dict[str, Tensor]:
    """The tensors of the image's network, by its names: those of a video's or of another network are left out."""
    out: dict[str, Tensor] = {}
    for name, value in state.items():
        for old, new in family.renamed:
            name = new + name.removeprefix(old) if name.startswith(old) else name
        if not name.startswith(family.left_out):
            out[name] = value
    return out


def _network(family: Family, settings: dict[str, Any], state: dict[str, Tensor], where: str, source: str) -> nn.Module:
    """The network that checked settings describe, with weights that fit it exactly."""
    build, configure = library_class(family, family.model), library_class(family, family.config)
    with reported(where), torch.device("meta"):  # before memory is taken for what a file describes
        shapes = build(configure(**settings))
    state = _completed(state, shapes)
    check_fit(shapes, state, source)
    side = _side(shapes, where)
    with reported(where), torch.device("meta"), torch.no_grad():  # sizes that do not belong together fail here
        shapes.eval()(pixel_values=torch.zeros(1, 3, side, side), input_boxes=torch.zeros(1, 1, 4))
    with reported(where):
        network: nn.Module = build(configure(**settings))
    load_exactly(network, state, source)
    return network


def _completed(state: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Weights with what a file need not hold: one of two names of one tensor, and counters of training."""
    out = dict(state)
    for name, other in (_SHARED, _SHARED[::-1]):
        if name not in out and other in out:
            out[name] = out[other]
    for name, value in network.state_dict().items():
        if name.endswith(_COUNTER) and name not in out:
            out[name] = torch.zeros(value.shape, dtype=value.dtype)
    return out


def _frame(network: nn.Module, family: Family, mean: Triple, std: Triple) -> Frame:
    return Frame(_side(network, family.name), family.letterbox, mean, std)


def _side(network: Any, where: str) -> int:
    """Side of a network's square input in pixels."""
    side = network.config.prompt_encoder_config.image_size
    if type(side) is not int:
        raise InputError(f"image_size of the prompt encoder in {where} must be a whole number, got {shown(side)}")
    return side


def _normalisation(folder: Path, family: Family) -> tuple[Triple, Triple]:
    """Mean and standard deviation of the pictures, from the folder's own processor where it has one."""
    found = {"image_mean": family.mean, "image_std": family.std}
    three = {"image_mean": each(number(0, 1), count=3), "image_std": each(number(0.001, 10), count=3)}
    for name in _PROCESSOR_NAMES:
        if not (folder / name).is_file():
            continue
        settings = read_object(folder / name)
        inner = settings.get("image_processor", settings)
        for key, kind in three.items():
            value = inner.get(key) if type(inner) is dict else None
            if value is None:
                continue
            if not kind.holds(value):
                raise InputError(f"{key} in {folder / name} must be {kind.says}, got {shown(value)}")
            found[key] = (float(value[0]), float(value[1]), float(value[2]))
    return found["image_mean"], found["image_std"]
