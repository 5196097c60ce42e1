"""What a ``config.json`` of a video's network may say of its memory, see `tables`."""

from __future__ import annotations

from collections.abc import Mapping

from medclipsam_monai.base.value_checks import BOOLEAN, each, integer, number, one_of
from medclipsam_monai.networks.transformers_sam.tables import ACTIVATION, ROPE, WIDTH, Section

_FEW = integer(0, 64)
_CHANNELS = one_of(64)  # of what is remembered: transformers writes this number itself, whatever a file says
_SHARED = {
    "num_maskmem": integer(1, 64),
    "sigmoid_scale_for_mem_enc": number(-1000, 1000),
    "sigmoid_bias_for_mem_enc": number(-1000, 1000),
    "enable_occlusion_spatial_embedding": BOOLEAN,
    "multimask_output_in_sam": BOOLEAN,
    "multimask_min_pt_num": _FEW,
    "multimask_max_pt_num": _FEW,
    "multimask_output_for_tracking": BOOLEAN,
    "max_object_pointers_in_encoder": integer(2, 256),
    "max_cond_frame_num": integer(-1, 64),
    "enable_temporal_pos_encoding_for_object_pointers": BOOLEAN,
    "memory_attention_hidden_size": WIDTH,
    "memory_attention_num_layers": integer(1, 100),
    "memory_attention_num_attention_heads": integer(1, 256),
    "memory_attention_downsample_rate": integer(1, 256),
    "memory_attention_rope_theta": number(1, 1e9),
    "memory_attention_rope_feat_sizes": each(integer(1, 1024), count=2),
    "rope_parameters": ROPE,
    "memory_encoder_hidden_size": WIDTH,
    "memory_encoder_output_channels": _CHANNELS,
    "mask_downsampler_embed_dim": WIDTH,
    "mask_downsampler_kernel_size": integer(1, 15),
    "mask_downsampler_stride": integer(2, 8),
    "mask_downsampler_padding": integer(0, 8),
    "mask_downsampler_total_stride": integer(2, 64),
    "mask_downsampler_hidden_act": ACTIVATION,
    "memory_fuser_num_layers": integer(1, 100),
    "memory_fuser_embed_dim": WIDTH,
    "memory_fuser_intermediate_dim": integer(1, 65_536),
    "memory_fuser_kernel_size": integer(1, 15),
    "memory_fuser_padding": integer(0, 8),
    "memory_fuser_layer_scale_init_value": number(0, 1),
    "memory_fuser_hidden_act": ACTIVATION,
}

VIDEO_TABLES: Mapping[str, Section] = {
    "Sam2VideoModel": Section(
        {
            **_SHARED,
            "memory_attention_feed_forward_hidden_size": integer(1, 65_536),
            "memory_attention_feed_forward_hidden_act": one_of("relu", "gelu"),
        },
        {},
    ),
    "EdgeTamVideoModel": Section(
        {
            **_SHARED,
            "memory_attention_mlp_hidden_size": integer(1, 65_536),
            "memory_attention_mlp_hidden_act": one_of("relu", "gelu"),
            "memory_attention_rope_k_sizes": each(integer(1, 1024), count=2),
            "perceiver_resampler_num_latents": integer(1, 4096),
            "perceiver_resampler_num_latents_2d": integer(1, 4096),
            "perceiver_resampler_hidden_size": _CHANNELS,
            "perceiver_resampler_mlp_intermediate_size": integer(1, 65_536),
            "perceiver_resampler_num_attention_heads": integer(1, 256),
            "perceiver_resampler_attention_head_dim": WIDTH,
            "perceiver_resampler_num_layers": integer(1, 100),
        },
        {},
    ),
}
"""Name of a video's class -> what its settings may be, beside those of its picture's network."""
