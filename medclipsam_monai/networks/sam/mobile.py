"""MobileSAM: SAM's prompts and decoder behind a TinyViT of 6 million parameters (arXiv:2306.14289).

TinyViT is timm's. MobileSAM's own differs from it in two things: the last stage keeps the grid of the one before, and
SAM's neck takes the classifier's place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from segment_anything.modeling.common import LayerNorm2d
from timm.models.tiny_vit import TinyVit
from torch import Tensor, nn

MARK = "image_encoder.patch_embed.seq.0.c.weight"
"""A name that a file of MobileSAM holds, and no other."""
_WIDTHS, _OUT = (64, 128, 160, 320), 256
_UNUSED = re.compile(r"image_encoder\.(norm_head|head)\.|.*\.attention_bias_idxs$")
_DOWNSAMPLE = re.compile(r"^image_encoder\.layers\.(\d)\.downsample\.")
_RENAMES = (
    ("image_encoder.patch_embed.seq.0.", "image_encoder.patch_embed.conv1."),
    ("image_encoder.patch_embed.seq.2.", "image_encoder.patch_embed.conv2."),
    ("image_encoder.layers.", "image_encoder.stages."),
    (".c.weight", ".conv.weight"),
)


class TinyVitEncoder(nn.Module):
    """MobileSAM's image encoder, at the sizes of its published weights."""

    def __init__(self) -> None:
        super().__init__()
        self.img_size = 1024
        trunk: Any = TinyVit(
            embed_dims=_WIDTHS, num_heads=(2, 4, 5, 10), window_sizes=(7, 7, 14, 7), num_classes=0, drop_path_rate=0.0
        )
        trunk.stages[-1].downsample.conv2.conv.stride = (1, 1)
        self.patch_embed, self.stages = trunk.patch_embed, trunk.stages
        self.neck = nn.Sequential(
            nn.Conv2d(_WIDTHS[-1], _OUT, kernel_size=1, bias=False),
            LayerNorm2d(_OUT),
            nn.Conv2d(_OUT, _OUT, kernel_size=3, padding=1, bias=False),
            LayerNorm2d(_OUT),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Normalised pictures (B, 3, side, side) to embeddings (B, C, side / 16, side / 16)."""
        embedding: Tensor = self.neck(self.stages(self.patch_embed(x)))
        return embedding


def to_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A file of MobileSAM by the names of `TinyVitEncoder`, without the classifier that nothing reads."""
    return {_renamed(name): value for name, value in state.items() if not _UNUSED.match(name)}


def _renamed(name: str) -> str:
    if not name.startswith("image_encoder."):
        return name
    # There a stage ends with the step to the next, in timm the next begins with it.
    name = _DOWNSAMPLE.sub(lambda found: f"image_encoder.stages.{int(found[1]) + 1}.downsample.", name)
    for old, new in _RENAMES:
        name = name.replace(old, new)
    return name
