"""What a ``config.json`` of each family may hold: names and ranges, checked before memory is taken.

Only what stands here reaches transformers. Everything else in such a file is the library's own bookkeeping (labels,
versions, training) and is left out; null is the library's default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.value_checks import BOOLEAN, Kind, each, either, integer, number, one_of, shown
from medclipsam_monai.weights.clip_tables import CODE

WIDTH, _WIDTHS = integer(1, 8192), each(integer(1, 8192), most=8)
_SIDE = integer(16, 4096)
_PAIR = each(integer(0, 256), count=2)
ACTIVATION = one_of("gelu", "relu")
_EPS = number(0, 0.1)
_BLOCK_NUMBERS = each(integer(0, 399), most=400)


@dataclass(frozen=True)
class Section:
    """One object in a ``config.json``.

    Attributes:
        values: names of what it may hold that is passed on, with their kinds.
        sections: names of objects in it.
        model_type: what it must call itself where it does; "" for anything. transformers chooses a class by it.
        fixed: what is passed on in any case.
    """

    values: Mapping[str, Kind]
    sections: Mapping[str, Section]
    model_type: str = ""
    fixed: Mapping[str, Any] | None = None


def _rope(given: Any) -> bool:
    known = {"rope_theta": number(1, 1e9).holds, "rope_type": one_of("axial", "default").holds}
    return type(given) is dict and all(name in known and known[name](value) for name, value in given.items())


ROPE = Kind("an object of rope_theta and rope_type", _rope)
_HIERA = Section(
    {
        "hidden_size": WIDTH,
        "num_attention_heads": integer(1, 256),
        "num_channels": one_of(3),
        "image_size": either(_SIDE, each(_SIDE, count=2)),
        "patch_kernel_size": each(integer(1, 64), count=2),
        "patch_stride": each(integer(1, 64), count=2),
        "patch_padding": _PAIR,
        "query_stride": each(integer(1, 64), count=2),
        "window_positional_embedding_background_size": each(integer(1, 256), count=2),
        "num_query_pool_stages": integer(0, 8),
        "blocks_per_stage": each(integer(1, 100), most=4),
        "embed_dim_per_stage": _WIDTHS,
        "num_attention_heads_per_stage": each(integer(1, 256), most=8),
        "window_size_per_stage": each(integer(1, 256), most=8),
        "global_attention_blocks": _BLOCK_NUMBERS,
        "mlp_ratio": number(0.1, 16),
        "hidden_act": ACTIVATION,
        "layer_norm_eps": _EPS,
    },
    {},
    "sam2_hiera_det_model",
)
_REPVIT = Section(
    {"architecture": one_of("repvit_m1", "repvit_m1.dist_in1k", "timm/repvit_m1.dist_in1k")},
    {},
    "timm_wrapper",
    {
        "architecture": "repvit_m1",
        "model_args": {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]},
        "num_classes": 2,  # nothing has classes here, but transformers 5 wants a number
    },
)
_BLOCKS: Mapping[str, Kind] = {
    "hidden_size": WIDTH,
    "num_hidden_layers": integer(1, 100),
    "num_attention_heads": integer(1, 256),
    "num_channels": one_of(3),
    "image_size": _SIDE,
    "patch_size": integer(1, 256),
    "hidden_act": ACTIVATION,
    "layer_norm_eps": _EPS,
    "global_attn_indexes": _BLOCK_NUMBERS,
}
"""What the ViTs of SAM-HQ and SAM 3 share."""
_VIT = Section(
    {
        **_BLOCKS,
        "intermediate_size": integer(1, 65_536),
        "window_size": integer(1, 4096),
        "layer_scale_init_value": number(0, 1),
        "pretrain_image_size": _SIDE,
        "rope_theta": number(1, 1e9),
        "rope_parameters": ROPE,
    },
    {},
    "sam3_vit_model",
)
_NECK = {
    "backbone_channel_list": _WIDTHS,
    "backbone_feature_sizes": each(each(integer(1, 1024), count=2), count=3),
    "fpn_hidden_size": WIDTH,
    "fpn_kernel_size": integer(1, 15),
    "fpn_stride": integer(1, 8),
    "fpn_padding": integer(0, 8),
    "fpn_top_down_levels": each(integer(0, 7), most=8),
    "num_feature_levels": one_of(3),
    "hidden_act": ACTIVATION,
    "layer_norm_eps": _EPS,
}
_PROMPTS = Section(
    {
        "hidden_size": WIDTH,
        "image_size": _SIDE,
        "patch_size": integer(1, 256),
        "mask_input_channels": integer(4, 4096),
        "num_point_embeddings": one_of(4),
        "hidden_act": ACTIVATION,
        "layer_norm_eps": _EPS,
        "scale": integer(1, 1000),
    },
    {},
)
_DECODER = {
    "hidden_size": WIDTH,
    "hidden_act": ACTIVATION,
    "mlp_dim": integer(1, 65_536),
    "num_hidden_layers": integer(1, 100),
    "num_attention_heads": integer(1, 256),
    "attention_downsample_rate": integer(1, 256),
    "num_multimask_outputs": one_of(3),
    "iou_head_depth": integer(2, 16),
    "iou_head_hidden_dim": WIDTH,
}
_STABLE = {
    "dynamic_multimask_via_stability": BOOLEAN,
    "dynamic_multimask_stability_delta": number(0, 100),
    "dynamic_multimask_stability_thresh": number(0, 1),
}


def _whole(vision: Section, decoder: Mapping[str, Kind]) -> Section:
    parts = {"vision_config": vision, "prompt_encoder_config": _PROMPTS, "mask_decoder_config": Section(decoder, {})}
    return Section({}, parts)


TABLES: Mapping[str, Section] = {
    "Sam2Model": _whole(Section(_NECK, {"backbone_config": _HIERA}, "sam2_vision_model"), {**_DECODER, **_STABLE}),
    "EdgeTamModel": _whole(
        Section(_NECK, {"backbone_config": _REPVIT}, "edgetam_vision_model"), {**_DECODER, **_STABLE}
    ),
    "SamHQModel": _whole(
        Section(
            {
                **_BLOCKS,
                "output_channels": WIDTH,
                "qkv_bias": BOOLEAN,
                "mlp_ratio": number(0.1, 16),
                "use_abs_pos": BOOLEAN,
                "use_rel_pos": BOOLEAN,
                "window_size": integer(0, 4096),
                "num_pos_feats": integer(1, 4096),
                "mlp_dim": integer(1, 65_536),
            },
            {},
            "sam_hq_vision_model",
        ),
        {**_DECODER, "layer_norm_eps": _EPS, "vit_dim": WIDTH},
    ),
    "Sam3TrackerModel": _whole(
        Section(
            {
                "fpn_hidden_size": WIDTH,
                "backbone_feature_sizes": each(each(integer(1, 1024), count=2), count=3),
                "scale_factors": each(number(0.1, 16), count=4),
                "hidden_act": ACTIVATION,
                "layer_norm_eps": _EPS,
            },
            {"backbone_config": _VIT},
            "sam3_vision_model",
        ),
        {**_DECODER, **_STABLE},
    ),
}
"""Name of a family's class -> what its settings may be."""


def checked(settings: Any, section: Section, where: str) -> dict[str, Any]:
    """What a section's table knows of an object, checked, and nothing else of it.

    Args:
        settings: the object.
        section: its table.
        where: what the object is called in an error.

    Raises:
        InputError: it is no object, names code, says that it is of another kind, or has a value that its table does not
            allow.
    """
    if type(settings) is not dict:
        raise InputError(f"{where} must be an object, got {shown(settings)}")
    named = next((name for name in CODE if settings.get(name)), None)
    if named is not None:
        raise InputError(f"{where} names code to run or fetch ({named}); expected settings only")
    found = settings.get("model_type")
    if section.model_type and found not in (None, section.model_type):
        raise InputError(f"model_type in {where} must be {section.model_type}, got {shown(found)}")
    kept: dict[str, Any] = {"model_type": section.model_type} if section.model_type else {}
    for name, kind in section.values.items():
        value = settings.get(name)
        if value is None:
            continue
        if not kind.holds(value):
            raise InputError(f"{name} in {where} must be {kind.says}, got {shown(value)}")
        kept[name] = value
    for name, inner in section.sections.items():
        kept[name] = checked({} if settings.get(name) is None else settings[name], inner, f"{name} in {where}")
    return {**kept, **(section.fixed or {})}
