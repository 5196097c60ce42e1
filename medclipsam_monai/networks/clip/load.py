"""Make a `CLIPEncoder` from what a user has: a folder, a hub name, or a bare BiomedCLIP checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.networks.clip.checked_tokenizer import OpenClipTokenizer
from medclipsam_monai.networks.clip.encoder import CLIPEncoder
from medclipsam_monai.networks.clip.preprocess import Fit, Preprocess
from medclipsam_monai.networks.clip.vision_tower import vision_tower
from medclipsam_monai.weights.clip_config import (
    BIOMEDCLIP_FOLDER,
    CONFIG_NAME,
    TOKENIZER_FILES,
    read_clip_config,
)
from medclipsam_monai.weights.clip_folder import WEIGHT_NAMES, build_clip, find_weights, quiet_open_clip, self_contained
from medclipsam_monai.weights.hugging_face.model import is_hugging_face_folder
from medclipsam_monai.weights.registry import HUB_PREFIX
from medclipsam_monai.weights.state_dicts import check_fit, load_exactly, read_state_dict, to_open_clip


def load_text_image_encoder(source: str | Path, fit: Fit = "squash", device: str | torch.device = "cpu") -> CLIPEncoder:
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
    folder = path if path.is_dir() and (path / CONFIG_NAME).is_file() else BIOMEDCLIP_FOLDER
    try:
        weights = find_weights(path) if path.is_dir() else path
        state = to_open_clip(read_state_dict(weights))
        check_fit(build_clip(folder, "meta"), state, str(weights))  # before memory is taken for what a file describes
    except InputError as error:
        if folder == path or not is_hugging_face_folder(path):
            raise
        raise InputError(
            f"{error}. A folder that transformers saved, such as PubMedCLIP's or MedSigLIP's, is loaded by the encoder "
            "transformers (--set encoder=transformers)"
        ) from error
    clip = build_clip(folder)
    load_exactly(clip, state, str(weights))
    return _encoder(clip, folder, fit, device)


def _encoder(clip: nn.Module, folder: Path, fit: Fit, device: str | torch.device) -> CLIPEncoder:
    config = read_clip_config(folder)
    preprocess = preprocess_of(clip, config["preprocess_cfg"], fit)
    return CLIPEncoder(clip, _tokenizer(clip, folder, config["model_cfg"]["text_cfg"]), preprocess).to(device)


def _tokenizer(clip: Any, folder: Path, text: dict[str, Any]) -> OpenClipTokenizer:
    """The tokenizer beside a CLIP, known to give numbers that its text tower has."""
    import open_clip

    needed = text.get("hf_model_name") is not None or bool(text.get("hf_tokenizer_name"))
    if needed and not (folder / "tokenizer.json").is_file():
        raise InputError(
            f"{folder} lacks tokenizer.json; expected {', '.join(TOKENIZER_FILES[:3])} beside {CONFIG_NAME}"
        )
    with self_contained(folder) as local, quiet_open_clip():
        try:
            made = open_clip.get_tokenizer(f"local-dir:{local}")
            masked = text.get("hf_model_name") is not None
            tokenizer = OpenClipTokenizer(made, text.get("context_length", 77), padding_is_masked=masked)
            tokenizer.truncate(["lung"])
        except Exception as error:  # the tokenizers library raises plain exceptions
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise InputError(f"the tokenizer in {folder} cannot be used: {reason}") from error
    tower = getattr(clip, "text", clip)
    if tokenizer.largest_number >= tower.vocab_size:
        raise InputError(
            f"the tokenizer in {folder} numbers its words up to {tokenizer.largest_number}, the text tower has "
            f"{tower.vocab_size}; expected the tokenizer that the weights were trained with"
        )
    positions = int(tower.context_length)
    if tokenizer.context_length > positions:
        raise InputError(
            f"context_length in {folder / CONFIG_NAME} is {tokenizer.context_length}, the text tower reads {positions}"
        )
    return tokenizer


def preprocess_of(clip: Any, settings: dict[str, Any], fit: Fit) -> Preprocess:
    """What a model's configuration says about its input; OpenAI's mean and deviation where it says nothing."""
    from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

    size = clip.visual.image_size
    if isinstance(size, tuple) and len(set(size)) > 1:
        raise InputError(f"image_size must be a square, got {size}")
    side = vision_tower(clip).image_size  # all that the patches cover
    mean = tuple(float(v) for v in settings.get("mean", OPENAI_DATASET_MEAN))
    std = tuple(float(v) for v in settings.get("std", OPENAI_DATASET_STD))
    return Preprocess(side, mean, std, fit)


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
