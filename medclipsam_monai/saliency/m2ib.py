"""M2IB: the parts of an image that carry its agreement with a text (Wang et al., NeurIPS 2023; MedCLIP-SAM).

A multi-modal information bottleneck: noise replaces as much as possible of the vision tokens h after one block while
the image keeps its similarity with the text. With lambda = sigmoid(alpha), one alpha per token and channel,

    mu = lambda h,  var = (1 - lambda)^2,  z = mu + sqrt(var) eps,  eps ~ N(0, 1)
    minimise  gamma * mean(KL(N(mu, var) || N(0, 1))) - mean cos(text, image(z))

and the map is the KL term, the information that a token had to keep, summed over channels.

Only the blocks after the bottleneck depend on alpha. The text embedding and the blocks before are computed once, the
networks' weights need no gradient, the last step needs no network at all, and all images, texts and noise samples go
through the rest together.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from medclipsam_monai.networks.image_tokens import ImageTokens
from medclipsam_monai.networks.protocols import TextImageEncoder
from medclipsam_monai.presets.parameters import M2IBParameters
from medclipsam_monai.saliency.method import SaliencyMethod
from medclipsam_monai.saliency.noise import noise_of_steps

_ALPHA_START = 5.0


def capacity(mu: Tensor, var: Tensor, log_var: Tensor | None = None) -> Tensor:
    """KL divergence of N(mu, var) from N(0, 1), elementwise, in nats (M2IB, eq. 5).

    Args:
        mu: means.
        var: variances.
        log_var: their logarithms, where a variance may be too small for its type.

    Examples:
        >>> capacity(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 1.0]))
        tensor([-0.0000, 0.5000])
    """
    return -0.5 * (1 + (var.log() if log_var is None else log_var) - mu.square() - var)


@dataclass(frozen=True)
class M2IB(M2IBParameters, SaliencyMethod):
    """Saliency of texts in images by the multi-modal information bottleneck.

    Args:
        layer: 0-based block whose output is squeezed.
        gamma: weight of the information term; larger maps keep less (the released code's ``vbeta``).
        steps: optimiser steps.
        samples: noise samples per step.
        learning_rate: of Adam.
        seed: of the noise. Every image and text sees the same noise, so a map does not depend on its batch.
        standardise: squeeze the tokens after removing each channel's mean and deviation over the image, as the
            information bottleneck for attribution does. Needed by small networks, off in the papers.
        share_alpha: one alpha per token instead of one per token and channel.
        chunk: how many image-text pairs go through the network together.

    Raises:
        InputError: a value of another type or out of its range.
    """

    def grids(self, image: ImageTokens, text: Tensor) -> Tensor:
        """Maps of K texts in B images (B, K, rows, columns), see `SaliencyMethod`."""
        encoder = image.encoder
        capacity = self.token_capacity(encoder, image.after(self.layer), text)
        return capacity_to_grid(capacity[..., encoder.prefix_tokens :], encoder.grid)

    def token_capacity(self, encoder: TextImageEncoder, tokens: Tensor, text: Tensor) -> Tensor:
        """Information kept in each token, in nats summed over channels.

        Args:
            tokens: (B, prefix + N, C) after block ``layer``.
            text: (K, E) unit vectors.

        Returns:
            (B, K, prefix + N), a class token first.
        """
        images, texts = len(tokens), len(text)
        pairs = [(b, k) for b in range(images) for k in range(texts)]
        rows = []
        for start in range(0, len(pairs), self.chunk):
            part = pairs[start : start + self.chunk]
            h = tokens[[b for b, _ in part]]
            rows.append(self._squeeze(encoder, h, text[[k for _, k in part]].to(h)))
        kept: Tensor = torch.cat(rows).unflatten(0, (images, texts))
        return kept

    @torch.inference_mode(False)
    @torch.enable_grad()
    def _squeeze(self, encoder: TextImageEncoder, h: Tensor, text: Tensor) -> Tensor:
        """Optimise the bottleneck of P pairs: tokens (P, T, C) and texts (P, E) to capacity (P, T)."""
        h, text = h.clone(), text.clone()  # tensors made in inference mode take no part in a gradient
        mean, deviation = _channel_statistics(h) if self.standardise else (h.new_zeros(()), h.new_ones(()))
        h = (h - mean) / deviation
        shape = h.shape[:-1] + ((1,) if self.share_alpha else h.shape[-1:])
        alpha = torch.full(shape, _ALPHA_START, dtype=h.dtype, device=h.device, requires_grad=True)
        optimiser = torch.optim.Adam([alpha], lr=self.learning_rate)
        # The map is read at the last step before alpha moves again: that step needs no pass through the network.
        for noise in noise_of_steps(self.seed, self.steps - 1, (self.samples, *h.shape[1:]), h.device):
            mu, sigma = _bottleneck(h, alpha)
            z = mu + sigma * noise.unsqueeze(1)  # (samples, P, T, C)
            fit = self._similarity(encoder, z * deviation + mean if self.standardise else z, text)
            # A sum over pairs: each alpha sees the gradient it would see alone, and Adam works elementwise.
            loss = (self.gamma * _kept(mu, sigma, alpha).mean(dim=(1, 2)) - fit).sum()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
        alpha = alpha.detach()
        return _kept(*_bottleneck(h, alpha), alpha).sum(dim=-1)

    def _similarity(self, encoder: TextImageEncoder, z: Tensor, text: Tensor) -> Tensor:
        """Mean cosine over the noise samples: z (S, P, T, C), text (P, E) to (P,)."""
        samples = len(z)
        embedding = encoder.embed(z.flatten(0, 1), self.layer).unflatten(0, (samples, -1))
        return F.cosine_similarity(embedding.float(), text, dim=-1).mean(dim=0)


def _bottleneck(h: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
    """mu like h (P, T, C), and sqrt(var) = 1 - lambda like alpha, which may have one channel."""
    return alpha.sigmoid() * h, (-alpha).sigmoid()


def _kept(mu: Tensor, sigma: Tensor, alpha: Tensor) -> Tensor:
    """Information kept (P, T, C).

    1 - sigmoid(alpha) is 0 in float32 from alpha = 17 on, and its square soon after any form of it: so it would be
    for the very tokens that matter most. The logarithm is taken of neither.
    """
    return capacity(mu, sigma.square(), 2 * F.logsigmoid(-alpha))


def _channel_statistics(h: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel over an image's tokens: (P, T, C) to two (P, 1, C)."""
    return h.mean(dim=1, keepdim=True), h.std(dim=1, keepdim=True).clamp_min(1e-6)


def capacity_to_grid(capacity: Tensor, grid: tuple[int, int]) -> Tensor:
    """Capacity of the patches' tokens (B, K, N) to their grid (B, K, rows, columns)."""
    maps: Tensor = capacity.unflatten(-1, grid)
    return maps
