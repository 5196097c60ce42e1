"""How near a picture is to those that the weights were trained on, and which kind of them it is.

A joint space of text and image pulls every picture to one of the kinds that it was trained on; the tokens before it
still tell a photograph from a scan. So a picture is told by the mean and the spread of its tokens, and its distance to
the centres of each kind is Mahalanobis', with one covariance for all kinds ("A simple unified framework for detecting
out-of-distribution samples", Lee et al., NeurIPS 2018).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import write_atomically
from medclipsam_monai.networks.known_texts import Nearest
from medclipsam_monai.weights.tensor_files import check_finite, check_forms, read_safetensors

_TENSORS = ("mean", "directions", "centres")
_ALSO = 1.2
"""A picture may also be of a kind that is at most so many times as far as the nearest."""


def token_summary(tokens: Tensor) -> Tensor:
    """Tokens (B, N, C) to their mean and spread (B, 2 C), float32."""
    tokens = tokens.float()
    return torch.cat([tokens.mean(dim=1), tokens.std(dim=1)], dim=1)


@dataclass(frozen=True)
class NearestPicture:
    """Of the kinds of pictures that the weights know, what a picture is nearest to.

    Attributes:
        kind: that.
        distance: 0 at a centre of the kind, 1 as far from it as hardly any picture of those that are known.
        familiar: whether the distance is at most 1.
        kinds: all that the picture may be of, the nearest first.
    """

    kind: str
    distance: float
    familiar: bool
    kinds: tuple[str, ...]


class KnownPictures:
    """The kinds of pictures that weights know, as centres in a space where distance 1 is as far as they go.

    Args:
        mean: (F,) of the summaries of all pictures.
        directions: (F, P) to that space.
        centres: (M, P) in it.
        kinds: the kind of each centre.

    Raises:
        InputError: tensors of other shapes, or not a kind for each centre.
    """

    def __init__(self, mean: Tensor, directions: Tensor, centres: Tensor, kinds: Sequence[str]) -> None:
        features, dimensions = directions.shape if directions.ndim == 2 else (0, 0)
        if mean.shape != (features,) or centres.shape != (len(kinds), dimensions) or not kinds:
            shapes = ", ".join(str(tuple(one.shape)) for one in (mean, directions, centres))
            raise InputError(f"known pictures must be (F,), (F, P) and (M, P) with M kinds, got {shapes}, {len(kinds)}")
        self.mean, self.directions, self.centres = mean.float(), directions.float(), centres.float()
        self.kinds = tuple(kinds)

    @classmethod
    def load(cls, path: str | Path) -> KnownPictures:
        """From a file that `save` wrote.

        Raises:
            InputError: no such file, or another one.
        """
        tensors, told = _read(Path(path))
        try:
            kinds = json.loads(told["kinds"])
            if not isinstance(kinds, list) or not all(isinstance(kind, str) for kind in kinds):
                raise InputError("its kinds must be a list of names")
            check_forms(tensors, str(path))
            check_finite(tensors, str(path))
            return cls(tensors["mean"], tensors["directions"], tensors["centres"], kinds)
        except (KeyError, ValueError) as error:
            raise InputError(f"{path} holds no known pictures: {error}") from error

    def save(self, path: str | Path, told: Mapping[str, str] | None = None) -> Path:
        """Write a file in half precision.

        Args:
            path: of the file.
            told: more of its metadata.

        Raises:
            InputError: it cannot be written.
        """
        from safetensors.torch import save_file

        tensors = {name: getattr(self, name).half().contiguous() for name in _TENSORS}
        metadata = {**(told or {}), "kinds": json.dumps(self.kinds)}
        return write_atomically(Path(path), lambda part: save_file(tensors, part, metadata))

    def distances(self, summaries: Tensor) -> dict[str, Tensor]:
        """Summaries (B, F) of pictures, see `token_summary`, to the distance (B,) of each kind.

        Raises:
            InputError: they are of another network.
        """
        if summaries.shape[1] != len(self.mean):
            raise InputError(
                f"the known pictures are of a network with {len(self.mean) // 2} channels, this one has "
                f"{summaries.shape[1] // 2}: make them with the weights that they are used with"
            )
        placed = (summaries.detach().cpu().float() - self.mean) @ self.directions
        apart = torch.cdist(placed, self.centres, compute_mode="donot_use_mm_for_euclid_dist")
        of = {kind: [k for k, one in enumerate(self.kinds) if one == kind] for kind in dict.fromkeys(self.kinds)}
        return {kind: apart[:, columns].amin(dim=1) for kind, columns in of.items()}

    def nearest(self, summaries: Tensor) -> tuple[NearestPicture, ...]:
        """Summaries (B, F) of pictures to what each is nearest to.

        Raises:
            InputError: they are of another network.
        """
        by_kind = self.distances(summaries)
        return tuple(_nearest({kind: float(of[b]) for kind, of in by_kind.items()}) for b in range(len(summaries)))


def _nearest(distances: Mapping[str, float]) -> NearestPicture:
    order = sorted(distances, key=lambda kind: distances[kind])
    least = distances[order[0]]
    kinds = tuple(kind for kind in order if distances[kind] <= _ALSO * least)
    return NearestPicture(order[0], round(least, 3), least <= 1, kinds)


def picture_warnings(picture: NearestPicture, texts: Sequence[Nearest], preset: str) -> list[str]:
    """Lines on a picture that is like none that a preset's weights know, or of another kind than what is asked of it.

    Args:
        picture: what it is nearest to.
        texts: what each class that is asked of it is nearest to.
        preset: its name.
    """
    if not picture.familiar:
        return [
            f"the picture is like none that the weights of {preset} know (nearest: {picture.kind}); the mask may mean "
            "nothing"
        ]
    looks = f"this looks like {'an' if picture.kind[0] in 'aeiou' else 'a'} {picture.kind}"
    return [
        f"{preset} knows {text.text!r} on {' and '.join(text.kinds)}, {looks}: the mask may mean nothing"
        for text in texts
        if text.kinds and not set(text.kinds) & set(picture.kinds)
    ]


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    from safetensors import safe_open

    if not path.is_file():
        raise InputError(f"{path}: there is no such file of known pictures")
    tensors = read_safetensors(path, "make it again")
    with safe_open(path, "pt") as file:
        return tensors, dict(file.metadata() or {})
