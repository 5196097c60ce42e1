"""How a visitor looks at an image: the plane, the slice and the class whose saliency is drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from medclipsam_monai.web.shown.planes import Plane, checked_slice, planes_of
from medclipsam_monai.web.visits.answer import Answer
from medclipsam_monai.zero_shot.opened import OpenedImage


@dataclass(frozen=True)
class Look:
    """What is looked at.

    Attributes:
        plane: see `planes_of`.
        number: of the slice in it, from 0.
        shown_class: from 0.
    """

    plane: str = ""
    number: int = 0
    shown_class: int = 0

    def at(self, opened: OpenedImage, plane: str | None = None, number: int | None = None) -> Look:
        """Another plane, or another slice.

        Raises:
            InputError: there is none such.
        """
        planes = planes_of(opened)
        chosen = planes.get(self.plane if plane is None else plane) or next(iter(planes.values()))
        wanted = chosen.slices // 2 if number is None else number
        return replace(self, plane=chosen.name, number=checked_slice(chosen, wanted))


def first_look(opened: OpenedImage) -> Look:
    """The middle slice of the plane that the networks see."""
    return Look().at(opened)


def look_at_answer(look: Look, opened: OpenedImage, answer: Answer) -> Look:
    """The same look where it shows something of the answer, or nothing does; else the slice that shows the most."""
    plane = planes_of(opened)[look.plane]
    labels = answer.segmentation.label_map.numpy()
    if labels.ndim == 2 or (plane.cut(labels, look.number) > 0).any() or not labels.any():
        return look
    return replace(look, number=fullest_slice(plane, labels))


def fullest_slice(plane: Plane, labels: np.ndarray) -> int:
    """The slice of a plane that shows the most of a label map (H, W, D)."""
    axis = next(axis for axis, (target, _) in enumerate(plane.turn) if target == 2)
    counts = np.count_nonzero(labels, axis=tuple(other for other in range(3) if other != axis))
    most = int(counts.argmax())
    return most if plane.turn[axis][1] > 0 else len(counts) - 1 - most
