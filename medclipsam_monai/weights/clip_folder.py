"""A CLIP as a folder in open_clip's local-dir form: its weights file, the network it describes, and its one writer."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import replace_folder
from medclipsam_monai.base.quiet import silenced
from medclipsam_monai.weights.clip_config import (
    CONFIG_NAME,
    TEXT_CONFIG_NAME,
    TOKENIZER_FILES,
    read_clip_config,
    write_self_contained,
)

WEIGHT_NAMES = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "model.safetensors",
    "pytorch_model.bin",
)

SETTINGS_NAMES = (CONFIG_NAME, TEXT_CONFIG_NAME, *TOKENIZER_FILES)


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


def write_clip_folder(
    folder: Path,
    state: Mapping[str, Tensor],
    settings: Path,
    weights_name: str = WEIGHT_NAMES[0],
    check: Callable[[Path], object] = lambda weights: None,
) -> Path:
    """Write a CLIP that loads by itself: weights as safetensors, configuration and tokenizer.

    Args:
        folder: where to; a CLIP that is there already is replaced whole.
        state: the network's weights by name.
        settings: the folder whose configuration and tokenizer are copied; may be ``folder`` itself.
        weights_name: of the weights file, one of `WEIGHT_NAMES`.
        check: called with the weights file before the folder appears; what it raises leaves everything as it was.

    Returns:
        ``folder``.

    Raises:
        InputError: it cannot be written, or holds what is no part of a CLIP; what was there before is then still there.
    """
    check_replaceable(folder)

    def fill(part: Path) -> None:
        write_weights(part / weights_name, state)
        check(part / weights_name)
        for name in SETTINGS_NAMES:
            if (settings / name).is_file():
                shutil.copyfile(settings / name, part / name)

    return replace_folder(folder, fill)


def check_replaceable(folder: Path) -> None:
    """Make sure that nothing of a user's is lost when a CLIP's folder is written.

    Raises:
        InputError: there is a file, or a folder that holds anything but a CLIP's files.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"cannot write the folder {folder}: there is a file of that name")
    known = {*WEIGHT_NAMES, *SETTINGS_NAMES}
    others = sorted(path.name for path in folder.iterdir() if path.name not in known) if folder.is_dir() else []
    if others:
        raise InputError(f"cannot replace {folder}: it holds {others[0]}, which is no file of a CLIP; give a new name")


def write_weights(path: Path, state: Mapping[str, Tensor]) -> None:
    """Write weights as a safetensors file; its caller sees to it that it appears whole.

    Raises:
        OSError: it cannot be written, as on a full disk.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    try:
        save_file(tensors, path, metadata={"format": "pt"})
    except SafetensorError as error:  # a full disk comes as this, not as an OSError
        raise OSError(str(error)) from error
