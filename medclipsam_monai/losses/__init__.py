"""Contrastive losses over image-text pairs."""

from __future__ import annotations

from medclipsam_monai.losses.contrastive import (
    ContrastiveLoss,
    DCLLoss,
    DHNNCELoss,
    HNNCELoss,
    InfoNCELoss,
    contrastive_loss,
)

__all__ = ["ContrastiveLoss", "DCLLoss", "DHNNCELoss", "HNNCELoss", "InfoNCELoss", "contrastive_loss"]
