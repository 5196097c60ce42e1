"""Contrastive losses over image-text pairs."""

from __future__ import annotations

from medclipsam_monai.losses.batch import gather_rows, same_group
from medclipsam_monai.losses.contrastive import (
    ContrastiveLoss,
    DCLLoss,
    DHNNCELoss,
    HNNCELoss,
    InfoNCELoss,
    contrastive_loss,
)

__all__ = [
    "ContrastiveLoss",
    "DCLLoss",
    "DHNNCELoss",
    "HNNCELoss",
    "InfoNCELoss",
    "contrastive_loss",
    "gather_rows",
    "same_group",
]
