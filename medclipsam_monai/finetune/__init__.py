"""Fine-tuning of a CLIP with DHN-NCE and its family (MedCLIP-SAM, arXiv 2403.20253), for MONAI's engines."""

from __future__ import annotations

from medclipsam_monai.finetune.checkpoint import TrainingCheckpoint, load_best
from medclipsam_monai.finetune.embeddings import SaveEmbeddings
from medclipsam_monai.finetune.engine import ContrastiveUpdate, prepare_pairs, retrieval_features
from medclipsam_monai.finetune.gradcache import contrastive_backward
from medclipsam_monai.finetune.handlers import EarlyStopping, ExportClip, History, Progress, SeedEpochs, ValidateFirst
from medclipsam_monai.finetune.lora import add_lora, merged_state_dict
from medclipsam_monai.finetune.network import ContrastiveCLIP, save_clip_folder
from medclipsam_monai.finetune.parameters import freeze_layers, parameter_groups
from medclipsam_monai.finetune.plots import plot_history
from medclipsam_monai.finetune.saliency_scores import SaliencyScores
from medclipsam_monai.finetune.schedules import WarmupCosine, WarmupHalving
from medclipsam_monai.finetune.tuned import NoMasks, load_tuned, note_other_model

__all__ = [
    "ContrastiveCLIP",
    "ContrastiveUpdate",
    "EarlyStopping",
    "ExportClip",
    "History",
    "NoMasks",
    "Progress",
    "SaliencyScores",
    "SaveEmbeddings",
    "SeedEpochs",
    "TrainingCheckpoint",
    "ValidateFirst",
    "WarmupCosine",
    "WarmupHalving",
    "add_lora",
    "contrastive_backward",
    "freeze_layers",
    "load_best",
    "load_tuned",
    "merged_state_dict",
    "note_other_model",
    "parameter_groups",
    "plot_history",
    "prepare_pairs",
    "retrieval_features",
    "save_clip_folder",
]
