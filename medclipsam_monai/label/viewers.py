"""What tells the viewers apart, read in the source of their MONAI Label plugins, and what each makes of numbers.

- OHIF (the plugin that MONAI Label 0.8.5 serves) asks for the image alone; the voxel of class n is shown under the n-th
  name of the task's "labels" in /info, as that was when the user last connected.
- 3D Slicer sorts the answer's "label_names" by number and gives the n-th of them the voxels n, whatever its number is;
  segments that it names are emptied first. So its answers are numbered by the text, from 1 on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from medclipsam_monai.label.served_classes import ServedClasses
from medclipsam_monai.prompts import TextTarget


def is_slicer(request: Mapping[str, Any]) -> bool:
    """Whether 3D Slicer asks: its plugin names its user in each request, and wants NRRD.

    MONAI Label's own Python client sends "client_id" as well, null unless its user set one, and takes numbers as they
    are; OHIF's plugin says how it wants its numbers.
    """
    named, nrrd = bool(request.get("client_id")), request.get("result_extension") == ".nrrd"
    return named and nrrd and "restore_label_idx" not in request


def answer_numbers(request: Mapping[str, Any], classes: ServedClasses, targets: Sequence[TextTarget]) -> dict[str, int]:
    """The number of each class in the answer to a request; new classes are listed in /info from now on.

    Args:
        request: what came over HTTP.
        classes: of the server.
        targets: the classes of the answer.

    Raises:
        InputError: too many classes.
    """
    numbers: Sequence[int] = classes.numbers(targets)
    if is_slicer(request):
        numbers = range(1, len(targets) + 1)
    return {target.name: number for target, number in zip(targets, numbers, strict=True)}


def numbered(labels: Tensor, numbers: Sequence[int]) -> Tensor:
    """A label map of 0, 1, 2 ... with the class at place k numbered ``numbers[k]``; (H, W[, D]) uint8."""
    return torch.tensor([0, *numbers], dtype=torch.uint8)[labels.long()]
