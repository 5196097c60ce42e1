"""Make a `TextImageEncoder` from what a user has: a folder, a hub name, or a bare BiomedCLIP checkpoint."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medclipsam_monai.errors import InputError
from medclipsam_monai.networks.checkpoints import load_exactly, read_json, read_state_dict, to_open_clip
from medclipsam_monai.networks.preprocess import Fit, Preprocess
from medclipsam_monai.networks.text_image import CheckedTokenizer, TextImageEncoder
from medclipsam_monai.quiet import silenced

CONFIG_NAME = "open_clip_config.json"
WEIGHT_NAMES = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "model.safetensors",
    "pytorch_model.bin",
)
BIOMEDCLIP_FOLDER = Path(__file__).parent.parent / "resources" / "biomedclip"
HUB_PREFIX = "hf-hub:"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json")


def load_text_image_encoder(
    source: str | Path, fit: Fit = "squash", device: str | torch.device = "cpu"
) -> TextImageEncoder:
    """A frozen encoder from local files, or from the hub when a hub name is given.

    Args:
        source: a folder in open_clip's local-dir form; a folder or a file with BiomedCLIP weights alone, in
            open_clip's or the transformers layout (configuration and tokenizer come with this package); or
            "hf-hub:organisation/name".
        fit: how pictures that are not square go into the network, see `Preprocess`.
        device: where the weights go.

    Raises:
        InputError: if something is missing, cut off or of another architecture.
    """
    is_hub_name = isinstance(source, str) and source.startswith(HUB_PREFIX)
    path = _hub_folder(str(source).removeprefix(HUB_PREFIX)) if is_hub_name else Path(source)
    if not path.exists():
        raise InputError(f"CLIP weights not found: {path}; expected a folder, a checkpoint file, or hf-hub:NAME")
    weights = find_weights(path) if path.is_dir() else path
    folder = path if path.is_dir() and (path / CONFIG_NAME).is_file() else BIOMEDCLIP_FOLDER
    clip = build_clip(folder)
    load_exactly(clip, to_open_clip(read_state_dict(weights)), str(weights))
    return _encoder(clip, folder, fit, device)


def find_weights(folder: Path) -> Path:
    """The weights file of a CLIP folder.

    Raises:
        InputError: if there is none.
    """
    for name in WEIGHT_NAMES:
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"{folder} holds no CLIP weights; expected one of {', '.join(WEIGHT_NAMES)}")


def build_clip(folder: Path) -> nn.Module:
    """The open_clip model that a local-dir folder describes, with random weights and without network access."""
    import open_clip

    with _self_contained(folder) as local, _quiet():
        try:
            return open_clip.create_model(f"local-dir:{local}", load_weights=False, pretrained_hf=False)
        except (RuntimeError, ValueError, KeyError, TypeError, OSError, AssertionError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(f"{folder / CONFIG_NAME} does not describe an open_clip model: {reason}") from error


@contextmanager
def _self_contained(folder: Path) -> Iterator[Path]:
    """A temporary folder whose text tower names itself, as open_clip takes a path in the file as it stands.

    A model's folder can then be moved, and no second repository is asked for BERT's configuration.
    """
    config = read_json(folder / CONFIG_NAME)
    text = config.get("model_cfg", {}).get("text_cfg", {})
    with tempfile.TemporaryDirectory(prefix="medclipsam-") as name:
        local = Path(name)
        if "hf_model_name" in text:
            settings = read_json(_bert_config(folder, text["hf_model_name"]))
            # The transformers port keeps the BERT part under "text_config".
            (local / "config.json").write_text(json.dumps(settings.get("text_config", settings)), encoding="utf-8")
            text.update(hf_model_name=str(local), hf_model_pretrained=False)
        (local / CONFIG_NAME).write_text(json.dumps(config), encoding="utf-8")
        for file in TOKENIZER_FILES:
            if (folder / file).is_file():
                shutil.copy(folder / file, local / file)
        yield local


def _bert_config(folder: Path, name: str) -> Path:
    """The text tower's configuration; BiomedCLIP's own folder has none, so that one comes with this package."""
    if (folder / "config.json").is_file():
        return folder / "config.json"
    if name == read_json(BIOMEDCLIP_FOLDER / CONFIG_NAME)["model_cfg"]["text_cfg"]["hf_model_name"]:
        return BIOMEDCLIP_FOLDER / "config.json"
    raise InputError(f"{folder} lacks config.json, the configuration of its text tower {name}")


def _quiet() -> AbstractContextManager[None]:
    """Silence open_clip's remarks about weights that are loaded right after."""
    return silenced(("", "transformers", "huggingface_hub"), logging.WARNING)


def _encoder(clip: nn.Module, folder: Path, fit: Fit, device: str | torch.device) -> TextImageEncoder:
    import open_clip

    config = read_json(folder / CONFIG_NAME)
    text = config["model_cfg"]["text_cfg"]
    if "hf_model_name" in text and not (folder / "tokenizer.json").is_file():
        raise InputError(
            f"{folder} lacks tokenizer.json; expected {', '.join(TOKENIZER_FILES[:3])} beside {CONFIG_NAME}"
        )
    with _self_contained(folder) as local, _quiet():
        tokenizer = open_clip.get_tokenizer(f"local-dir:{local}")
    checked = CheckedTokenizer(tokenizer, int(text.get("context_length", 77)))
    preprocess = preprocess_of(clip, config.get("preprocess_cfg", {}), fit)
    return TextImageEncoder(clip, checked, preprocess).to(device)


def preprocess_of(clip: Any, settings: dict, fit: Fit) -> Preprocess:
    """What a model's configuration says about its input; OpenAI's mean and deviation where it says nothing."""
    from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

    size = clip.visual.image_size
    mean = tuple(float(v) for v in settings.get("mean", OPENAI_DATASET_MEAN))
    std = tuple(float(v) for v in settings.get("std", OPENAI_DATASET_STD))
    return Preprocess(int(size[0] if isinstance(size, tuple) else size), mean, std, fit)


def _hub_folder(name: str) -> Path:
    """A hub repository's files, from the local cache or the network."""
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(name, allow_patterns=[CONFIG_NAME, "config.json", *TOKENIZER_FILES, *WEIGHT_NAMES])
        )
    except Exception as error:  # the hub client raises errors of its own, of its transport and of the system
        raise InputError(
            f"hub model {name} cannot be had ({type(error).__name__}); it needs a network once, or give a local folder"
        ) from error
