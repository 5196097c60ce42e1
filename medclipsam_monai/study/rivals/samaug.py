"""SAMAug (arXiv:2307.01187): a point gives a mask, a second point is chosen in it, and both give the mask that counts.

The second point is a random one, the one whose surroundings of 9 x 9 pixels differ most in entropy from those of the
first, the farthest from it, or the most salient. The paper's first point is given by a person, or is the middle of the
true box; here it is the deepest pixel of what the text lights up, as nobody knows more. Its saliency comes from a
network for natural pictures; here it is the text's map.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from medclipsam_monai.zero_shot.encoded import EncodedImages, EncodedTexts
from medclipsam_monai.zero_shot.network import ZeroShotSegmenter

_WINDOW = 9
_LEVELS = 256
_SEED = 0

Chooser = Callable[[tuple[int, int], np.ndarray, np.ndarray, np.ndarray], tuple[int, int]]
"""First point (row, column), mask (H, W) bool, grey picture (H, W) in [0, 1] and saliency (H, W) to a second point."""


def deepest(mask: np.ndarray) -> tuple[int, int]:
    """Row and column of the pixel of a mask (H, W) that is farthest from its border, the picture's border included."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    return _at(depth)


def random_point(first: tuple[int, int], mask: np.ndarray, grey: np.ndarray, saliency: np.ndarray) -> tuple[int, int]:
    """Any pixel of the mask, the same for the same mask."""
    places = np.argwhere(mask)
    row, column = places[np.random.default_rng(_SEED).integers(len(places))]
    return int(row), int(column)


def entropy_point(first: tuple[int, int], mask: np.ndarray, grey: np.ndarray, saliency: np.ndarray) -> tuple[int, int]:
    """The pixel of the mask whose surroundings' entropy differs most from that around the first point."""
    entropy = local_entropy(grey)
    return _at(np.where(mask, np.abs(entropy - entropy[first]), -1))


def distant_point(first: tuple[int, int], mask: np.ndarray, grey: np.ndarray, saliency: np.ndarray) -> tuple[int, int]:
    """The pixel of the mask that is farthest from the first point."""
    rows, columns = np.indices(mask.shape)
    return _at(np.where(mask, np.hypot(rows - first[0], columns - first[1]), -1))


def salient_point(first: tuple[int, int], mask: np.ndarray, grey: np.ndarray, saliency: np.ndarray) -> tuple[int, int]:
    """The pixel of the mask with the highest saliency."""
    return _at(np.where(mask, saliency, -1))


CHOOSERS: dict[str, Chooser] = {
    "random": random_point,
    "entropy": entropy_point,
    "distance": distant_point,
    "saliency": salient_point,
}


def local_entropy(grey: np.ndarray) -> np.ndarray:
    """Entropy in bits of the grey levels in the 9 x 9 pixels around each pixel of a picture (H, W) in [0, 1]."""
    levels = np.clip(np.round(grey * (_LEVELS - 1)), 0, _LEVELS - 1).astype(int)
    entropy = np.zeros(grey.shape)
    for level in np.unique(levels):
        share = ndimage.uniform_filter((levels == level).astype(float), _WINDOW, mode="nearest").clip(0, 1)
        entropy -= np.where(share > 0, share * np.log2(np.maximum(share, 1e-12)), 0)
    return entropy


def samaug(network: ZeroShotSegmenter, images: EncodedImages, texts: EncodedTexts, how: str) -> Tensor:
    """The mask (H, W) bool of one text in one picture; empty where the text lights up nothing.

    Args:
        network: whose CLIP and SAM are asked, with the settings of its saliency and coarse mask.
        images: the picture.
        texts: the text.
        how: the second point is chosen, one of `CHOOSERS`.
    """
    picture, embedding = images.pictures[0], images.embeddings()[0]
    saliency = network.saliency_maps(images, texts)[0]
    coarse = network.coarse_masks(saliency, picture)[0].numpy()
    if not coarse.any():
        return torch.from_numpy(coarse)
    first = deepest(coarse)
    probability, quality = _asked(network, embedding, [first], multimask=True)
    before = (probability[0, int(quality[0].argmax())] > 0.5).cpu().numpy()
    if not before.any():
        return torch.from_numpy(before)
    second = CHOOSERS[how](first, before, picture.mean(dim=0).cpu().numpy(), saliency[0].cpu().numpy())
    probability, _ = _asked(network, embedding, [first, second], multimask=False)
    return (probability[0, 0] > 0.5).cpu()


def _asked(
    network: ZeroShotSegmenter, embedding: object, places: list[tuple[int, int]], multimask: bool
) -> tuple[Tensor, Tensor]:
    points = torch.tensor([[(column, row) for row, column in places]], dtype=torch.float32)
    labels = torch.ones(points.shape[:2], dtype=torch.int64)
    return network.segmenter.decode(embedding, points=points, labels=labels, multimask=multimask)


def _at(values: np.ndarray) -> tuple[int, int]:
    """Row and column of the greatest value."""
    row, column = np.unravel_index(int(values.argmax()), values.shape)
    return int(row), int(column)
