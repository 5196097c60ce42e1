"""UniverSeg (arXiv:2304.06131): a picture is segmented as the labelled pictures of a support set are, with no training.

The network of the paper, its parameters under the names of the published file (universeg_v1_nf64_ss64_STA.pt): a U-Net
whose blocks let the target meet every member of the support. Where u is the target and v_i are the n members,

    z_i = conv(u || v_i)              (CrossConv, eq. 2)
    u'  = A(conv(mean_i z_i)),  v_i' = A(conv(z_i))      (CrossBlock, eq. 3)

with a leaky ReLU A. The convolution of a concatenation is the sum of two convolutions, so that here the target's half
is computed once for all members.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.weights.state_dicts import check_fit, load_exactly, read_state_dict

SIDE = 128
"""Of the square that the published weights were trained with, in pixels."""
WIDTHS = (64, 64, 64, 64)
"""Features of the published network's encoder, from fine to coarse."""


class _Named(nn.Module):
    """Gives a module the name that it has in the published file."""

    def __init__(self, **modules: nn.Module) -> None:
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)


class CrossBlock(nn.Module):
    """One block: the target meets the support.

    Args:
        target: channels of the target.
        support: channels of a member of the support.
        width: channels of both afterwards.
    """

    def __init__(self, target: int, support: int, width: int) -> None:
        super().__init__()
        self._target_channels = target
        self.cross: Any = _Named(cross_conv=nn.Conv2d(target + support, width, 3, padding=1))
        self.target: Any = _Named(vmapped=_Named(conv=nn.Conv2d(width, width, 3, padding=1)))
        self.support: Any = _Named(vmapped=_Named(conv=nn.Conv2d(width, width, 3, padding=1)))

    def forward(self, target: Tensor, support: Tensor) -> tuple[Tensor, Tensor]:
        """Target (B, C, H, W) and support (B, n, C', H, W) to both with ``width`` channels."""
        conv, size = self.cross.cross_conv, support.shape[:2]
        of_target = F.conv2d(target, conv.weight[:, : self._target_channels], conv.bias, padding=1)
        of_support = F.conv2d(support.flatten(0, 1), conv.weight[:, self._target_channels :], padding=1)
        met = of_target[:, None] + of_support.unflatten(0, size)
        target = F.leaky_relu(self.target.vmapped.conv(met.mean(dim=1)))
        support = F.leaky_relu(self.support.vmapped.conv(met.flatten(0, 1)))
        return target, support.unflatten(0, size)


class UniverSeg(nn.Module):
    """The network.

    Args:
        widths: features of the encoder's blocks, from fine to coarse; the decoder goes back through them.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        before = (1, *widths[:-1])
        supports = (2, *widths[:-1])
        self.enc_blocks = nn.ModuleList(
            CrossBlock(*channels) for channels in zip(before, supports, widths, strict=True)
        )
        up = list(widths[-2::-1])
        coarser = [widths[-1], *up[:-1]]
        self.dec_blocks = nn.ModuleList(
            CrossBlock(below + skip, below + skip, skip) for below, skip in zip(coarser, up, strict=True)
        )
        self.out_conv: Any = _Named(conv=nn.Conv2d(widths[0], 1, 1))

    def forward(self, target_image: Tensor, support_images: Tensor, support_labels: Tensor) -> Tensor:
        """Logits (B, 1, H, W) of what the support's labels show.

        Args:
            target_image: (B, 1, H, W) in [0, 1], sides that can be halved as often as there are coarser blocks.
            support_images: (B, n, 1, H, W) in [0, 1].
            support_labels: (B, n, 1, H, W), 0 or 1.
        """
        target, support = target_image, torch.cat([support_images, support_labels], dim=2)
        kept: list[tuple[Tensor, Tensor]] = []
        for number, block in enumerate(self.enc_blocks):
            if number:
                kept.append((target, support))
                target, support = _half(target), _each(_half, support)
            target, support = block(target, support)
        for block in self.dec_blocks:
            fine_target, fine_support = kept.pop()
            target = torch.cat([_twice(target), fine_target], dim=1)
            support = torch.cat([_each(_twice, support), fine_support], dim=2)
            target, support = block(target, support)
        logits: Tensor = self.out_conv.conv(target)
        return logits

    @torch.no_grad()
    def segment(self, picture: Tensor, pairs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """Probability (H, W) in [0, 1] of what labelled pictures show, in the form that the weights were trained with.

        Args:
            picture: (3, H, W) in [0, 1]; it and the examples become grey squares of `SIDE` pixels.
            pairs: each a picture (3, h, w) and its mask (h, w) bool.
        """
        device = next(self.parameters()).device
        images = torch.stack([_square(one) for one, _ in pairs])[None].to(device)
        labels = torch.stack([_square(mask[None].float()).round() for _, mask in pairs])[None].to(device)
        logits = self(_square(picture)[None].to(device), images, labels)
        shape = (int(picture.shape[-2]), int(picture.shape[-1]))
        return F.interpolate(logits, shape, mode="bilinear", align_corners=False)[0, 0].sigmoid()


def load_universeg(source: str | Path, device: str | torch.device = "cpu") -> UniverSeg:
    """The network with the weights of a file, frozen.

    Args:
        source: a file of plain tensors, such as the published universeg_v1_nf64_ss64_STA.pt.
        device: where the weights go.

    Raises:
        InputError: no such file, or one of another network.
    """
    state = read_state_dict(source)
    blocks = sorted(key for key in state if key.startswith("enc_blocks.") and key.endswith(".cross.cross_conv.bias"))
    if not blocks:
        raise InputError(f"{source} holds no UniverSeg; expected tensors such as enc_blocks.0.cross.cross_conv.weight")
    widths = tuple(len(state[key]) for key in blocks)
    with torch.device("meta"):
        check_fit(UniverSeg(widths), state, str(source))  # before memory is taken for what a file describes
    network = UniverSeg(widths)
    load_exactly(network, state, str(source))
    return network.eval().requires_grad_(False).to(device)


def _each(function: Any, support: Tensor) -> Tensor:
    """A function of pictures (N, C, H, W) for all members of supports (B, n, C, H, W)."""
    found: Tensor = function(support.flatten(0, 1))
    return found.unflatten(0, support.shape[:2])


def _half(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 2)


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


def _square(picture: Tensor) -> Tensor:
    """A picture (C, H, W) in [0, 1] as a grey square (1, `SIDE`, `SIDE`)."""
    grey = picture.float().mean(dim=0, keepdim=True)
    resized = F.interpolate(grey[None], (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True)
    return resized[0].clamp(0, 1)
