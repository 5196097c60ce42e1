"""M2IB as the released code runs it: both towers whole at every step, copies for the noise, gradients for all weights.

What this package's way is compared with, for any network whose blocks can be hooked. Source: the released code of
MedCLIP-SAMv2 and M2IB's equations (NeurIPS 2023).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medclipsam_monai.saliency.m2ib import capacity

STEPS, SAMPLES, SEED = 10, 10, 12
"""As published; the seed is that of the noise."""


def plain_m2ib(
    network: nn.Module,
    block: nn.Module,
    embed: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    image: Tensor,
    token_ids: Tensor,
    gamma: float,
    steps: int = STEPS,
    samples: int = SAMPLES,
) -> Tensor:
    """Capacity of each token (T,) in nats after the last step, summed over channels.

    Args:
        network: both towers; all its weights take gradients, as in the released code.
        block: the block of the vision tower whose output (B, T, C), or a tuple that begins with it, is squeezed.
        embed: pictures (B, 3, H, W) and token numbers (B, L) to vectors of both (B, E), by the whole network.
        image: one picture (1, 3, H, W).
        token_ids: one sentence (1, L).
        gamma: weight of the information term.
        steps: of Adam, at a rate of 1.
        samples: of the noise, a copy of the picture for each.
    """
    network.requires_grad_(True)
    captured: list[Tensor] = []
    noise = torch.Generator().manual_seed(SEED)
    shape = _tokens_shape(block, lambda: embed(image, token_ids))
    alpha = torch.full(shape, 5.0, device=image.device, requires_grad=True)

    def bottleneck(module: Any, inputs: Any, output: Any) -> Any:
        h = output[0] if isinstance(output, tuple) else output  # a tuple in transformers 4
        keep = alpha.sigmoid()
        mu, var = keep * h, (1 - keep).square().expand_as(h)
        captured.append(capacity(mu, var))
        eps = torch.randn(samples, *h.shape[1:], generator=noise).to(h.device)
        z = mu + var.sqrt() * eps
        return (z, *output[1:]) if isinstance(output, tuple) else z

    handle = block.register_forward_hook(bottleneck)
    optimiser = torch.optim.Adam([alpha], lr=1.0)
    copies, texts = image.expand(samples, -1, -1, -1), token_ids.expand(samples, -1)
    for _ in range(steps):
        similarity = F.cosine_similarity(*embed(copies, texts)).mean()
        loss = gamma * captured[-1].mean() - similarity
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    handle.remove()
    network.requires_grad_(False)
    network.zero_grad(set_to_none=True)
    return captured[-1].detach().nan_to_num(nan=0.0).mean(dim=0).sum(dim=-1)


def _tokens_shape(block: nn.Module, forward: Callable[[], Any]) -> torch.Size:
    """Shape (1, T, C) of what a block gives for one picture."""
    seen: list[torch.Size] = []

    def look(module: Any, inputs: Any, output: Any) -> None:
        seen.append((output[0] if isinstance(output, tuple) else output).shape)

    handle = block.register_forward_hook(look)
    with torch.no_grad():
        forward()
    handle.remove()
    return seen[0]
