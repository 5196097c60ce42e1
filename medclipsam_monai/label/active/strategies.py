"""Active learning: which image an annotator is given next.

Uncertainty is the ensemble's entropy once there is one, before that the disagreement of wordings. An image that was
given out lately is not given out again while there are others: somebody is labelling it, or did not want it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy
from torch import Tensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.label.active.embeddings import ImageEmbeddings
from medclipsam_monai.label.active.scoring import ENSEMBLE_ENTROPY, PROMPT_DISAGREEMENT
from medclipsam_monai.label.active.selection import CRITERIA, UNSCORED, pick
from medclipsam_monai.label.options import refuse_unknown

STRATEGY_OPTIONS = ("label_tag", "labels")
"""Those of MONAI Label's own strategies, which are the datastore's to read; a folder and a DICOMweb archive do not."""
_GIVEN_OUT_FOR = 24 * 60 * 60  # seconds, as MONAI Label's own strategies


class ChooseNext(Strategy):
    """A strategy of `selection.CRITERIA` on a datastore.

    Args:
        criterion: its name.
        description: what clients show.
        embeddings: of images; None for a criterion that does not look at them.
    """

    def __init__(self, criterion: str, description: str, embeddings: ImageEmbeddings | None = None) -> None:
        super().__init__(description)
        self.criterion, self.embeddings = CRITERIA[criterion], embeddings

    def check(self, request: Mapping[str, Any]) -> None:
        """The options that a client sends; viewers add who asks.

        Raises:
            InputError: another name than those of `STRATEGY_OPTIONS`.
        """
        refuse_unknown(request, STRATEGY_OPTIONS, ["strategy", "client_id"])

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        """The next image to label.

        Args:
            request: may hold `STRATEGY_OPTIONS`.
            datastore: of the images.

        Returns:
            {"id", "score", "scored_by"}; the score is None where nothing was scored yet. None if all are labelled.

        Raises:
            InputError: none of the images can be read, or weights are missing or broken.
        """
        unlabelled = sorted(datastore.get_unlabeled_images(request.get("label_tag"), request.get("labels")))
        if not unlabelled:
            return None
        candidates = _not_given_out(unlabelled, datastore)
        vectors, seen = self._vectors(candidates, datastore)
        candidates = [image for image in candidates if image in vectors]
        key, scores = _scores(candidates, datastore)
        stacked = torch.stack([vectors[image] for image in candidates])
        chosen = candidates[pick(self.criterion, 1, scores, stacked, seen)[0]]
        score = scores[candidates.index(chosen)]
        return {"id": chosen, "score": None if score == UNSCORED else score, "scored_by": key}

    def _vectors(self, candidates: Sequence[str], datastore: Datastore) -> tuple[dict[str, Tensor], Tensor]:
        """Embeddings of the candidates, and (M, E) of all that are labelled or given out."""
        if self.embeddings is None:
            return dict.fromkeys(candidates, torch.zeros(0)), torch.zeros(0, 0)
        found = self.embeddings.of(datastore, sorted(datastore.list_images()))
        vectors = {image: found[image] for image in candidates if image in found}
        if not vectors:
            raise InputError(f"none of the {len(candidates)} images that are not labelled yet can be read")
        seen = [vector for image, vector in found.items() if image not in vectors]
        return vectors, torch.stack(seen) if seen else torch.zeros(0, len(next(iter(vectors.values()))))


def _not_given_out(images: Sequence[str], datastore: Datastore) -> list[str]:
    """Those that nobody was given lately; if there is none, the one that was given out first."""
    given = {image: _given_out(datastore.get_image_info(image)) for image in images}
    now = time.time()
    free = [image for image in images if now - given[image] >= _GIVEN_OUT_FOR]
    return free or [min(images, key=given.__getitem__)]


def _given_out(info: Mapping[str, Any]) -> float:
    """When an image was last given out, by whatever strategy; 0 for never. The server notes it."""
    return max((entry.get("ts", 0) for entry in info.get("strategy", {}).values()), default=0)


def _scores(images: Sequence[str], datastore: Datastore) -> tuple[str | None, list[float]]:
    """The scores of the better kind that there is, and its name."""
    known = [datastore.get_image_info(image) for image in images]
    for key in (ENSEMBLE_ENTROPY, PROMPT_DISAGREEMENT):
        if any(key in info for info in known):
            return key, [float(info.get(key, UNSCORED)) for info in known]
    return None, [UNSCORED] * len(images)


class MostUncertain(ChooseNext):
    """The image with the highest score; those without a score come last, in the order of their names."""

    def __init__(self) -> None:
        super().__init__("most_uncertain", "The image that the ensemble, or before training the text, is least sure of")


class Diverse(ChooseNext):
    """Farthest first: the image least like all that are labelled.

    Args:
        embeddings: of images.
    """

    def __init__(self, embeddings: ImageEmbeddings) -> None:
        super().__init__("diverse", "The image that is least like those labelled already", embeddings)


class Mixed(ChooseNext):
    """By the mean rank of uncertainty and of distance to what is labelled.

    Args:
        embeddings: of images.
    """

    def __init__(self, embeddings: ImageEmbeddings) -> None:
        super().__init__("mixed", "An image that is uncertain, and unlike those labelled already", embeddings)


class RandomImage(ChooseNext):
    """Any image, each as likely as the others."""

    def __init__(self) -> None:
        super().__init__("random", "Any image that is not labelled yet")
