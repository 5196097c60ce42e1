"""A network that is trained in seconds, for what needs dozens of trainings: campaigns that are simulated.

MONAI's U-Net on pictures of 64 x 64, in this process. The learning rate falls over three cycles, at the end of each of
which the network is kept as a member, so that there is an entropy as of `CheckpointEnsemble`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from monai.data import DataLoader, Dataset
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from monai.transforms import Compose, RandAffined, RandFlipd, RandScaleIntensityd, RandShiftIntensityd
from monai.utils import set_determinism
from torch import Tensor, nn

from medclipsam_monai.weak.ensemble.uncertainty import entropy, uncertainty_score

SIDE = 64
_CHANNELS = (8, 16, 32, 64)
_CYCLES = 3
_BATCH = 8


def quick_picture(values: Tensor) -> Tensor:
    """A grey picture (1, H, W) as the network sees it: (1, SIDE, SIDE), of mean 0 and deviation 1."""
    picture = _resized(values)
    return (picture - picture.mean()) / picture.std().clamp(min=1e-6)


def quick_mask(mask: Tensor) -> Tensor:
    """A mask (H, W) as it is learnt: (1, SIDE, SIDE) float32, 0 or 1."""
    return (_resized(mask[None].float()) > 0.5).float()


def _resized(values: Tensor) -> Tensor:
    return F.interpolate(values[None], (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)[0]


def train_members(pictures: Tensor, masks: Tensor, steps: int, seed: int) -> list[nn.Module]:
    """Train on labelled pictures.

    Args:
        pictures: (N, 1, SIDE, SIDE) of `quick_picture`.
        masks: (N, 1, SIDE, SIDE) of `quick_mask`.
        steps: of the optimiser, with 8 pictures each.
        seed: the same one gives the same members.

    Returns:
        The network at the end of each of its 3 cycles.
    """
    set_determinism(seed)
    network = _new_network()
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-4)
    cycle = max(1, steps // _CYCLES)
    schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, cycle, eta_min=3e-5)
    loss = DiceCELoss(sigmoid=True, batch=True)
    draws = np.random.default_rng(seed).integers(0, len(pictures), cycle * _CYCLES * _BATCH)
    items = Dataset([{"image": pictures[place], "mask": masks[place]} for place in draws], _augmentation())
    members: list[nn.Module] = []
    for step, batch in enumerate(DataLoader(items, batch_size=_BATCH), start=1):
        optimizer.zero_grad()
        loss(network(batch["image"]), batch["mask"]).backward()
        optimizer.step()
        schedule.step()
        if step % cycle == 0:
            members.append(copy.deepcopy(network).eval())
    set_determinism(None)
    return members


def _new_network() -> UNet:
    return UNet(2, in_channels=1, out_channels=1, channels=_CHANNELS, strides=(2, 2, 2), num_res_units=1)


def _augmentation() -> Compose:
    both = ("image", "mask")
    turn = RandAffined(
        both,
        prob=0.8,
        rotate_range=0.2,
        translate_range=SIDE // 12,
        scale_range=0.15,
        mode=("bilinear", "nearest"),
        padding_mode="border",
    )
    levels = RandScaleIntensityd("image", 0.2, prob=0.5), RandShiftIntensityd("image", 0.2, prob=0.5)
    return Compose([RandFlipd(both, prob=0.5, spatial_axis=1), turn, *levels])


@torch.no_grad()
def mean_probability(members: Sequence[nn.Module], pictures: Tensor) -> Tensor:
    """What the members find in pictures (N, 1, SIDE, SIDE): (N, SIDE, SIDE) in [0, 1]."""
    chunks = [torch.stack([member(chunk).sigmoid() for member in members]).mean(dim=0) for chunk in pictures.split(32)]
    return torch.cat(chunks)[:, 0]


def uncertainty_scores(probability: Tensor) -> list[float]:
    """Boundary-normalised entropy of each of (N, SIDE, SIDE), the measure of `EnsemblePrediction.score`."""
    return [uncertainty_score(entropy(torch.stack([1 - p, p])), p > 0.5) for p in probability]


def at_size(probability: Tensor, shape: Sequence[int]) -> Tensor:
    """(SIDE, SIDE) at a picture's own size (H, W)."""
    return F.interpolate(probability[None, None], tuple(shape), mode="bilinear", align_corners=False)[0, 0]
