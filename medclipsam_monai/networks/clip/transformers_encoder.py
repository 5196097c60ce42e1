"""A CLIP or a SigLIP from a folder as transformers saves it: PubMedCLIP, MedSigLIP and the like.

Files on this machine only: nothing is fetched, no code of a repository is run, and what the network is stands in a
table (`medclipsam_monai.weights.hugging_face.model`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.networks.clip.encoder import CLIPEncoder
from medclipsam_monai.networks.clip.hugging_face_tokenizer import HuggingFaceTokenizer, hugging_face_tokenizer
from medclipsam_monai.networks.clip.preprocess import Fit, Preprocess
from medclipsam_monai.weights.clip_folder import WEIGHT_NAMES
from medclipsam_monai.weights.hugging_face.model import build_model, read_config
from medclipsam_monai.weights.hugging_face.tensors import read_weights
from medclipsam_monai.weights.registry import HUB_PREFIX
from medclipsam_monai.weights.state_dicts import check_fit, load_exactly

_ANY_END = 2
"""The end mark of CLIPs that were saved before it was counted: transformers takes the largest number for it."""


class TransformersEncoder(CLIPEncoder):
    """transformers' CLIPModel or SiglipModel cut in two at a vision block, with its tokenizer.

    Args:
        clip: the model.
        tokenizer: sentences to token numbers (N, L).
        preprocess: pictures in [0, 1] to the tower's input, and maps back.
    """

    def _text_features(self, token_ids: Tensor) -> Tensor:
        pooled: Tensor = self.clip.text_model(input_ids=token_ids).pooler_output
        projection = getattr(self.clip, "text_projection", None)
        return pooled if projection is None else projection(pooled)


def load_transformers_encoder(
    source: str | Path, fit: Fit = "squash", device: str | torch.device = "cpu"
) -> TransformersEncoder:
    """A frozen encoder from a local folder that transformers saved.

    Args:
        source: a folder with config.json (``model_type`` clip or siglip), weights (model.safetensors, or its parts with
            model.safetensors.index.json, or a pytorch_model.bin of plain tensors), a tokenizer (tokenizer.json, or
            vocab.json and merges.txt, or SigLIP's spiece.model) and, where mean and deviation are not those of its
            family, preprocessor_config.json.
        fit: how pictures that are not square go into the network, see `Preprocess`.
        device: where the weights go.

    Raises:
        InputError: if something is missing, cut off or of another family.
    """
    if str(source).startswith(HUB_PREFIX):
        raise InputError(f"{source} is a hub name; expected a folder: the encoder transformers reads local files only")
    folder = Path(source)
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; expected one with config.json, weights and tokenizer")
    config = read_config(folder)
    _check_one_form(folder)
    shapes: Any = build_model(config, "meta")
    state = read_weights(folder)
    check_fit(shapes, state, str(folder))  # before memory is taken for what a file describes
    clip = build_model(config)
    load_exactly(clip, state, str(folder))
    text = shapes.config.text_config
    tokenizer = hugging_face_tokenizer(folder, config.kind, int(text.max_position_embeddings))
    _check_numbers(tokenizer, folder, text, config.kind)
    side = int(shapes.config.vision_config.image_size)
    return TransformersEncoder(clip, tokenizer, Preprocess(side, config.mean, config.std, fit)).to(device)


def _check_one_form(folder: Path) -> None:
    """A record names the hash of a folder's weights: there must be no doubt which they are."""
    other = next((name for name in WEIGHT_NAMES if name.startswith("open_clip") and (folder / name).is_file()), None)
    if other is not None:
        raise InputError(f"{folder} holds {other}, weights in another form, too; expected one form in a folder")


def _check_numbers(tokenizer: HuggingFaceTokenizer, folder: Path, text: Any, kind: str) -> None:
    """Make sure that a tokenizer's numbers are those of the text tower, its end mark above all: CLIP reads there."""
    if tokenizer.largest_number >= text.vocab_size:
        raise InputError(
            f"the tokenizer in {folder} numbers its words up to {tokenizer.largest_number}, the text tower has "
            f"{text.vocab_size}; expected the tokenizer that the weights were trained with"
        )
    end = tokenizer.largest_number if text.eos_token_id == _ANY_END else text.eos_token_id
    if kind == "clip" and end != tokenizer.end:
        raise InputError(
            f"a sentence ends with token {tokenizer.end} in the tokenizer of {folder} and with {end} in config.json; "
            "expected the tokenizer that the weights were trained with"
        )
