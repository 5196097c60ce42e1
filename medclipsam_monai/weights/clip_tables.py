"""Tables of what the settings files of a CLIP may hold, by file and by name."""

from __future__ import annotations

from collections.abc import Mapping

from medclipsam_monai.base.value_checks import (
    ANYTHING,
    BOOLEAN,
    NAME,
    NULL,
    Kind,
    each,
    either,
    integer,
    number,
    one_of,
    text,
)

_WIDTH = integer(1, 16_384)
_LAYERS = integer(1, 200)
_HEADS = integer(1, 512)
_RATIO = number(0.01, 64)
_SHARE = number(0, 1)
_LENGTH = integer(1, 65_536)
_SIDE = integer(16, 4096)
_OBJECT = Kind("an object", lambda given: type(given) is dict)
WORD = text(1000)

_BLOCK: Mapping[str, Kind] = {
    "mlp_ratio": _RATIO,
    "ls_init_value": either(NULL, number(0, 100)),
    "final_ln_after_pool": BOOLEAN,
    "output_tokens": one_of(False),
    "act_kwargs": either(NULL, _OBJECT),
    "norm_kwargs": either(NULL, _OBJECT),
    "block_type": one_of(None, "default", "custom"),
    "qk_norm": BOOLEAN,
    "scaled_cosine_attn": BOOLEAN,
    "scale_heads": BOOLEAN,
    "scale_attn_inner": BOOLEAN,
    "scale_attn": BOOLEAN,
    "scale_fc": BOOLEAN,
}
ACTIVATION: Mapping[str, Kind] = {"approximate": one_of("none", "tanh")}
NORM: Mapping[str, Kind] = {"eps": number(1e-12, 1)}

MODEL_REQUIRED: Mapping[str, Kind] = {"embed_dim": _WIDTH, "vision_cfg": _OBJECT, "text_cfg": _OBJECT}
MODEL: Mapping[str, Kind] = {
    "quick_gelu": BOOLEAN,
    "custom_text": BOOLEAN,
    "init_logit_scale": number(-100, 100),
    "init_logit_bias": either(NULL, number(-100, 100)),
    "nonscalar_logit_scale": BOOLEAN,
}
VISION: Mapping[str, Kind] = {
    **_BLOCK,
    "layers": either(_LAYERS, each(_LAYERS, 4)),
    "width": _WIDTH,
    "head_width": _WIDTH,
    "patch_size": integer(1, 512),
    "image_size": either(_SIDE, each(_SIDE, 2)),
    "patch_dropout": _SHARE,
    "attentional_pool": BOOLEAN,
    "attn_pooler_queries": integer(1, 4096),
    "attn_pooler_heads": _HEADS,
    "no_ln_pre": BOOLEAN,
    "pos_embed_type": one_of("learnable", "sin_cos_2d"),
    "pool_type": one_of("tok", "avg", "none"),
    "timm_model_name": either(NULL, NAME),
    "timm_model_pretrained": BOOLEAN,
    "timm_pool": one_of("", "avg", "avgmax", "max", "token", "map", "abs_attn", "rot_attn"),
    "timm_proj": one_of("", "linear", "mlp", "none", None),
    "timm_proj_bias": BOOLEAN,
    "timm_drop": _SHARE,
    "timm_drop_path": either(NULL, _SHARE),
}
TEXT: Mapping[str, Kind] = {
    **_BLOCK,
    "context_length": _LENGTH,
    "vocab_size": integer(1, 2_000_000),
    "width": _WIDTH,
    "heads": _HEADS,
    "layers": _LAYERS,
    "embed_cls": BOOLEAN,
    "pad_id": integer(0, 2_000_000),
    "eos_id": integer(0, 2_000_000),
    "no_causal_mask": BOOLEAN,
    "pool_type": one_of("argmax", "eos", "first", "last", "none"),
    "proj_bias": BOOLEAN,
    "proj_type": one_of("linear", "none"),
    "tokenizer_mode": one_of(None, "clips"),
    "tokenizer_kwargs": _OBJECT,
    "hf_tokenizer_name": either(NULL, WORD),
    "hf_model_name": either(NULL, Kind("a name", lambda given: type(given) is str and 0 < len(given) <= 1000)),
    "hf_model_pretrained": BOOLEAN,
    "hf_proj_type": one_of(None, "linear", "mlp"),
    "hf_pooler_type": one_of(None, "mean_pooler", "max_pooler", "cls_pooler", "cls_last_hidden_state_pooler"),
}
"""The names of the text tower and its tokenizer are compared, never looked up."""
TOKENIZER_ARGUMENTS: Mapping[str, Kind] = {
    "strip_sep_token": BOOLEAN,
    "clean": one_of("lower", "whitespace", "canonicalize"),
}
PREPROCESS: Mapping[str, Kind] = {
    "size": either(_SIDE, each(_SIDE, 2)),
    "mode": one_of("RGB"),
    "mean": each(number(-1000, 1000), 3),
    "std": each(Kind("a positive number", lambda given: number(1e-6, 1000).holds(given)), 3),
    "interpolation": one_of("bicubic", "bilinear", "nearest", "random"),
    "resize_mode": one_of("shortest", "longest", "squash"),
    "fill_color": either(integer(0, 255), each(integer(0, 255), 3)),
}

CODE = (
    "auto_map",
    "trust_remote_code",
    "code_revision",
    "custom_pipelines",
    "quantization_config",
    "attn_implementation",
    "_attn_implementation",
    "_attn_implementation_internal",
    "experts_implementation",
    "_experts_implementation",
    "kernel_config",
)
"""By these, transformers fetches or imports what a file names."""

TEXT_TOWER_REQUIRED: Mapping[str, Kind] = {"model_type": one_of("bert", "roberta", "xlm-roberta")}
TEXT_TOWER: Mapping[str, Kind] = {
    "architectures": ANYTHING,
    "attention_probs_dropout_prob": _SHARE,
    "bos_token_id": either(NULL, integer(0, 2_000_000)),
    "classifier_dropout": either(NULL, _SHARE),
    "eos_token_id": either(NULL, integer(0, 2_000_000)),
    "hidden_act": one_of("gelu", "gelu_new", "gelu_pytorch_tanh", "quick_gelu", "relu", "silu", "swish"),
    "hidden_dropout_prob": _SHARE,
    "hidden_size": _WIDTH,
    "initializer_range": number(0, 10),
    "intermediate_size": integer(1, 65_536),
    "layer_norm_eps": number(1e-15, 1),
    "max_position_embeddings": _LENGTH,
    "num_attention_heads": _HEADS,
    "num_hidden_layers": _LAYERS,
    "pad_token_id": integer(0, 2_000_000),
    "position_embedding_type": one_of("absolute"),
    "type_vocab_size": integer(1, 64),
    "vocab_size": integer(1, 2_000_000),
}

_TOKEN_OR_WORD = either(NULL, WORD, _OBJECT)
TOKENS = ("bos_token", "cls_token", "eos_token", "mask_token", "pad_token", "sep_token", "unk_token")
TOKEN: Mapping[str, Kind] = {
    "__type": one_of("AddedToken"),
    "id": integer(0, 2_000_000),
    **dict.fromkeys(("lstrip", "normalized", "rstrip", "single_word", "special"), BOOLEAN),
}
_TOKENIZERS = (
    "BertTokenizer",
    "BertTokenizerFast",
    "RobertaTokenizer",
    "RobertaTokenizerFast",
    "XLMRobertaTokenizer",
    "XLMRobertaTokenizerFast",
    "PreTrainedTokenizerFast",
    "TokenizersBackend",
)
READ_AS_IT_IS = tuple(
    f"{name}{speed}"
    for name in ("CLIPTokenizer", "GemmaTokenizer", "SiglipTokenizer", "Siglip2Tokenizer", "T5Tokenizer")
    for speed in ("", "Fast")
)
"""Classes whose tokenizer.json holds all there is: transformers gets them under the name of one that adds nothing."""


def _are_tokens_by_number(given: object) -> bool:
    if type(given) is not dict or len(given) > 10_000:
        return False
    return all(key.isdecimal() and type(token) is dict for key, token in given.items())


_ADDED = Kind("an object of tokens by number", _are_tokens_by_number)
TOKENIZER: Mapping[str, Kind] = {
    **dict.fromkeys(TOKENS, _TOKEN_OR_WORD),
    "add_prefix_space": BOOLEAN,
    "added_tokens_decoder": _ADDED,
    "additional_special_tokens": either(NULL, each(WORD)),
    "backend": one_of("tokenizers"),
    "clean_up_tokenization_spaces": BOOLEAN,
    "do_basic_tokenize": BOOLEAN,
    "do_lower_case": BOOLEAN,
    "errors": one_of("replace", "strict", "ignore"),
    "max_length": either(NULL, _LENGTH),
    "model_max_length": number(1, 1e31),
    "padding_side": one_of("left", "right"),
    "strip_accents": either(NULL, BOOLEAN),
    "tokenize_chinese_chars": BOOLEAN,
    "tokenizer_class": one_of(*_TOKENIZERS, *READ_AS_IT_IS),
    "trim_offsets": BOOLEAN,
    "truncation_side": one_of("left", "right"),
}
