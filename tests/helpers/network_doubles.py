"""Two networks of another kind than CLIP and SAM: small, exact, and without a class token."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medclipsam_monai.networks.protocols import Tracked

SIDE, GRID = 64, 8


@dataclass(frozen=True)
class BrightnessEncoder:
    """Its tokens are (brightness, darkness) of the patches, and its words "bright" and "dark"."""

    fit: str = "squash"
    grid = (GRID, GRID)
    image_size = SIDE
    num_blocks = 2
    last_block = 1
    prefix_tokens = 0
    device = torch.device("cpu")
    logit_scale = torch.tensor(10.0)

    def with_fit(self, fit: str) -> BrightnessEncoder:
        return replace(self, fit=fit)

    def encode_text(self, texts) -> Tensor:
        return torch.tensor([[1.0, 0.0] if "bright" in text else [0.0, 1.0] for text in texts])

    def encode_image(self, image: Tensor) -> Tensor:
        return F.normalize(self.embed(self.tokens_of_input(self.prepare(image), 0), 0), dim=-1)

    def prepare(self, image: Tensor) -> Tensor:
        return F.interpolate(image, (SIDE, SIDE), mode="area")

    def tokens_of_input(self, x: Tensor, block: int) -> Tensor:
        light = F.avg_pool2d(x.mean(1, keepdim=True), SIDE // GRID).flatten(1)
        return torch.stack([light, 1 - light], dim=-1)

    def embed(self, tokens: Tensor, block: int) -> Tensor:
        return tokens.mean(dim=1)

    def first_norm(self, block: int) -> nn.Module:
        return nn.Identity()

    def restore(self, grid: Tensor, shape: tuple[int, int]) -> Tensor:
        return F.interpolate(grid, shape, mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class Shape:
    """All that the segmenter below keeps of a picture."""

    rows: int
    columns: int
    nbytes: int = 16


class BoxSegmenter:
    """Its mask is the box."""

    def encode(self, image: Tensor) -> list[Shape]:
        return [Shape(*image.shape[-2:]) for _ in image]

    def decode(self, embedding, boxes=None, points=None, labels=None, multimask=False):
        rows, columns = torch.arange(embedding.rows).view(-1, 1), torch.arange(embedding.columns)
        inside = [(rows >= y0) & (rows <= y1) & (columns >= x0) & (columns <= x1) for x0, y0, x1, y1 in boxes.tolist()]
        probability = torch.stack(inside).unsqueeze(1).float()
        return probability, torch.ones(len(boxes), 1)


@dataclass(frozen=True)
class Grey:
    """A picture as it is, (H, W)."""

    pixels: Tensor
    nbytes: int = 16


class FollowingSegmenter:
    """Its mask is what is bright in the box, and in the next picture what is bright where the mask was."""

    def __init__(self) -> None:
        self.encoded: list[Tensor] = []
        self.lengths: list[int] = []

    def encode(self, image: Tensor) -> list[Grey]:
        self.encoded += [one.mean(dim=0) for one in image]
        return [Grey(one.mean(dim=0)) for one in image]

    def decode(self, embedding, boxes=None, points=None, labels=None, multimask=False):
        found = _Bright().begin(embedding, boxes)
        return found.probability[:, None], torch.ones(len(boxes), 1)

    def track(self, length: int) -> _Bright:
        self.lengths.append(length)
        return _Bright()


class _Bright:
    def begin(self, embedding, boxes=None, points=None, labels=None) -> Tracked:
        shape = Shape(*embedding.pixels.shape)
        self.last = BoxSegmenter().decode(shape, boxes)[0][:, 0] > 0
        return self.follow(embedding)

    def follow(self, embedding) -> Tracked:
        self.last = self.last & (embedding.pixels > 0.5)
        here = self.last.flatten(1).any(dim=1)
        near = F.max_pool2d(self.last.float(), 5, stride=1, padding=2) > 0
        found, self.last = self.last * embedding.pixels, near
        return Tracked(found, torch.where(here, 6.0, -3.0))


def load_encoder(weights, fit="squash", device="cpu") -> BrightnessEncoder:
    return BrightnessEncoder(fit)


def load_segmenter(weights, device="cpu") -> BoxSegmenter:
    return BoxSegmenter()
