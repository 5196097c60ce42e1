"""BiomedCLIP weights from one layout into the other: open_clip's (timm and BERT names) and the transformers port's.

Other CLIPs of open_clip are written as a folder that loads by itself, also from a checkpoint of their training. What it
holds besides tensors, options and figures of the training, is passed over: not imported and not made.

What is written is read back and compared with what was given before it appears under its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import write_atomically
from medclipsam_monai.weights.registry import resolve

if TYPE_CHECKING:
    from torch import Tensor

Layout = Literal["open_clip", "transformers"]
WEIGHTS_FILE: dict[str, str] = {"open_clip": "open_clip_model.safetensors", "transformers": "model.safetensors"}


def convert(source: str | Path, target: str | Path, layout: Layout, settings: str | Path | None = None) -> Path:
    """Write CLIP weights in the layout asked for, as safetensors.

    Args:
        source: what `resolve` takes, but for hub names: a folder or a checkpoint file, in either layout.
        target: a file ending in ".safetensors", or a folder, which gets the weights, the configuration and the
            tokenizer, and loads by itself. It must not exist yet, or be an empty folder.
        layout: "open_clip", or for a BiomedCLIP "transformers".
        settings: a folder with the open_clip_config.json of the network, and the config.json and the tokenizer of its
            text tower where it has them, for a source that comes without; None for the source's own, or BiomedCLIP's.

    Returns:
        ``target``.

    Raises:
        InputError: if the source is missing or no such network, the target is there already, or it cannot be written.
        ValueError: if the layout is unknown.
    """
    from medclipsam_monai.weights.clip_folder import write_clip_folder, write_weights
    from medclipsam_monai.weights.state_dicts import to_open_clip, to_transformers

    if layout not in get_args(Layout):
        raise ValueError(f"layout must be one of {', '.join(get_args(Layout))}, got {layout!r}")
    target = Path(target).expanduser()
    as_file = _is_file_target(target)
    config_folder, state = _read(source, settings)
    if layout == "transformers" and not any(name.startswith("visual.trunk.") for name in state):
        raise InputError(f"{source} is no BiomedCLIP, and has no transformers layout; expected the layout open_clip")
    converted = to_open_clip(state) if layout == "open_clip" else to_transformers(state)
    if as_file:

        def write(part: Path) -> None:
            write_weights(part, converted)
            _check_same(part, state)

        return write_atomically(target, write)
    return write_clip_folder(
        target, converted, config_folder, WEIGHTS_FILE[layout], check=lambda weights: _check_same(weights, state)
    )


def _is_file_target(target: Path) -> bool:
    """Whether a target is a file rather than a folder.

    Raises:
        InputError: if something is there already, or the name is that of a pickle.
    """
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise InputError(f"{target} is there already; give a new name, or delete it first")
    if target.suffix in (".bin", ".pt", ".pth", ".ckpt"):
        raise InputError(f"{target} would be a pickle; expected a folder or a name ending in .safetensors")
    return target.suffix == ".safetensors"


def _read(source: str | Path, settings: str | Path | None) -> tuple[Path, Mapping[str, Tensor]]:
    """The folder with a checkpoint's configuration, and its tensors in open_clip's layout, known to be complete."""
    from medclipsam_monai.weights import clip_config, clip_folder
    from medclipsam_monai.weights.state_dicts import check_fit, load_exactly, read_state_dict, to_open_clip
    from medclipsam_monai.weights.tensor_files import NOTES_OF_TRAINING

    path = resolve(source)
    if isinstance(path, str):
        raise InputError(f"{path} is a hub name; expected a file or a folder, or biomedclip once it is downloaded")
    weights = clip_folder.find_weights(path) if path.is_dir() else path
    own_settings = path.is_dir() and (path / clip_config.CONFIG_NAME).is_file()
    config_folder = path if own_settings else clip_config.BIOMEDCLIP_FOLDER
    if settings is not None:
        config_folder = Path(settings).expanduser()
        if own_settings:
            raise InputError(f"{path} has its own {clip_config.CONFIG_NAME}; leave the settings out")
    state = to_open_clip(read_state_dict(weights, NOTES_OF_TRAINING))
    check_fit(clip_folder.build_clip(config_folder, "meta"), state, str(weights))
    load_exactly(clip_folder.build_clip(config_folder), state, str(weights))
    return config_folder, state


def _check_same(written: Path, expected: Mapping[str, Tensor]) -> None:
    """Read a file back and compare every tensor with what was given, bit for bit."""
    import torch

    from medclipsam_monai.weights.state_dicts import read_state_dict, to_open_clip

    back = to_open_clip(read_state_dict(written))
    # Buffers that the network makes by itself (position_ids) are left out of the transformers layout.
    lost = [key for key in expected if key not in back and not key.endswith("position_ids")]
    changed = [key for key, value in back.items() if not torch.equal(value, expected[key])]
    if lost or changed:
        raise RuntimeError(f"conversion lost {lost[:1]} or changed {changed[:1]}; the checkpoint's keys are unexpected")
