"""Small promptable networks of transformers with seeded random weights, in the file form of the real ones."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
import transformers

SIDE = 128
DECODER = {"hidden_size": 32, "mlp_dim": 48, "num_attention_heads": 2, "iou_head_hidden_dim": 24}
PROMPTS = {"hidden_size": 32, "image_size": SIDE, "patch_size": 16}
NECK = {"fpn_hidden_size": 32, "backbone_feature_sizes": [[SIDE // stride] * 2 for stride in (4, 8, 16)]}
SETTINGS: dict[str, dict[str, Any]] = {
    "Sam2": {
        "vision_config": {
            **NECK,
            "model_type": "sam2_vision_model",
            "backbone_channel_list": [64, 32, 16, 8],
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": 8,
                "image_size": [SIDE, SIDE],
                "blocks_per_stage": [1, 2, 2, 1],
                "embed_dim_per_stage": [8, 16, 32, 64],
                "window_size_per_stage": [8, 4, 4, 2],
                "global_attention_blocks": [4],
                "window_positional_embedding_background_size": [7, 7],
            },
        },
        "prompt_encoder_config": PROMPTS,
        "mask_decoder_config": DECODER,
    },
    "EdgeTam": {
        "vision_config": {
            **NECK,
            "model_type": "edgetam_vision_model",
            "backbone_config": {
                "model_type": "timm_wrapper",
                "architecture": "repvit_m1",
                "num_classes": 2,
                "model_args": {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]},
            },
        },
        "prompt_encoder_config": PROMPTS,
        "mask_decoder_config": DECODER,
    },
    "SamHQ": {
        "vision_config": {
            "hidden_size": 24,
            "output_channels": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": SIDE,
            "window_size": 3,
            "global_attn_indexes": [1],
            "num_pos_feats": 16,
        },
        "prompt_encoder_config": PROMPTS,
        "mask_decoder_config": {**DECODER, "vit_dim": 24},
    },
    "Sam3Tracker": {
        "vision_config": {
            "model_type": "sam3_vision_model",
            "fpn_hidden_size": 32,
            "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
            "backbone_config": {
                "model_type": "sam3_vit_model",
                "hidden_size": 32,
                "intermediate_size": 48,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "image_size": 112,
                "patch_size": 14,
                "window_size": 4,
                "global_attn_indexes": [1],
                "pretrain_image_size": 56,
            },
        },
        "prompt_encoder_config": {**PROMPTS, "image_size": 112, "patch_size": 14},
        "mask_decoder_config": DECODER,
    },
}
"""Beginning of a family's class names -> what its configuration is made of."""


_WIDTH = 128  # twice that of the memory, which is 64 in the library whatever its settings say


def _video(name: str, **memory: Any) -> dict[str, Any]:
    return {
        "vision_config": {**SETTINGS[name]["vision_config"], "fpn_hidden_size": _WIDTH},
        "prompt_encoder_config": {**PROMPTS, "hidden_size": _WIDTH},
        "mask_decoder_config": {**DECODER, "hidden_size": _WIDTH},
        "image_size": SIDE,
        "memory_attention_hidden_size": _WIDTH,
        "memory_attention_rope_feat_sizes": [SIDE // 16] * 2,
        "memory_encoder_hidden_size": _WIDTH,
        "memory_fuser_embed_dim": _WIDTH,
        "memory_fuser_intermediate_dim": 48,
        "mask_downsampler_embed_dim": _WIDTH,
        **memory,
    }


VIDEO_SETTINGS: dict[str, dict[str, Any]] = {
    "Sam2Video": _video("Sam2", memory_attention_feed_forward_hidden_size=48),
    "EdgeTamVideo": _video(
        "EdgeTam",
        memory_attention_mlp_hidden_size=48,
        memory_attention_rope_k_sizes=[4, 4],
        perceiver_resampler_num_latents=16,
        perceiver_resampler_num_latents_2d=16,
        perceiver_resampler_mlp_intermediate_size=32,
    ),
}
"""The same of the networks with a memory."""


def random_network(name: str, settings: dict[str, Any] | None = None) -> Any:
    """A network of a family, with weights as wide as trained ones: transformers starts many at nothing."""
    torch.manual_seed(7)
    config = getattr(transformers, f"{name}Config")(**(settings or {**SETTINGS, **VIDEO_SETTINGS}[name]))
    network = getattr(transformers, f"{name}Model")(config).eval()
    with torch.no_grad():
        for key, value in network.named_parameters():
            if value.ndim > 1:
                value.normal_(std=1 / math.sqrt(value[0].numel()) if "embed" not in key else 0.5)
            elif ("norm" in key or "bn" in key) and key.endswith("weight"):
                value.uniform_(0.8, 1.2)
            else:
                value.normal_(std=0.1)
        norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
        if norms:  # as if they had been trained: without it, what goes through them grows from block to block
            for norm in norms:
                norm.momentum = 1.0
            network.vision_encoder.backbone.train()(torch.randn(4, 3, SIDE, SIDE))
            network.eval()
    return network


def write_network(folder: Path, name: str, **saving: Any) -> Path:
    """A small network of a family as ``save_pretrained`` writes it."""
    random_network(name).save_pretrained(folder, **saving)
    return folder
