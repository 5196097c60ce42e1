"""How a picture lies in a network's square input: what its family's own processor does, for batches of tensors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from medclipsam_monai.networks.transformers_sam.families import Triple


@dataclass(frozen=True)
class Frame:
    """The square of a network, and how pictures get into it.

    Attributes:
        side: of the square in pixels.
        letterbox: a picture's longer side fits the square and the rest is padding; else both sides are stretched.
        mean: of the three channels in [0, 1], taken off.
        std: likewise, divided by.
    """

    side: int
    letterbox: bool
    mean: Triple
    std: Triple

    def inner(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns that a picture of a shape takes in the square."""
        if not self.letterbox:
            return self.side, self.side
        scale = self.side / max(shape)
        return int(shape[0] * scale + 0.5), int(shape[1] * scale + 0.5)

    def prepare(self, image: Tensor, device: torch.device) -> Tensor:
        """Pictures (B, 3, H, W) in [0, 1] to the network's input (B, 3, side, side).

        The networks were trained on 8-bit pictures, and their processors resize these as they are: so does this.
        """
        pictures = image.detach().mul(255).round().to("cpu", torch.uint8)
        rows, columns = self.inner((int(image.shape[-2]), int(image.shape[-1])))
        resized = tv.resize(pictures, [rows, columns], tv.InterpolationMode.BILINEAR, antialias=True)
        mean, std = (torch.tensor(values).view(3, 1, 1) * 255 for values in (self.mean, self.std))
        inputs = (resized.to(device, torch.float32) - mean.to(device)) / std.to(device)
        return F.pad(inputs, (0, self.side - columns, 0, self.side - rows))

    def scale(self, shape: tuple[int, int]) -> Tensor:
        """Factors (2,) of x and y from pixels of a picture of a shape to pixels of the square."""
        rows, columns = self.inner(shape)
        return torch.tensor([columns / shape[1], rows / shape[0]])

    def restore(self, logits: Tensor, shape: tuple[int, int]) -> Tensor:
        """Logits (N, M, h, w) over the square to the pixels (N, M, H, W) of a picture of a shape."""
        if self.letterbox:
            rows, columns = self.inner(shape)
            whole = F.interpolate(logits, (self.side, self.side), mode="bilinear", align_corners=False)
            logits = whole[..., :rows, :columns]
        return F.interpolate(logits, shape, mode="bilinear", align_corners=False)
