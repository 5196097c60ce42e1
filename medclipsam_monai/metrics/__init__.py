"""Scores: segmentation (DSC, NSD, IoU) and their report, how well saliency points at its target, retrieval."""

from __future__ import annotations

from medclipsam_monai.metrics.faithfulness import insertion_minus_deletion
from medclipsam_monai.metrics.localisation import energy_inside, pointing_game, presence_auc
from medclipsam_monai.metrics.nsd import SurfaceDice, surface_dice
from medclipsam_monai.metrics.report import ScoreRow, ScoreSummary, SegmentationReport, Statistics, describe
from medclipsam_monai.metrics.retrieval import (
    BatchedRetrieval,
    RetrievalInBatches,
    RetrievalOverAll,
    batched_retrieval,
    retrieval,
)
from medclipsam_monai.metrics.segmentation import SegmentationScores, score_masks

__all__ = [
    "BatchedRetrieval",
    "RetrievalInBatches",
    "RetrievalOverAll",
    "ScoreRow",
    "ScoreSummary",
    "SegmentationReport",
    "SegmentationScores",
    "Statistics",
    "SurfaceDice",
    "batched_retrieval",
    "describe",
    "energy_inside",
    "insertion_minus_deletion",
    "pointing_game",
    "presence_auc",
    "retrieval",
    "score_masks",
    "surface_dice",
]
