"""The CLIP that a fine-tuning left in its bundle, for inference, evaluation and MONAI's bundle loader."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, NoReturn

import torch
from monai.transforms import Transform
from torch import nn

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.finetune.checkpoint import BEST, load_best
from medclipsam_monai.finetune.network import ContrastiveCLIP, unwrapped
from medclipsam_monai.networks.clip.preprocess import Fit
from medclipsam_monai.weights.bundles import chosen_checkpoint, log_weights
from medclipsam_monai.weights.state_dicts import check_fit, read_state_dict

_SETTINGS = "clip"
_log = logging.getLogger(__name__)


def load_tuned(
    folder: str | Path,
    clip_weights: str | Path | None = None,
    ckpt_path: str | Path | None = None,
    initial_weights: str | Path = "demo/clip",
    fit: Fit = "squash",
) -> ContrastiveCLIP:
    """The fine-tuned CLIP, or the one that is asked for in its place; the log says which it is.

    A checkpoint holds weights only. Where ``clip_weights`` does not say whose architecture and tokenizer it has, those
    are of the folder ``clip`` beside it, which training writes, or else of ``initial_weights``.

    Args:
        folder: of model.pt, which is taken if nothing else is asked for and it is there.
        clip_weights: what `resolve` takes.
        ckpt_path: another checkpoint.
        initial_weights: where training starts; taken if there is nothing else.
        fit: see `ContrastiveCLIP`.

    Raises:
        InputError: weights are missing, broken, or of another architecture.
    """
    checkpoint = chosen_checkpoint(ckpt_path, Path(folder) / BEST, clip_weights)
    source = initial_weights if clip_weights is None else clip_weights
    if checkpoint is not None and clip_weights is None and (checkpoint.parent / _SETTINGS).is_dir():
        source = checkpoint.parent / _SETTINGS
    network = ContrastiveCLIP(source, fit)
    if checkpoint is not None:
        load_best(network, checkpoint)
    log_weights(_log, {"the CLIP": network.source if checkpoint is None else checkpoint})
    return network


def note_other_model(network: nn.Module, folder: str | Path) -> None:
    """Say in the log if the folder's model.pt is of another architecture than the network that training starts from.

    Training replaces the file. But MONAI's ``load`` with the training configuration would copy from it what fits by
    chance, and say nothing.
    """
    path = Path(folder) / BEST
    if not path.is_file():
        return
    try:
        state = read_state_dict(path)
        with torch.no_grad():
            check_fit(unwrapped(network), state, str(path))
    except InputError as error:
        _log.warning("%s; training replaces it, and monai.bundle.load needs workflow_type='inference' for it", error)


class NoMasks(Transform):
    """The refusal of hosts that take any bundle with an ``inference.json`` for one that segments.

    MONAI Label and MONAI Deploy run a bundle's ``preprocessing`` first; the bundle's own workflow has none.
    """

    def __call__(self, data: Any) -> NoReturn:
        """
        Raises:
            InputError: always.
        """
        raise InputError(
            "medclipsam_finetune gives features of images and captions, no masks; to segment with the tuned CLIP give "
            "its folder models/clip to medclipsam_zeroshot_segmentation, as clip_weights"
        )
