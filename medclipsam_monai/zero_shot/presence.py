"""Whether a picture shows what a text names, as a probability, without opposites from the user.

A picture's vector is compared with the text, with its denial ("no liver") and with all else that the weights know: a
text fits a picture that shows it better than its own denial does, and hardly worse than the best of what is known; one
that is like nothing that is known is hardly ever there. A logistic function weighs all that, its factors fitted by
`tools.small.fitted.presence`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medclipsam_monai.presets.parameters import PresenceParameters
from medclipsam_monai.zero_shot.encoded import EncodedImages, EncodedTexts

Figures = tuple[float | None, ...]
"""One of each class, None where there is none."""


class CalibratedPresence:
    """Presence of texts in pictures, calibrated for the weights of a CLIP.

    Args:
        parameters: with t the cosine of picture and text, d that of picture and denial, b the highest of picture and
            what is known, and f the highest of text and what is known, the presence is
            sigmoid(bias + text t + denial (t - d) + known (t - b) + familiar f).
        known: unit vectors (M, E) of what the weights know, see `KnownTexts`.
        slices: the parameters for slices of volumes; None where they are the same.
    """

    def __init__(self, parameters: PresenceParameters, known: Tensor, slices: PresenceParameters | None = None) -> None:
        self.parameters, self.known, self.slices = parameters, known, slices

    @property
    def of_slices(self) -> CalibratedPresence:
        """The same for slices of volumes."""
        return self if self.slices is None else CalibratedPresence(self.slices, self.known)

    def __call__(self, pictures: Tensor, texts: Tensor, denials: Tensor) -> Tensor:
        """Unit vectors of pictures (B, E), texts (K, E) and their denials (K, E) to probabilities (B, K)."""
        of, features = self.parameters, self.features(pictures, texts, denials)
        return (features @ features.new_tensor([of.text, of.denial, of.known, of.familiar]) + of.bias).sigmoid()

    def features(self, pictures: Tensor, texts: Tensor, denials: Tensor) -> Tensor:
        """What the logistic function weighs (B, K, 4): t, t - d, t - b and f."""
        fit, known = pictures @ texts.T, self.known.to(pictures)
        best = (pictures @ known.T).amax(dim=1, keepdim=True)
        familiar = (texts @ known.T).amax(dim=1).expand_as(fit)
        return torch.stack([fit, fit - pictures @ denials.T, fit - best, familiar], dim=2)


def presence_of(
    images: EncodedImages, texts: EncodedTexts, scale: float, calibrated: CalibratedPresence | None
) -> list[Figures]:
    """For each picture and class the probability that it is there, None where there is nothing to tell it by.

    Args:
        images: B pictures.
        texts: K classes, with their denials where ``calibrated`` is given.
        scale: of the logistic function of a class with opposites.
        calibrated: for the classes without opposites.
    """
    if texts.denials is None:
        calibrated = None
    if not any(texts.sentences) or (calibrated is None and all(opposite is None for opposite in texts.opposites)):
        return [(None,) * len(texts.names)] * len(images)
    vectors = images.vectors()
    columns: list[list[Any]] = []
    for k, opposite in enumerate(texts.opposites):
        if opposite is not None:
            columns.append((scale * (vectors @ (texts.text[k] - opposite))).sigmoid().tolist())
        elif calibrated is not None and texts.denials is not None:
            columns.append(calibrated(vectors, texts.text[k : k + 1], texts.denials[k : k + 1])[:, 0].tolist())
        else:
            columns.append([None] * len(images))
    return list(zip(*columns, strict=True))
