"""SAM-Med2D: SAM with an adapter in every block of its image encoder, trained on medical pictures (arXiv:2308.16184).

An adapter weighs the channels of a block's tokens by what they are on average, looks at neighbours in half the
resolution, and stands beside the block's MLP: x + MLP(norm(x)) + adapter(norm(x)).
"""

from __future__ import annotations

import torch
from segment_anything.modeling import Sam
from segment_anything.modeling.image_encoder import Block, ImageEncoderViT, window_partition, window_unpartition
from torch import Tensor, nn

ADAPTER = ".Adapter."
"""What the names of an adapter's tensors hold, in SAM-Med2D's files as here."""
_SQUEEZE = 4


class Adapter(nn.Module):
    """SAM-Med2D's ``Adapter_Layer``, with the same parameters under the same names.

    Args:
        width: channels C of the tokens.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.channel = nn.Sequential(
            nn.Linear(width, width // _SQUEEZE, bias=False),
            nn.ReLU(),
            nn.Linear(width // _SQUEEZE, width, bias=False),
            nn.Sigmoid(),
        )
        self.spatial = nn.Sequential(
            nn.Conv2d(width, width, 3, stride=2, padding=1, bias=False),
            nn.ReLU(),
            nn.ConvTranspose2d(width, width, 4, stride=2, padding=1, bias=False),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Tokens on a grid (B, H, W, C), H and W even, to the same shape."""
        x = x.permute(0, 3, 1, 2)
        weighed = x * self.channel(x.mean(dim=(2, 3)))[:, :, None, None]
        adapted: Tensor = self.norm((x + self.spatial(weighed)).permute(0, 2, 3, 1))
        return adapted


class AdaptedBlock(nn.Module):
    """A block of SAM's image encoder with an adapter; the other parameters keep their names.

    Args:
        block: the module it takes its weights from (shared, not copied).
    """

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.norm1, self.attn, self.norm2, self.mlp = block.norm1, block.attn, block.norm2, block.mlp
        self.window_size = block.window_size
        self.Adapter = Adapter(block.norm1.normalized_shape[0])

    def forward(self, x: Tensor) -> Tensor:
        """Tokens on a grid (B, H, W, C) to the same shape."""
        mixed = self.norm1(x)
        if self.window_size > 0:
            windows, padded = window_partition(mixed, self.window_size)
            mixed = window_unpartition(self.attn(windows), self.window_size, padded, (x.shape[1], x.shape[2]))
        else:
            mixed = self.attn(mixed)
        x = x + mixed
        normed = self.norm2(x)
        return x + self.mlp(normed) + self.Adapter(normed)


def add_adapters(image_encoder: ImageEncoderViT) -> None:
    """Give every block of a SAM image encoder an adapter with random weights, in place."""
    image_encoder.blocks = nn.ModuleList(AdaptedBlock(block) for block in image_encoder.blocks)


class SamMed2D(Sam):  # type: ignore[misc]  # the library has no types
    """A SAM for pictures that fill its square, see `Stretched`; with adapters or without."""


class Stretched:
    """Pictures in SAM-Med2D's square: both sides are stretched to it, and pixels taken as they are, not mixed.

    So does SAM-Med2D's predictor. It differs from SAM's, where the longer side fits the square, the rest is padding
    and pixels are mixed (`LongestSide`). Its training and its evaluation script pad pictures that are smaller than the
    square instead of stretching them; its predictor does not, and neither does this.

    Args:
        side: of the square in pixels.
    """

    def __init__(self, side: int) -> None:
        self.side = side

    def inner(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns that a picture of a shape takes in the square: all."""
        return self.side, self.side

    def resize(self, pictures: Tensor) -> Tensor:
        """Pictures (B, 3, H, W), uint8, to (B, 3, side, side)."""
        rows, columns = (self._nearest(int(length)) for length in pictures.shape[-2:])
        return pictures[:, :, rows][..., columns]

    def _nearest(self, length: int) -> Tensor:
        """Which of so many pixels each of the square's takes: OpenCV's INTER_NEAREST, rounding in float64 included."""
        step = 1 / (self.side / length)
        return (torch.arange(self.side, dtype=torch.float64) * step).floor().long().clamp_max(length - 1)
