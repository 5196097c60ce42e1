"""Drawn pictures of wide variety: every tissue of a drawn anatomy gets a random brightness (as SynthSeg does).

Billot et al., "SynthSeg: segmentation of brain MRI scans of any contrast and resolution without retraining", Medical
Image Analysis 2023. Drawn where real images are few; the package's own phantoms, made for its demo, are plainer.
"""

from collections.abc import Callable

import numpy as np

from tools.small.anatomy.brain import draw_brain
from tools.small.anatomy.breast import draw_breast
from tools.small.anatomy.head_section import draw_head_section
from tools.small.anatomy.torso import draw_torso
from tools.small.pictures import Picture

WAYS: dict[str, tuple[Callable[[np.random.Generator], Picture], ...]] = {
    "breast_ultrasound": (draw_breast,),
    "brain_mri": (draw_brain, draw_head_section),
    "torso_ct": (draw_torso,),
}
"""Ways to draw a kind of picture."""

__all__ = ["WAYS", "draw_brain", "draw_breast", "draw_head_section", "draw_torso"]
