"""A vision tower for small CLIPs: a pyramid of convolutions in place of a ViT's patches, under a name that timm knows.

A ViT that cuts a picture into patches must learn from the pictures alone that near pixels belong together; a few
thousand pictures do not teach it. Convolutions know it from the start ("Early convolutions help transformers see
better", Xiao et al., NeurIPS 2021), and going down to a stride of 32 and up again (feature pyramid networks, Lin et
al., CVPR 2017) shows each token the whole picture before the first block. What follows is timm's own VisionTransformer.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from monai.networks.blocks.convolutions import Convolution
from monai.networks.blocks.segresnet_block import ResBlock
from timm.models import register_model
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

IMAGE_SIZE, STRIDE, WIDTH, BLOCKS = 224, 8, 192, 1
_CHANNELS = (24, 48, 96, 160, 224)  # at strides 2, 4, 8, 16, 32
_RESIDUALS = (0, 1, 2, 2, 2)
_NORM = ("GROUP", {"num_groups": 8})


class PyramidEmbed(nn.Module):
    """Pictures (B, 3, S, S) to tokens (B, (S / 8)^2, C), in the form of timm's patch embeddings."""

    def __init__(self, img_size: int, embed_dim: int, **_: object) -> None:
        super().__init__()
        self.img_size = (img_size, img_size)
        self.grid_size = (img_size // STRIDE, img_size // STRIDE)
        self.num_patches = self.grid_size[0] * self.grid_size[1]
        widths = (3, *_CHANNELS)
        self.down = nn.ModuleList(
            nn.Sequential(
                Convolution(2, before, after, strides=2, act="RELU", norm=_NORM, bias=False),
                *(ResBlock(2, after, _NORM) for _ in range(count)),
            )
            for before, after, count in zip(widths[:-1], widths[1:], _RESIDUALS, strict=True)
        )
        self.side = nn.ModuleList(nn.Conv2d(width, embed_dim, 1) for width in _CHANNELS[2:])

    def forward(self, x: Tensor) -> Tensor:
        seen: list[Tensor] = []
        for step in self.down:
            x = step(x)
            seen.append(x)
        fine, middle, coarse = (side(level) for side, level in zip(self.side, seen[2:], strict=True))
        middle = middle + F.interpolate(coarse, scale_factor=2.0)
        found: Tensor = fine + F.interpolate(middle, scale_factor=2.0)
        return found.flatten(2).transpose(1, 2)


@register_model
def medclipsam_pyramid_vit_224(pretrained: bool = False, **settings: Any) -> VisionTransformer:
    """timm's entry of the tower; open_clip finds it by this name in a CLIP's configuration.

    Args:
        pretrained: must be false: the weights come with the CLIP.
        settings: of timm's VisionTransformer; what timm adds on where to find weights is not needed.
    """
    if pretrained:
        raise ValueError("no weights are fetched for medclipsam_pyramid_vit_224")
    wanted = {name: value for name, value in settings.items() if "_rate" in name or name == "num_classes"}
    tower = VisionTransformer(
        img_size=IMAGE_SIZE,
        patch_size=STRIDE,
        embed_dim=WIDTH,
        depth=BLOCKS,
        num_heads=WIDTH // 64,
        embed_layer=PyramidEmbed,
        **wanted,
    )
    about: Any = {"input_size": (3, IMAGE_SIZE, IMAGE_SIZE)}  # timm's models carry it, open_clip asks for it
    tower.default_cfg = tower.pretrained_cfg = about
    return tower
