"""Where a picture looks like what labelled examples show: prototypes of patch tokens, with no training.

The tokens of an encoder inside and outside of the examples' masks become a few unit vectors each, and a token belongs
to those that it is nearest to, as in ProtoSAM (arXiv:2407.07042) and in prototypical networks before it (Snell et al.,
NeurIPS 2017): p(inside) = sum over inside prototypes of the softmax of cosine / temperature. Where to cut is asked of
the examples, too: at the score that gives the best Dice on their own tokens, which becomes 0.5. What is many things,
as a background is, takes several prototypes (k-means on the sphere); how many, and the rest of `ExampleParameters`,
was chosen on images of the training half of the sets that `tools.small.measure` knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.networks.image_tokens import ImageTokens
from medclipsam_monai.networks.protocols import PatchEncoder, TextImageEncoder
from medclipsam_monai.presets.parameters import ExampleParameters
from medclipsam_monai.saliency.maps import stretched
from medclipsam_monai.saliency.method import SaliencyMethod

_ROUNDS = 10
_SEED = 0


class Labelled(Protocol):
    """Pictures (3, H, W) in [0, 1], each with its mask (H, W) bool."""

    @property
    def pairs(self) -> list[tuple[Tensor, Tensor]]: ...


@torch.inference_mode(False)
@torch.enable_grad()
def coverage(encoder: PatchEncoder, mask: Tensor) -> tuple[Tensor, Tensor]:
    """How much of each token lies inside of a mask (H, W), and how much outside; neither where it sees no picture.

    The way from pixels to tokens is the transpose of `restore`, the way back: whatever it does to a picture's shape.

    Returns:
        (N,) and (N,), in [0, 1].
    """
    grid = torch.zeros(1, 1, *encoder.grid, requires_grad=True)
    shape = (int(mask.shape[-2]), int(mask.shape[-1]))
    pixels = encoder.restore(grid, shape)

    def gathered(values: Tensor) -> Tensor:
        (found,) = torch.autograd.grad(pixels, grid, values.reshape(1, 1, *shape), retain_graph=True)
        return found.flatten()

    every, inside = gathered(torch.ones(shape)), gathered(mask.clone().cpu().float())
    share = (inside / every.clamp_min(1e-12)).clamp(0, 1)
    seen = (every > 1e-6 * every.max()).float()
    return share * seen, (1 - share) * seen


def cluster(tokens: Tensor, weights: Tensor, count: int) -> Tensor:
    """Spherical k-means: at most ``count`` unit vectors (n, C) for unit vectors (N, C) with weights (N,).

    The first is the mean of all, each further one starts at the token that is drawn by its distance to those before.
    """
    centres = F.normalize((tokens * weights[:, None]).sum(dim=0, keepdim=True), dim=1)
    generator = torch.Generator().manual_seed(_SEED)
    for _ in range(count - 1):
        far = (1 - (tokens @ centres.T).amax(dim=1)).clamp_min(0) * weights
        if not bool((far > 0).any()):
            break
        centres = torch.cat([centres, tokens[torch.multinomial(far, 1, generator=generator)]])
    for _ in range(_ROUNDS if len(centres) > 1 else 0):
        nearest = (tokens @ centres.T).argmax(dim=1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, tokens * weights[:, None])
        centres = F.normalize(sums[sums.norm(dim=1) > 0], dim=1)
    return centres


def mostly(share: Tensor) -> Tensor:
    """Shares (N,) of one picture's tokens where they are at least a half, or, if none is, the greatest; else 0."""
    return share * (share >= share.max().clamp(max=0.5))


def best_cut(scores: Tensor, inside: Tensor, outside: Tensor) -> float:
    """The score above which tokens are taken to be inside, so that the Dice with what is inside is the highest.

    It lies in the middle of the lowest score inside and the highest outside, 1 below all scores where all are inside.
    """
    order = scores.argsort(descending=True)
    hits, taken = inside[order].cumsum(0), (inside + outside)[order].cumsum(0)
    dice = 2 * hits / (taken + inside.sum()).clamp_min(1e-12)
    last, ranked = int(dice.argmax()), torch.cat([scores[order], scores.min()[None] - 2])
    return float(ranked[last : last + 2].mean())


@dataclass(frozen=True, eq=False)
class Prototypes:
    """Unit vectors of what is inside and outside of masks.

    Attributes:
        inside: (F, C).
        outside: (G, C).
        temperature: of the softmax over cosines.
    """

    inside: Tensor
    outside: Tensor
    temperature: float

    def __call__(self, tokens: Tensor) -> Tensor:
        """Log-odds (..., N) that tokens (..., N, C) are inside."""
        cosines = F.normalize(tokens.float(), dim=-1) @ torch.cat([self.inside, self.outside]).to(tokens.device).T
        inside, outside = (cosines / self.temperature).split([len(self.inside), len(self.outside)], dim=-1)
        odds: Tensor = inside.logsumexp(dim=-1) - outside.logsumexp(dim=-1)
        return odds


class ByExamples(SaliencyMethod):
    """Maps of what examples show, alone or together with a text.

    A map is a probability: 0.5 is where the examples themselves are cut best. Together with a text, its map of another
    method, stretched to [0, 1], is added to the log-odds, and the cut is asked of the examples anew.

    Args:
        encoder: the CLIP; its patch tokens are compared where no other encoder is given.
        examples: the labelled pictures.
        parameters: of the method.
        of_text: the method that explains a text.
        patches: an encoder of pictures alone, such as `DinoEncoder`, whose tokens are compared.

    Raises:
        InputError: a layer that the encoder does not have.
    """

    calibrated = True

    def __init__(
        self,
        encoder: TextImageEncoder,
        examples: Labelled,
        parameters: ExampleParameters,
        of_text: SaliencyMethod,
        patches: PatchEncoder | None = None,
    ) -> None:
        self.parameters, self.of_text, self.patches = parameters, of_text, patches
        source = patches or encoder
        self.layer = source.last_block if parameters.layer is None else parameters.layer
        if self.layer >= source.num_blocks:
            raise InputError(
                f"examples.layer must be under {source.num_blocks}, the blocks there are, got {self.layer}"
            )
        self._pictures = [ImageTokens(encoder, picture[None]) for picture, _ in examples.pairs]
        covered = [coverage(source, mask) for _, mask in examples.pairs]
        self._inside, self._outside = (torch.cat(part) for part in zip(*covered, strict=True))
        tokens = F.normalize(torch.cat([self._tokens(one)[0] for one in self._pictures]).cpu(), dim=1)
        self.prototypes = Prototypes(
            cluster(tokens, torch.cat([mostly(inside) for inside, _ in covered]), parameters.foreground),
            cluster(tokens, torch.cat([mostly(outside) for _, outside in covered]), parameters.background),
            parameters.temperature,
        )
        self._cuts: dict[bytes, float] = {}
        self._known_by = object()

    @property
    def known_by(self) -> object:
        """Not itself: maps may be remembered for longer than the examples are kept."""
        return self._known_by

    def grids(self, image: ImageTokens, text: Tensor) -> Tensor:
        """Maps of K texts, of which one of zeros is none: (B, K, rows, columns) in [0, 1]."""
        scores = self._scores(image, text)
        cuts = torch.tensor([self._cut(one) for one in text], device=scores.device)
        maps: Tensor = (scores - cuts[:, None, None]).sigmoid()
        return maps

    def _scores(self, image: ImageTokens, text: Tensor) -> Tensor:
        """Log-odds (B, K, rows, columns) before the cut."""
        looks = self.prototypes(self._tokens(image)).unflatten(1, (self.patches or image.encoder).grid)[:, None]
        scores: Tensor = looks.repeat(1, len(text), 1, 1)
        said = [k for k, one in enumerate(text) if bool(one.any())]
        if said and self.parameters.text_weight:
            maps = stretched(self.of_text.grids(image, text[said]))
            if maps.shape[-2:] != scores.shape[-2:]:
                maps = F.interpolate(maps, scores.shape[-2:], mode="bilinear", align_corners=False)
            scores[:, said] += self.parameters.text_weight * maps.to(scores)
        return scores

    def _cut(self, text: Tensor) -> float:
        """Where the scores of the examples are cut best, remembered by the text."""
        key = text.cpu().numpy().tobytes()
        if key not in self._cuts:
            scores = torch.cat([self._scores(one, text[None])[0, 0].flatten().cpu() for one in self._pictures])
            self._cuts[key] = best_cut(scores, self._inside, self._outside)
        return self._cuts[key]

    def _tokens(self, image: ImageTokens) -> Tensor:
        """Patch tokens (B, N, C)."""
        if self.patches is None:
            return image.after(self.layer)[:, image.encoder.prefix_tokens :]
        prepared = self.patches.prepare(image.image)
        return self.patches.tokens_of_input(prepared, self.layer)[:, self.patches.prefix_tokens :].float()
