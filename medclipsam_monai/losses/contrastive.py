r"""DHN-NCE and its family: InfoNCE, DCL and HN-NCE are the same formula with parts switched off.

With :math:`s_{ij} = \langle v_i, t_j \rangle / \tau` over a batch of B pairs, MedCLIP-SAM (arXiv 2403.20253, eq. 1-4)
minimises the sum of two directions, each

.. math::
    L = \frac{1}{B} \sum_i \Big( -s_{ii} + \log \sum_{j \ne i} e^{s_{ij}} W_{ij} \Big), \qquad
    W_{ij} = \frac{(B - 1) \, e^{\beta s_{ij}}}{\sum_{k \ne i} e^{\beta s_{ik}}}

========  =================  =====================================
loss      hardness beta      positive pair in the denominator
========  =================  =====================================
InfoNCE   0                  yes
DCL       0                  no (decoupled)
HN-NCE    > 0                yes
DHN-NCE   > 0                no (decoupled)
========  =================  =====================================
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LOWEST_TEMPERATURE = 0.01
"""A learned temperature does not fall below this, as in CLIP, where the logit scale ends at 100."""


def _validate(image: Tensor, text: Tensor, betas: tuple[float, float], false_negatives: Tensor | None) -> None:
    if image.ndim != 2 or image.shape != text.shape:
        raise ValueError(
            "image and text features must be two matrices of one shape (batch, dim), "
            f"got {tuple(image.shape)} and {tuple(text.shape)}"
        )
    batch = image.shape[0]
    if batch < 2:
        raise ValueError(f"a contrastive loss needs at least 2 pairs to have negatives, got {batch}")
    if min(betas) < 0:
        raise ValueError(f"beta must be zero or positive, got {min(betas)}")
    if false_negatives is not None and tuple(false_negatives.shape) != (batch, batch):
        raise ValueError(f"false_negatives must be ({batch}, {batch}), got {tuple(false_negatives.shape)}")


def _one_direction(logits: Tensor, negative: Tensor, beta: float, decoupled: bool) -> Tensor:
    """Mean loss of the rows of `logits` (B, B) against their columns; `negative` (B, B) marks the negatives."""
    positive = logits.diagonal()
    count = negative.sum(dim=1)
    # A row without negatives says nothing; dropping it before the log-sum-exp keeps NaN out of the gradient.
    logits, negative, positive, count = (x[count > 0] for x in (logits, negative, positive, count))
    if logits.shape[0] == 0:
        raise ValueError("every other pair of the batch is marked as a false negative: no negatives are left")

    outside = ~negative
    log_normaliser = (beta * logits).masked_fill(outside, -torch.inf).logsumexp(dim=1, keepdim=True)
    log_weight = count.to(logits.dtype).log().unsqueeze(1) + beta * logits - log_normaliser
    denominator = (logits + log_weight).masked_fill(outside, -torch.inf).logsumexp(dim=1)
    if not decoupled:
        denominator = torch.logaddexp(denominator, positive)
    return (denominator - positive).mean()


def contrastive_loss(
    image: Tensor,
    text: Tensor,
    temperature: float | Tensor = 0.6,
    beta_image: float = 0.15,
    beta_text: float = 0.15,
    decoupled: bool = True,
    false_negatives: Tensor | None = None,
) -> Tensor:
    """The whole family in one function; see the module's table for which parameters give which loss.

    Computed through log-sum-exp, in float32 (float64 stays float64) whatever autocast says.

    Args:
        image: image features (B, dim), normalised here; row i belongs to row i of `text`.
        text: text features (B, dim).
        temperature: tau, positive; a tensor may be learned.
        beta_image: hardness of the negatives of an image (image to text), zero or positive.
        beta_text: hardness of the negatives of a text (text to image), zero or positive.
        decoupled: leave the positive pair out of the denominator.
        false_negatives: (B, B) bool, true where text j also describes image i; such pairs are no negatives. The
            diagonal is ignored. A row left without negatives is left out of the mean.

    Returns:
        A scalar: image-to-text plus text-to-image loss, each a mean over the batch.

    Raises:
        ValueError: for fewer than 2 pairs, features of two shapes, a negative beta, a temperature that is not
            positive, or no negatives at all.

    Examples:
        >>> right, wrong = torch.eye(3), torch.eye(3).roll(1, dims=0)
        >>> bool(contrastive_loss(right, right) < contrastive_loss(right, wrong))
        True
    """
    _validate(image, text, (beta_image, beta_text), false_negatives)
    tau = float(temperature.detach() if isinstance(temperature, Tensor) else temperature)
    if not tau > 0:
        raise ValueError(f"temperature must be positive, got {tau}")
    with torch.autocast(device_type=image.device.type, enabled=False):
        dtype = torch.float64 if image.dtype == torch.float64 else torch.float32
        image = F.normalize(image.to(dtype), dim=1)
        text = F.normalize(text.to(dtype), dim=1)
        logits = image @ text.T / temperature
        negative = ~torch.eye(len(image), dtype=torch.bool, device=image.device)
        if false_negatives is not None:
            negative &= ~false_negatives.to(device=image.device, dtype=torch.bool)
        return _one_direction(logits, negative, beta_image, decoupled) + _one_direction(
            logits.T, negative.T, beta_text, decoupled
        )


class ContrastiveLoss(nn.Module):
    """`contrastive_loss` as a module with its parameters fixed, or with the temperature learned.

    Args:
        temperature: tau, positive; where it is learned, where it starts.
        beta_image: hardness of an image's negatives.
        beta_text: hardness of a text's negatives.
        decoupled: leave the positive pair out of the denominator.
        learn_temperature: make log tau a parameter; tau then stays at `LOWEST_TEMPERATURE` or above.
    """

    def __init__(
        self,
        temperature: float,
        beta_image: float,
        beta_text: float,
        decoupled: bool,
        learn_temperature: bool = False,
    ) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        if min(beta_image, beta_text) < 0:
            raise ValueError(f"beta must be zero or positive, got {min(beta_image, beta_text)}")
        self._fixed_temperature = temperature
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature))) if learn_temperature else None
        self.beta_image = beta_image
        self.beta_text = beta_text
        self.decoupled = decoupled

    @property
    def temperature(self) -> float | Tensor:
        """tau: a number where it is fixed, a tensor with a gradient where it is learned."""
        if self.log_temperature is None:
            return self._fixed_temperature
        return self.log_temperature.exp().clamp_min(LOWEST_TEMPERATURE)

    def forward(self, image: Tensor, text: Tensor, false_negatives: Tensor | None = None) -> Tensor:
        """Scalar loss of features (B, dim) and (B, dim); see `contrastive_loss`."""
        return contrastive_loss(
            image, text, self.temperature, self.beta_image, self.beta_text, self.decoupled, false_negatives
        )

    def extra_repr(self) -> str:
        tau = float(torch.as_tensor(self.temperature).detach())
        learned = "" if self.log_temperature is None else " (learned)"
        betas = f"beta_image={self.beta_image}, beta_text={self.beta_text}"
        return f"temperature={tau:g}{learned}, {betas}, decoupled={self.decoupled}"


class DHNNCELoss(ContrastiveLoss):
    """Decoupled hard-negative noise-contrastive estimation (MedCLIP-SAM, arXiv 2403.20253), the paper's defaults."""

    def __init__(
        self,
        temperature: float = 0.6,
        beta_image: float = 0.15,
        beta_text: float = 0.15,
        learn_temperature: bool = False,
    ) -> None:
        super().__init__(temperature, beta_image, beta_text, True, learn_temperature)


class HNNCELoss(ContrastiveLoss):
    """Hard-negative noise-contrastive estimation (arXiv 2301.02280): the positive is in the denominator."""

    def __init__(
        self,
        temperature: float = 0.6,
        beta_image: float = 0.15,
        beta_text: float = 0.15,
        learn_temperature: bool = False,
    ) -> None:
        super().__init__(temperature, beta_image, beta_text, False, learn_temperature)


class DCLLoss(ContrastiveLoss):
    """Decoupled contrastive learning (arXiv 2110.06848): all negatives weigh the same."""

    def __init__(self, temperature: float = 0.6, learn_temperature: bool = False) -> None:
        super().__init__(temperature, 0.0, 0.0, True, learn_temperature)


class InfoNCELoss(ContrastiveLoss):
    """CLIP's symmetric cross entropy, as the sum of both directions (CLIP itself halves it)."""

    def __init__(self, temperature: float = 0.6, learn_temperature: bool = False) -> None:
        super().__init__(temperature, 0.0, 0.0, False, learn_temperature)


LOSSES: dict[str, Callable[..., ContrastiveLoss]] = {
    "dhn_nce": DHNNCELoss,
    "hn_nce": HNNCELoss,
    "dcl": DCLLoss,
    "info_nce": InfoNCELoss,
}
