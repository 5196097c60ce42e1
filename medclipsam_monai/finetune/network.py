"""A CLIP to train, from any source this package loads, and back into a folder that every part of it loads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import replace_folder
from medclipsam_monai.finetune.lora import add_lora, merged_state_dict
from medclipsam_monai.finetune.parameters import freeze_layers
from medclipsam_monai.networks.clip.load import load_text_image_encoder
from medclipsam_monai.networks.clip.preprocess import FITS, Fit
from medclipsam_monai.networks.clip.vision_tower import skip_idle_blocks
from medclipsam_monai.weights.clip_config import BIOMEDCLIP_FOLDER, CONFIG_NAME
from medclipsam_monai.weights.clip_folder import check_replaceable, write_clip_folder
from medclipsam_monai.weights.convert import convert
from medclipsam_monai.weights.registry import HUB_PREFIX, resolve


class ContrastiveCLIP(nn.Module):
    """An open_clip model with what it takes to feed it, all weights trainable but CLIP's own logit scale.

    Vision blocks that do nothing are skipped and stay as they are.

    The temperature belongs to the loss; `save_clip_folder` writes a learned one into the logit scale.

    Args:
        source: "demo/clip", "biomedclip", a path or a hub name, see `medclipsam_monai.weights.registry.resolve`.
        fit: how pictures that are not square go in, see `Preprocess`.
        lora_rank: train low-rank updates of this rank only, see `add_lora`; 0 trains the weights themselves.
        freeze_vision: layers of the vision tower that stay as they are, see `freeze_layers`.
        freeze_text: the same of the text tower.

    Raises:
        InputError: from loading, or if LoRA is asked for and peft is not installed.
    """

    def __init__(
        self,
        source: str | Path = "demo/clip",
        fit: Fit = "squash",
        lora_rank: int = 0,
        freeze_vision: int = 0,
        freeze_text: int = 0,
    ) -> None:
        super().__init__()
        if fit not in FITS:
            raise InputError(f"fit must be one of {', '.join(FITS)}, got {fit!r}")
        self.source = path = resolve(source)
        encoder = load_text_image_encoder(path, fit)
        self.clip: Any = encoder.clip.requires_grad_(True)
        self.clip.logit_scale.requires_grad_(False)
        self.preprocess = encoder.preprocess
        self.settings_folder = _settings_folder(path)
        self.tokenizer: Any = encoder.tokenizer
        text_config = getattr(getattr(self.clip, "text", None), "config", None)
        self._pad_id: int | None = getattr(text_config, "pad_token_id", None)
        if lora_rank:
            add_lora(self.clip, lora_rank)
        freeze_layers(self.clip, freeze_vision, freeze_text)
        skip_idle_blocks(self.clip)

    def tokenize(self, captions: Sequence[str]) -> Tensor:
        """Captions to token numbers (N, L); what is too long is cut off."""
        return self.tokenizer.truncate(captions)

    def forward(self, image: Tensor, text: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        """Features in the joint space, not normalised.

        Args:
            image: pictures (B, 3, H, W) in [0, 1].
            text: token numbers (B, L).

        Returns:
            Image features (B, E) float32; with `text` also the text features (B, E).
        """
        features = self.clip.encode_image(self.preprocess(image)).float()
        return features if text is None else (features, self.clip.encode_text(self._trim(text)).float())

    def _trim(self, text: Tensor) -> Tensor:
        """Drop the columns that are padding in every row: BERT masks them, so they only cost time."""
        if self._pad_id is None:
            return text
        used = (text != self._pad_id).any(dim=0).nonzero()
        return text[:, : int(used.max()) + 1] if len(used) else text[:, :1]


def unwrapped(network: Any) -> Any:
    """A network without what DistributedDataParallel puts around it."""
    return getattr(network, "module", network)


def _settings_folder(path: Path | str) -> Path:
    """The folder with a source's configuration and tokenizer."""
    if isinstance(path, str):
        from huggingface_hub import snapshot_download

        path = Path(snapshot_download(path.removeprefix(HUB_PREFIX), local_files_only=True))
    return path if (path / CONFIG_NAME).is_file() else BIOMEDCLIP_FOLDER


def save_clip_folder(
    network: ContrastiveCLIP,
    folder: str | Path,
    temperature: float | None = None,
    transformers_folder: str | Path | None = None,
) -> Path:
    """Write a network in open_clip's local-dir form, LoRA merged; one that is there already is replaced.

    Args:
        network: what was trained.
        folder: gets weights, configuration and tokenizer; `load_text_image_encoder` takes it as it is.
        temperature: a learned one; becomes the logit scale.
        transformers_folder: where the transformers port's layout goes too, if it is wanted.

    Returns:
        `folder`.

    Raises:
        InputError: if it cannot be written, or a folder holds what is no part of a CLIP; what was there before is then
            still there.
    """
    state = {name.removeprefix("clip."): value for name, value in merged_state_dict(network).items()}
    if temperature is not None:
        state["logit_scale"] = torch.full_like(state["logit_scale"], -math.log(temperature))
    target = write_clip_folder(Path(folder).expanduser(), state, network.settings_folder)
    if transformers_folder is not None:
        port = Path(transformers_folder).expanduser()
        check_replaceable(port)
        replace_folder(port, lambda part: convert(target, part, "transformers"))
    return target
