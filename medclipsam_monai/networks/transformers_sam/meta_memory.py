"""The memory in Meta's files of SAM 2.1 and MedSAM2, into transformers' names; the rest of them is in `meta_layout`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

_STRIDE = 16
_NAMES = {
    "maskmem_tpos_enc": "memory_temporal_positional_encoding",
    "no_mem_pos_enc": "no_memory_positional_encoding",
    "no_obj_ptr": "no_object_pointer",
    "no_obj_embed_spatial": "occlusion_spatial_embedding_parameter",
}
_RENAMES = (
    (r"^obj_ptr_tpos_proj\.", "temporal_positional_encoding_projection_layer."),
    (r"^obj_ptr_proj\.layers\.0\.", "object_pointer_proj.proj_in."),
    (r"^obj_ptr_proj\.layers\.2\.", "object_pointer_proj.proj_out."),
    (r"^obj_ptr_proj\.layers\.1\.", "object_pointer_proj.layers.0."),
    (r"^memory_attention\.norm\.", "memory_attention.layer_norm."),
    (r"^memory_encoder\.pix_feat_proj\.", "memory_encoder.feature_projection."),
    (r"^memory_encoder\.out_proj\.", "memory_encoder.projection."),
    (r"^memory_encoder\.fuser\.", "memory_encoder.memory_fuser."),
    (r"\.norm(\d?)\.", r".layer_norm\1."),
    (r"_attn(_image)?\.out_proj\.", r"_attn\1.o_proj."),
    (r"\.dwconv\.", ".depthwise_conv."),
    (r"\.pwconv(\d)\.", r".pointwise_conv\1."),
    (r"\.gamma$", ".scale"),
)
_KEPT = ("mask_downsample.", "memory_attention.", "memory_encoder.", "obj_ptr_")
_DOWNSAMPLER = re.compile(r"memory_encoder\.mask_downsampler\.encoder\.(\d{1,2})\.(weight|bias)")
_STEPS = ("conv", "layer_norm", "activation")  # of each layer, one after the other; the last convolution has a layer
_LAYERS = 4


def has_memory(state: Mapping[str, Tensor]) -> bool:
    """Whether a file in Meta's layout holds more than a picture's network."""
    return "maskmem_tpos_enc" in state


def memory_settings(state: Mapping[str, Tensor], side: int) -> dict[str, Any]:
    """What transformers' ``Sam2VideoConfig`` is told of the memory in a file; the rest is as published for SAM 2.1.

    Args:
        state: the file's tensors; those of SAM 2.0 lack two parts.
        side: of the network's square in pixels.
    """
    return {
        "memory_attention_rope_feat_sizes": [side // _STRIDE] * 2,
        "enable_occlusion_spatial_embedding": "no_obj_embed_spatial" in state,
        "enable_temporal_pos_encoding_for_object_pointers": "obj_ptr_tpos_proj.weight" in state,
    }


def memory_layout(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The memory of a file in Meta's layout, by the names of transformers' ``Sam2VideoModel``."""
    out: dict[str, Tensor] = {}
    for name, value in state.items():
        if name in _NAMES:
            out[_NAMES[name]] = value
        elif name.startswith(_KEPT):
            out[_renamed(name)] = value
    return out


def _renamed(name: str) -> str:
    found = _DOWNSAMPLER.fullmatch(name)
    if found:
        layer, step = divmod(int(found[1]), len(_STEPS))
        place = "final_conv" if layer == _LAYERS else f"layers.{layer}.{_STEPS[step]}"
        return f"memory_encoder.mask_downsampler.{place}.{found[2]}"
    for pattern, new in _RENAMES:
        name = re.sub(pattern, new, name)
    return name
