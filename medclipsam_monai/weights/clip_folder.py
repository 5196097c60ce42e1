"""A CLIP as a folder in open_clip's local-dir form: its weights file, and the network it describes."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import torch
from torch import nn

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.quiet import silenced
from medclipsam_monai.weights.clip_config import CONFIG_NAME, read_clip_config, write_self_contained

WEIGHT_NAMES = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "model.safetensors",
    "pytorch_model.bin",
)


def find_weights(folder: Path) -> Path:
    """The weights file of a CLIP folder.

    Raises:
        InputError: if there is none.
    """
    for name in WEIGHT_NAMES:
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"{folder} holds no CLIP weights; expected one of {', '.join(WEIGHT_NAMES)}")


def build_clip(folder: Path, device: str = "cpu") -> nn.Module:
    """The open_clip model that a local-dir folder describes, with random weights and without network access.

    Args:
        folder: with the configuration.
        device: "cpu", or "meta" for a model that takes no memory and holds nothing but shapes.

    Raises:
        InputError: if the configuration is missing, damaged, or describes no such model.
    """
    import open_clip

    with self_contained(folder) as local, quiet_open_clip(), torch.device(device):
        try:
            model: nn.Module = open_clip.create_model(
                f"local-dir:{local}", load_weights=False, pretrained_hf=False, device=device
            )
            return model
        except (RuntimeError, ValueError, KeyError, TypeError, OSError, AssertionError, ArithmeticError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(f"{folder / CONFIG_NAME} does not describe an open_clip model: {reason}") from error


@contextmanager
def self_contained(folder: Path) -> Iterator[Path]:
    """A temporary folder with a CLIP's checked settings."""
    with tempfile.TemporaryDirectory(prefix="medclipsam-") as name:
        write_self_contained(folder, read_clip_config(folder), Path(name))
        yield Path(name)


def quiet_open_clip() -> AbstractContextManager[None]:
    """Silence open_clip's remarks about weights that are loaded right after."""
    return silenced(("", "transformers", "huggingface_hub"), logging.WARNING)
