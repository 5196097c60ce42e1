"""How much masks depend on the wording: a doubt that is known before anything was labelled or trained."""

from __future__ import annotations

import torch

from medclipsam_monai.label.active.judged_slices import judged_slices
from medclipsam_monai.prompts import TextTarget
from medclipsam_monai.zero_shot.opened import OpenedImage
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter
from medclipsam_monai.zero_shot.wordings.agreement import disagreement, wordings


def prompt_disagreement(segmenter: TextSegmenter, opened: OpenedImage, targets: tuple[TextTarget, ...]) -> float:
    """How much the zero-shot masks of an image depend on the wording, mean over the classes.

    Args:
        segmenter: loaded networks.
        opened: the image; it is encoded once, whatever the number of wordings, and of a volume some slices are looked
            at, see `judged_slices`.
        targets: the classes, see `parse_targets`.

    Returns:
        In [0, 1], see `disagreement`.

    Raises:
        InputError: for a text that cannot be used.
    """
    network = segmenter.network
    classes = [wordings(target) for target in targets]
    texts = network.encode_texts(tuple(wording for group in classes for wording in group))
    found = [network.segment_encoded(picture, texts)[0] for picture in judged_slices(opened, segmenter)]
    probability = torch.stack([result.probability * result.mask for result in found], dim=1)  # (wordings, B, H, W)
    groups = probability.split([len(group) for group in classes])
    return sum(disagreement(group) for group in groups) / len(groups)
