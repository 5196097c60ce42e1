"""Tables of what the settings files of a Hugging Face CLIP or SigLIP may hold, by file and by name."""

from __future__ import annotations

from collections.abc import Mapping

from medclipsam_monai.base.value_checks import BOOLEAN, NULL, Kind, each, either, integer, number, one_of

_WIDTH = integer(1, 16_384)
_LENGTH = integer(1, 65_536)
_SIDE = integer(16, 4096)
_TOKEN = either(NULL, integer(0, 2_000_000))
_OBJECT = Kind("an object", lambda given: type(given) is dict)
_POSITIVE = Kind("a positive number", lambda given: number(1e-6, 1000).holds(given))

_TOWER: Mapping[str, Kind] = {
    "attention_dropout": number(0, 1),
    "hidden_act": one_of("gelu", "gelu_new", "gelu_pytorch_tanh", "quick_gelu", "relu", "silu", "swish"),
    "hidden_size": _WIDTH,
    "intermediate_size": integer(1, 65_536),
    "layer_norm_eps": number(1e-15, 1),
    "num_attention_heads": integer(1, 512),
    "num_hidden_layers": integer(1, 200),
}
_TEXT: Mapping[str, Kind] = {
    **_TOWER,
    "bos_token_id": _TOKEN,
    "eos_token_id": _TOKEN,
    "max_position_embeddings": _LENGTH,
    "pad_token_id": _TOKEN,
    "vocab_size": integer(1, 2_000_000),
}
_VISION: Mapping[str, Kind] = {
    **_TOWER,
    "image_size": _SIDE,
    "num_channels": one_of(3),
    "patch_size": integer(1, 512),
}

MODEL: Mapping[str, Mapping[str, Kind]] = {
    "clip": {"projection_dim": _WIDTH, "text_config": _OBJECT, "vision_config": _OBJECT},
    "siglip": {"text_config": _OBJECT, "vision_config": _OBJECT},
}
"""What is read of config.json itself, by its ``model_type``; the towers' settings stand in objects of their own."""
TEXT: Mapping[str, Mapping[str, Kind]] = {"clip": _TEXT, "siglip": {**_TEXT, "projection_size": either(NULL, _WIDTH)}}
VISION: Mapping[str, Mapping[str, Kind]] = {"clip": _VISION, "siglip": {**_VISION, "vision_use_head": one_of(True)}}
TOWER_TYPES: Mapping[str, Mapping[str, str]] = {
    "clip": {"text_config": "clip_text_model", "vision_config": "clip_vision_model"},
    "siglip": {"text_config": "siglip_text_model", "vision_config": "siglip_vision_model"},
}

FAMILIES: Mapping[str, str] = {
    "align": "an ALIGN",
    "altclip": "an AltCLIP",
    "bert": "a BERT, a text model alone",
    "blip": "a BLIP",
    "blip-2": "a BLIP-2",
    "chinese_clip": "a Chinese CLIP",
    "clap": "a CLAP of sounds",
    "clip_text_model": "the text half of a CLIP alone",
    "clip_vision_model": "the image half of a CLIP alone",
    "clipseg": "a CLIPSeg",
    "dinov2": "a DINOv2, an image model alone",
    "llava": "a LLaVA",
    "metaclip_2": "a MetaCLIP 2",
    "sam": "a SAM",
    "sam2": "a SAM 2",
    "siglip2": "a SigLIP 2 that takes pictures of any shape (NaFlex)",
    "siglip_text_model": "the text half of a SigLIP alone",
    "siglip_vision_model": "the image half of a SigLIP alone",
    "vision-text-dual-encoder": "a dual encoder of two other models",
    "vit": "a ViT, an image model alone",
}
"""What other values of ``model_type`` mean, said in an error."""

PICTURE: Mapping[str, Kind] = {
    "do_normalize": either(NULL, BOOLEAN),
    "do_rescale": either(NULL, BOOLEAN),
    "image_mean": either(NULL, each(number(-1000, 1000), 3)),
    "image_std": either(NULL, each(_POSITIVE, 3)),
    "rescale_factor": either(NULL, number(1e-9, 1000)),
}
"""What is read of preprocessor_config.json; how it resizes and crops is not: the whole picture goes in."""
