"""The grounding of the small CLIP's training: tokens inside a target's mask fit its text better than tokens outside."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_GAIN = 5.0


def noise_embedding(visual: Any, hidden: Tensor, count: int = 32) -> Tensor:
    """What M2IB puts in a token's place, in the joint space: tokens (B, n, C) to the mean embedding (B, E) of noise."""
    mean, deviation = hidden.mean(1, keepdim=True), hidden.std(1, keepdim=True)
    noise = torch.randn(len(hidden), count, hidden.shape[-1], device=hidden.device) * deviation + mean
    return visual.head(visual.trunk.norm(noise)).mean(1)


def grounding_loss(
    patches: Tensor, noise: Tensor, index: Tensor, text: Tensor, share: Tensor, strict: bool = False
) -> Tensor:
    """Agreement of M2IB's map with the masks of the targets that are present; uses masks.

    With mean pooling, v the mean of the tokens p_i and q the noise that M2IB would put in a token's place, keeping
    token i changes cos(v, t) to first order by g_i = (p_i - q) (t - cos(v, t) v / |v|) / |v|: this is what moves
    M2IB's alpha at first. In the end the target's tokens should be all that is left. So, for text and mask of a target:

    - g_i is positive inside the mask, negative outside, and its softmax over tokens follows the mask;
    - the softmax of cos(p_i, t) follows the mask, too;
    - with noise outside the mask the picture fits the text better than whole, with noise inside it fits worse;
    - if strict, g_i is that of a picture of which a random part is noise already, as it becomes while M2IB works;
    - if strict, a picture of noise alone fits the text worse than the picture (else M2IB would rather keep nothing),
      the tokens of positive g_i overlap with the mask (soft Dice), and what is outside weighs more, the larger it is.

    Args:
        patches: token embeddings (B, n, E).
        noise: embedding (B, E) of a token that is noise.
        index: the patches' numbers (B, n).
        text: text embeddings of the targets, unit vectors (P, E).
        share: how much of each patch each target covers, (B, P, N) of all N patches; NaN where the target is absent.
        strict: whether the last of these count.
    """
    patches, noise, text = patches.float(), noise.float(), text.float()
    truth = share.gather(2, index.unsqueeze(1).expand(-1, share.shape[1], -1))
    row, column = (truth.nan_to_num(0.0).sum(2) > 0.5).nonzero(as_tuple=True)
    truth, target, noise = truth[row, column], text[column], noise[row].unsqueeze(1)
    tokens, mean = patches[row], patches.mean(1)[row]
    seen = mean
    if strict:
        replaced = 0.95 * torch.rand(len(mean), 1, device=mean.device)
        seen = (1 - replaced) * mean + replaced * noise.squeeze(1)
    unit, length = F.normalize(seen, dim=-1), seen.norm(dim=-1, keepdim=True)
    pull = (target - (target * unit).sum(1, keepdim=True) * unit) / length
    gain = _GAIN * ((tokens - noise) @ pull.unsqueeze(-1)).squeeze(-1)
    fit = (F.normalize(tokens, dim=-1) @ target.unsqueeze(-1)).squeeze(-1) / 0.1
    where = (truth / truth.sum(1, keepdim=True)).clamp_min(1e-6)
    divergence = sum(
        (F.kl_div(x.log_softmax(1), where, reduction="none").sum(1) for x in (gain, fit)), gain.new_zeros(())
    )
    entropy = F.binary_cross_entropy_with_logits(gain, truth, reduction="none")
    # Inside and outside weigh the same, however small the target, but for what is said below.
    inside = (entropy * truth).sum(1) / truth.sum(1)
    outside = (entropy * (1 - truth)).sum(1) / (1 - truth).sum(1).clamp_min(1)
    moved = (truth.unsqueeze(-1) * (tokens - noise)).mean(1)
    whole, only, without = (
        F.cosine_similarity(x, target, dim=-1) / 0.1 for x in (mean, noise.squeeze(1) + moved, mean - moved)
    )
    ends = F.softplus(whole - only) + F.softplus(without - whole)
    if strict:
        kept, share_inside = gain.sigmoid(), truth.mean(1).clamp(1e-4, 0.5)
        dice = 1 - 2 * (kept * truth).sum(1) / (kept + truth).sum(1).clamp_min(1e-6)
        void = F.softplus(F.cosine_similarity(noise.squeeze(1), target, dim=-1) / 0.1 - whole)
        more = ((1 - share_inside) / share_inside).sqrt()
        inside, outside = (2 * x / (1 + more) for x in (inside, more * outside))
        ends = ends + dice + void
    return (divergence + 0.5 * (inside + outside) + ends).mean()
