"""SAM's sizes as data, networks built from them, and weights files recognised by their shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import Tensor, nn

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.json_files import read_object
from medclipsam_monai.base.value_checks import BOOLEAN, Kind, check_object, each, integer
from medclipsam_monai.networks.sam.med2d import ADAPTER, SamMed2D, add_adapters
from medclipsam_monai.networks.sam.mobile import MARK, TinyVitEncoder, to_timm
from medclipsam_monai.weights.registry import SAM_WEIGHTS_NAME
from medclipsam_monai.weights.state_dicts import check_fit, load_exactly, read_state_dict
from medclipsam_monai.weights.tensor_files import OPTIMIZERS

CONFIG_NAME = "config.json"
_RANGES: Mapping[str, Kind] = {
    "encoder_embed_dim": integer(1, 8192),
    "encoder_depth": integer(1, 100),
    "encoder_num_heads": integer(1, 256),
    "encoder_global_attn_indexes": each(integer(0, 99), most=100),
    "image_size": integer(16, 4096),
    "vit_patch_size": integer(1, 256),
    "window_size": integer(0, 4096),
    "prompt_embed_dim": integer(1, 8192),
    "decoder_mlp_dim": integer(1, 65_536),
    "decoder_num_heads": integer(1, 256),
    "iou_head_hidden_dim": integer(1, 8192),
    "stretched": BOOLEAN,
    "adapters": BOOLEAN,
    "takes_masks": BOOLEAN,
}
_MED2D_SIDE = 256


PIXEL_MEAN = (123.675, 116.28, 103.53)
"""What SAM subtracts from a picture in 0..255, and so the colour that its padding stands for."""


@dataclass(frozen=True)
class SamSize:
    """What a SAM is built from; the defaults not given by ViT-B/L/H are theirs.

    Args:
        encoder_embed_dim: width of the image encoder.
        encoder_depth: its blocks.
        encoder_num_heads: its attention heads.
        encoder_global_attn_indexes: blocks that attend over the whole image rather than inside windows.
        image_size: side of the square input in pixels.
        vit_patch_size: side of a patch in pixels.
        window_size: side of an attention window in patches.
        prompt_embed_dim: width of prompts and of the image embedding.
        decoder_mlp_dim: hidden width of the mask decoder's transformer.
        decoder_num_heads: its attention heads.
        iou_head_hidden_dim: hidden width of the quality head.
        stretched: pictures fill the square, as SAM-Med2D's do; else their longer side fits it.
        adapters: the image encoder's blocks have SAM-Med2D's adapters.
        takes_masks: the weights have learnt to take a mask for a first guess, as all published ones have.
    """

    encoder_embed_dim: int
    encoder_depth: int
    encoder_num_heads: int
    encoder_global_attn_indexes: tuple[int, ...]
    image_size: int = 1024
    vit_patch_size: int = 16
    window_size: int = 14
    prompt_embed_dim: int = 256
    decoder_mlp_dim: int = 2048
    decoder_num_heads: int = 8
    iou_head_hidden_dim: int = 256
    stretched: bool = False
    adapters: bool = False
    takes_masks: bool = False

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any], source: str) -> SamSize:
        """From a JSON object.

        Raises:
            InputError: if a key is unknown, one without a default is missing, or a value is out of its range.
        """
        required = {field.name: _RANGES[field.name] for field in fields(cls) if field.default is MISSING}
        size = cls(**check_object(settings, required, _RANGES, source))
        size = replace(size, encoder_global_attn_indexes=tuple(size.encoder_global_attn_indexes))
        for what, width, part in (
            ("image_size", size.image_size, size.vit_patch_size),
            ("encoder_embed_dim", size.encoder_embed_dim, size.encoder_num_heads),
            ("prompt_embed_dim", size.prompt_embed_dim, 2 * size.decoder_num_heads),
            *([("image_size", size.image_size, 2 * size.vit_patch_size)] if size.adapters else []),
        ):
            if width % part:
                raise InputError(f"{what} in {source} must be a multiple of {part}, got {width}")
        return size


SAM_SIZES = {
    "vit_b": SamSize(768, 12, 12, (2, 5, 8, 11), takes_masks=True),
    "vit_l": SamSize(1024, 24, 16, (5, 11, 17, 23), takes_masks=True),
    "vit_h": SamSize(1280, 32, 16, (7, 15, 23, 31), takes_masks=True),
}


def build_sam(size: SamSize) -> Sam:
    """segment_anything's own network at a size, with random weights; a `SamMed2D` where pictures are stretched."""
    image_encoder = ImageEncoderViT(
        img_size=size.image_size,
        patch_size=size.vit_patch_size,
        embed_dim=size.encoder_embed_dim,
        depth=size.encoder_depth,
        num_heads=size.encoder_num_heads,
        mlp_ratio=4,
        out_chans=size.prompt_embed_dim,
        qkv_bias=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=size.window_size,
        global_attn_indexes=size.encoder_global_attn_indexes,
    )
    if size.adapters:
        add_adapters(image_encoder)
    return _around(image_encoder, size)


def build_mobile_sam() -> Sam:
    """MobileSAM at its published size, with random weights."""
    return _around(TinyVitEncoder(), SAM_SIZES["vit_b"])  # all but the image encoder is that of any SAM


def _around(image_encoder: nn.Module, size: SamSize) -> Sam:
    """The rest of a SAM around an image encoder."""
    embedding_side = size.image_size // size.vit_patch_size
    return (SamMed2D if size.stretched else Sam)(
        image_encoder=image_encoder,
        prompt_encoder=PromptEncoder(
            embed_dim=size.prompt_embed_dim,
            image_embedding_size=(embedding_side, embedding_side),
            input_image_size=(size.image_size, size.image_size),
            mask_in_chans=16,
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(
                depth=2,
                embedding_dim=size.prompt_embed_dim,
                mlp_dim=size.decoder_mlp_dim,
                num_heads=size.decoder_num_heads,
            ),
            transformer_dim=size.prompt_embed_dim,
            iou_head_depth=3,
            iou_head_hidden_dim=size.iou_head_hidden_dim,
        ),
        pixel_mean=list(PIXEL_MEAN),
        pixel_std=[58.395, 57.12, 57.375],
    ).eval()


def load_sam(source: str | Path, with_adapters: bool = True) -> Sam:
    """A SAM from a checkpoint file of ViT-B, L or H, of SAM-Med2D or MobileSAM, or a folder with sizes of its own.

    Args:
        source: a weights file whose names and shapes tell which it is (MedSAM is a SAM of ViT-B), or a folder with
            ``config.json`` (a `SamSize`) and ``sam.safetensors``.
        with_adapters: keep SAM-Med2D's adapters where there are any; its authors measured it without them, too.

    Raises:
        InputError: if files are missing, cut off, or of no known architecture.
    """
    path = Path(source)
    if not path.exists():
        raise InputError(f"SAM weights not found: {path}; expected a checkpoint file or a folder")
    weights = path / SAM_WEIGHTS_NAME if path.is_dir() else path
    config = path / CONFIG_NAME
    size = SamSize.from_dict(read_object(config), str(config)) if path.is_dir() else None
    state = read_state_dict(weights, leave_out=OPTIMIZERS)
    build = build_mobile_sam
    if size is None and MARK in state:
        state = to_timm(state)
    else:
        size = size or _size_of(state, path)
        if not with_adapters:
            state = {name: value for name, value in state.items() if ADAPTER not in name}
            size = replace(size, adapters=False)
        build = partial(build_sam, size)
    with torch.device("meta"):  # before memory is taken for what a file describes
        check_fit(build(), state, str(weights))
    sam = build()
    load_exactly(sam, state, str(weights))
    return sam


def learnt_masks(source: str | Path) -> bool:
    """Whether the weights that `load_sam` takes have learnt to take masks: a folder says so, published files have.

    Raises:
        InputError: a folder whose sizes cannot be read.
    """
    config = Path(source) / CONFIG_NAME
    return SamSize.from_dict(read_object(config), str(config)).takes_masks if Path(source).is_dir() else True


def _size_of(state: Mapping[str, Tensor], path: Path) -> SamSize:
    """Which of ViT-B, L and H a state dict belongs to, by the width of its image encoder, and at how many pixels.

    SAM's have 1024. 256 pixels, and adapters, are SAM-Med2D's.
    """
    patches = state.get("image_encoder.patch_embed.proj.weight")
    by_width = {size.encoder_embed_dim: size for size in SAM_SIZES.values()}
    width = 0 if patches is None or not patches.ndim else len(patches)
    if width not in by_width:
        found = f"an image encoder {width} wide" if width else "no image encoder"
        raise InputError(
            f"{path} holds {found}; expected a SAM of ViT-B, L or H (768, 1024 or 1280 wide), or a folder that holds "
            f"{CONFIG_NAME} and {SAM_WEIGHTS_NAME}"
        )
    size = by_width[width]
    positions = state.get("image_encoder.pos_embed")
    side = size.image_size
    if positions is not None and positions.ndim == 4:
        side = size.vit_patch_size * int(positions.shape[1])
    if side not in (size.image_size, _MED2D_SIDE):
        raise InputError(
            f"{path} is for pictures of {side} pixels; expected {size.image_size} as SAM or {_MED2D_SIDE} as SAM-Med2D,"
            f" or a folder that holds {CONFIG_NAME} and {SAM_WEIGHTS_NAME}"
        )
    adapters = any(ADAPTER in name for name in state)
    return replace(size, image_size=side, adapters=adapters, stretched=adapters or side == _MED2D_SIDE)


def sam_device(sam: nn.Module) -> torch.device:
    """Where a SAM's weights are."""
    return next(sam.parameters()).device
