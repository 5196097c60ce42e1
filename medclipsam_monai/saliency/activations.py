"""What the class activation methods share: the last block's first norm as a picture, and its gradient.

The activations are the output of the last block's first norm, patch tokens only, as C pictures of the grid's size. It
is the last place where a ViT that reads its class token alone still has a gradient on the patches: they reach the
class token through that block's attention and nowhere after it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medclipsam_monai.networks.image_tokens import ImageTokens


@torch.inference_mode(False)
@torch.enable_grad()
def activations_and_importance(image: ImageTokens, text: Tensor) -> tuple[Tensor, Tensor]:
    """Activations of the last block's first norm, and each channel's importance for each text.

    Args:
        image: B pictures with their frozen CLIP.
        text: (K, E) unit vectors.

    Returns:
        Activations (B, C, rows, columns), and the mean over the grid of the cosine's gradient, (B, K, C).
    """
    encoder = image.encoder
    before = encoder.last_block - 1
    tokens = image.after(before).clone().requires_grad_()  # a tensor made in inference mode takes no part in a gradient
    with _outputs_of(encoder.first_norm(before + 1)) as outputs:
        embedding = encoder.embed(tokens, before)
    (normed,) = outputs
    score = F.cosine_similarity(embedding.unsqueeze(1), text.clone().to(embedding), dim=-1)
    # The images of a batch do not meet, so that a sum over them gives each its own gradient.
    gradients = [torch.autograd.grad(score[:, k].sum(), normed, retain_graph=True)[0] for k in range(len(text))]
    importance = torch.stack(gradients, dim=1)[:, :, encoder.prefix_tokens :].float().mean(dim=2)
    return normed.detach().float()[:, encoder.prefix_tokens :].transpose(1, 2).unflatten(-1, encoder.grid), importance


@contextmanager
def _outputs_of(module: nn.Module) -> Iterator[list[Tensor]]:
    """Collects what a module gives in this thread while the context lasts; others may use it meanwhile."""
    outputs: list[Tensor] = []
    thread = threading.get_ident()

    def collect(module: nn.Module, inputs: object, output: Tensor) -> None:
        if threading.get_ident() == thread:
            outputs.append(output)

    handle = module.register_forward_hook(collect)
    try:
        yield outputs
    finally:
        handle.remove()
