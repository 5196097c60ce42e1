"""Scores: segmentation (DSC, NSD, IoU), their report, and how well saliency points at its target."""

from __future__ import annotations

from medclipsam_monai.metrics.localisation import energy_inside, pointing_game, presence_auc
from medclipsam_monai.metrics.nsd import SurfaceDice, surface_dice
from medclipsam_monai.metrics.report import ScoreRow, SegmentationReport, Statistics, Summary, describe
from medclipsam_monai.metrics.segmentation import SegmentationScores, score_masks

__all__ = [
    "ScoreRow",
    "SegmentationReport",
    "SegmentationScores",
    "Statistics",
    "Summary",
    "SurfaceDice",
    "describe",
    "energy_inside",
    "pointing_game",
    "presence_auc",
    "score_masks",
    "surface_dice",
]
