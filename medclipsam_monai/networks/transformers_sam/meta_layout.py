"""SAM 2.1 as Meta publishes it, and MedSAM2 likewise: {"model": tensors} in a ".pt" file, into transformers' names.

The file holds no sizes. Two shapes tell which of the four published networks it is; the side of the pictures it was
trained on stands nowhere in it. MedSAM2 (arXiv:2504.03600) is SAM 2.1 tiny, trained on pictures of 512 pixels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medclipsam_monai.base.errors import InputError

_SIDE, _MEDSAM2_SIDE, _MEDSAM2_NAME = 1024, 512, "medsam2"
_STRIDE = 32


@dataclass(frozen=True)
class HieraSize:
    """One of the published image encoders.

    Attributes:
        width: of the first stage; each later one is twice as wide.
        heads: attention heads of the first stage, likewise.
        blocks: in each of the four stages.
        global_blocks: numbers of the blocks that attend over the whole picture.
        background: side of the learnt position embedding that is stretched over the picture.
        windows: side of the attention windows in each stage.
    """

    width: int
    heads: int
    blocks: tuple[int, int, int, int]
    global_blocks: tuple[int, int, int]
    background: int = 7
    windows: tuple[int, int, int, int] = (8, 4, 14, 7)


SIZES = {
    "tiny": HieraSize(96, 1, (1, 2, 7, 2), (5, 7, 9)),
    "small": HieraSize(96, 1, (1, 2, 11, 2), (7, 10, 13)),
    "base_plus": HieraSize(112, 2, (2, 3, 16, 3), (12, 16, 20), background=14),
    "large": HieraSize(144, 2, (2, 6, 36, 4), (23, 33, 43), windows=(8, 4, 16, 8)),
}
"""SAM 2.1's image encoders, from the configurations of the package ``sam2``."""

_LEFT_OUT = (
    "memory_",
    "maskmem_tpos_enc",
    "mask_downsample.",
    "obj_ptr_",
    "no_mem_pos_enc",
    "no_obj_",
)
_RENAMES = (
    (r"^no_mem_embed$", "no_memory_embedding"),
    (r"^image_encoder\.trunk\.", "vision_encoder.backbone."),
    (r"^image_encoder\.neck\.convs\.(\d+)\.conv\.", r"vision_encoder.neck.convs.\1."),
    (r"^sam_prompt_encoder\.", "prompt_encoder."),
    (r"^sam_mask_decoder\.", "mask_decoder."),
    (r"\.patch_embed\.proj\.", ".patch_embed.projection."),
    (r"\.norm(\d)\.", r".layer_norm\1."),
    (r"\.norm_final_attn\.", ".layer_norm_final_attn."),
    (r"\.out_proj\.", ".o_proj."),
    (r"\.mask_downscaling\.0\.", ".mask_embed.conv1."),
    (r"\.mask_downscaling\.1\.", ".mask_embed.layer_norm1."),
    (r"\.mask_downscaling\.3\.", ".mask_embed.conv2."),
    (r"\.mask_downscaling\.4\.", ".mask_embed.layer_norm2."),
    (r"\.mask_downscaling\.6\.", ".mask_embed.conv3."),
    (r"\.output_upscaling\.0\.", ".upscale_conv1."),
    (r"\.output_upscaling\.1\.", ".upscale_layer_norm."),
    (r"\.output_upscaling\.3\.", ".upscale_conv2."),
    (r"\.mlp\.layers\.0\.", ".mlp.proj_in."),
    (r"\.mlp\.layers\.1\.", ".mlp.proj_out."),
    # perceptrons of three layers; the middle one changes its number
    (r"(head|mlps\.\d+)\.layers\.0\.", r"\1.proj_in."),
    (r"(head|mlps\.\d+)\.layers\.2\.", r"\1.proj_out."),
    (r"(head|mlps\.\d+)\.layers\.1\.", r"\1.layers.0."),
)
_POINT = re.compile(r"sam_prompt_encoder\.point_embeddings\.([0-3])\.weight")
_POSITIONS = "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"


def meta_settings(state: Mapping[str, Tensor], path: Path, image_size: int | None = None) -> dict[str, Any]:
    """What transformers' ``Sam2Config`` is made of, for the network that a file in Meta's layout holds.

    Args:
        state: the file's tensors.
        path: of the file.
        image_size: side of the network's square in pixels; None for 512 where the file's name begins as MedSAM2's
            do, and 1024 else.

    Raises:
        InputError: it is none of the four published networks, or the side is no multiple of 32 from 64 to 4096.
    """
    size = _size_of(state, path)
    side = image_size
    if side is None:
        side = _MEDSAM2_SIDE if path.name.lower().startswith(_MEDSAM2_NAME) else _SIDE
    if side % _STRIDE or not 64 <= side <= 4096:
        raise InputError(f"image_size must be a multiple of {_STRIDE} from 64 to 4096, got {side}")
    widths = [size.width * 2**stage for stage in range(4)]
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": size.width,
        "num_attention_heads": size.heads,
        "image_size": [side, side],
        "window_positional_embedding_background_size": [size.background] * 2,
        "blocks_per_stage": list(size.blocks),
        "embed_dim_per_stage": widths,
        "num_attention_heads_per_stage": [size.heads * 2**stage for stage in range(4)],
        "window_size_per_stage": list(size.windows),
        "global_attention_blocks": list(size.global_blocks),
    }
    vision = {
        "model_type": "sam2_vision_model",
        "backbone_config": backbone,
        "backbone_channel_list": widths[::-1],
        "backbone_feature_sizes": [[side // stride] * 2 for stride in (4, 8, 16)],
    }
    return {"vision_config": vision, "prompt_encoder_config": {"image_size": side}, "mask_decoder_config": {}}


def to_transformers_layout(state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """The image's network of a file in Meta's layout, by the names of transformers' ``Sam2Model``.

    Args:
        state: the file's tensors; those that only a video needs are left out.
        source: of the file, for the error.

    Raises:
        InputError: it lacks an embedding of points that it must have.
    """
    out: dict[str, Tensor] = {}
    points: dict[str, Tensor] = {}
    for name, value in state.items():
        point = _POINT.fullmatch(name)
        if point:
            points[point[1]] = value
        elif name == _POSITIONS:
            out["shared_image_embedding.positional_embedding"] = value
            out["prompt_encoder.shared_embedding.positional_embedding"] = value
        elif not name.startswith(_LEFT_OUT):
            out[_renamed(name)] = value
    if len(points) < 4 or len({value.shape for value in points.values()}) > 1 or points["0"].ndim != 2:
        raise InputError(f"{source} must hold four sam_prompt_encoder.point_embeddings of one shape (1, width)")
    out["prompt_encoder.point_embed.weight"] = torch.cat([points[number] for number in sorted(points)])
    return out


def _renamed(name: str) -> str:
    for pattern, new in _RENAMES:
        name = re.sub(pattern, new, name)
    return name


def _size_of(state: Mapping[str, Tensor], path: Path) -> HieraSize:
    patches = state.get("image_encoder.trunk.patch_embed.proj.weight")
    numbers = [re.match(r"image_encoder\.trunk\.blocks\.(\d{1,3})\.", name) for name in state]
    blocks = 1 + max((int(found[1]) for found in numbers if found), default=-1)
    width = 0 if patches is None or not patches.ndim else len(patches)
    for size in SIZES.values():
        if (size.width, sum(size.blocks)) == (width, blocks):
            return size
    found = f"an image encoder of {blocks} blocks, {width} wide" if width else "no image encoder of SAM 2"
    known = ", ".join(f"{name} ({sum(size.blocks)} blocks, {size.width} wide)" for name, size in SIZES.items())
    raise InputError(f"{path} holds {found}; expected SAM 2.1 {known}, or a folder in transformers' form")
