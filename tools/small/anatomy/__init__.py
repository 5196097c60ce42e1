"""Drawn pictures of wide variety: every tissue of a drawn anatomy gets a random brightness (as SynthSeg does).

Billot et al., "SynthSeg: segmentation of brain MRI scans of any contrast and resolution without retraining", Medical
Image Analysis 2023. Drawn where real images are few; the package's own phantoms, made for its demo, are plainer.
"""

from tools.small.anatomy.brain import draw_brain
from tools.small.anatomy.breast import draw_breast
from tools.small.anatomy.torso import draw_torso

__all__ = ["draw_brain", "draw_breast", "draw_torso"]
