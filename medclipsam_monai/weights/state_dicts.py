"""Every weight layout in, one out: BiomedCLIP's two key layouts, and files read without running their code.

Fine-tuned BiomedCLIP weights circulate in the transformers layout (query, key and value apart); open_clip keeps them
in timm's layout (one qkv matrix). The tables below are the whole difference.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.weights.tensor_files import check_finite, check_forms, read_safetensors, read_torch_file

StateDict = dict[str, Tensor]

# transformers key -> open_clip key, as (pattern, replacement); {n} stands for a block's number.
_RENAMES: tuple[tuple[str, str], ...] = (
    ("vision_model.embeddings.patch_embedding.", "visual.trunk.patch_embed.proj."),
    ("vision_model.encoder.layers.{n}.layer_norm1.", "visual.trunk.blocks.{n}.norm1."),
    ("vision_model.encoder.layers.{n}.layer_norm2.", "visual.trunk.blocks.{n}.norm2."),
    ("vision_model.encoder.layers.{n}.mlp.", "visual.trunk.blocks.{n}.mlp."),
    ("vision_model.encoder.layers.{n}.self_attn.out_proj.", "visual.trunk.blocks.{n}.attn.proj."),
    ("vision_model.post_layernorm.", "visual.trunk.norm."),
    ("visual_projection.", "visual.head.proj."),
    ("text_model.embeddings.token_embedding.", "text.transformer.embeddings.word_embeddings."),
    ("text_model.embeddings.position_embedding.", "text.transformer.embeddings.position_embeddings."),
    ("text_model.embeddings.token_type_embedding.", "text.transformer.embeddings.token_type_embeddings."),
    ("text_model.embeddings.layer_norm.", "text.transformer.embeddings.LayerNorm."),
    ("text_model.encoder.layers.{n}.self_attn.q_proj.", "text.transformer.encoder.layer.{n}.attention.self.query."),
    ("text_model.encoder.layers.{n}.self_attn.k_proj.", "text.transformer.encoder.layer.{n}.attention.self.key."),
    ("text_model.encoder.layers.{n}.self_attn.v_proj.", "text.transformer.encoder.layer.{n}.attention.self.value."),
    ("text_model.encoder.layers.{n}.self_attn.out_proj.", "text.transformer.encoder.layer.{n}.attention.output.dense."),
    ("text_model.encoder.layers.{n}.layer_norm1.", "text.transformer.encoder.layer.{n}.attention.output.LayerNorm."),
    ("text_model.encoder.layers.{n}.mlp.fc1.", "text.transformer.encoder.layer.{n}.intermediate.dense."),
    ("text_model.encoder.layers.{n}.mlp.fc2.", "text.transformer.encoder.layer.{n}.output.dense."),
    ("text_model.encoder.layers.{n}.layer_norm2.", "text.transformer.encoder.layer.{n}.output.LayerNorm."),
    ("text_projection.fc1.", "text.proj.0."),
    ("text_projection.fc2.", "text.proj.2."),
)
_TEXT_TOWERS = (("text_encoder.", "text."),)  # UniMed-CLIP's fork of open_clip -> open_clip
_CLASS_TOKEN = ("vision_model.embeddings.class_embedding", "visual.trunk.cls_token")
_POSITIONS = ("vision_model.embeddings.position_embedding.weight", "visual.trunk.pos_embed")
_QKV = re.compile(r"vision_model\.encoder\.layers\.(\d+)\.self_attn\.q_proj\.(weight|bias)")
_FUSED_QKV = re.compile(r"visual\.trunk\.blocks\.(\d+)\.attn\.qkv\.(weight|bias)")
_AGAIN = "download it again"
_BUFFERS = ("position_ids",)  # made by the network itself; some files carry them, some do not


def read_state_dict(path: str | Path, leave_out: Collection[str] = ()) -> StateDict:
    """Tensors of a weights file (safetensors, or a torch pickle that holds nothing but tensors).

    A dictionary around them ("state_dict", "model", ...) and a "module." prefix are taken off.

    Args:
        path: of the file.
        leave_out: what else a pickle may hold, see `read_torch_file`.

    Raises:
        InputError: if the file is missing, cut off, no weights file, a pickle that would run code, or holds anything
            but floating-point weights.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"weights file not found: {path}")
    is_safe = path.suffix == ".safetensors" and path.is_file()
    loaded = (
        read_safetensors(path, _AGAIN)
        if is_safe
        else read_torch_file(path, "weights file", _AGAIN, leave_out=leave_out)
    )
    for wrapper in ("state_dict", "model_state_dict", "model"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
    return plain_state_dict(loaded, str(path))


def plain_state_dict(content: object, source: str) -> StateDict:
    """What a file holds, if it is names and floating-point tensors; a "module." prefix is taken off.

    Raises:
        InputError: if it is anything else.
    """
    if not isinstance(content, Mapping) or not content:
        raise InputError(f"{source} holds no state dict; expected names and tensors")
    if not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()):
        raise InputError(f"{source} holds no state dict; expected names and tensors")
    check_forms(content, source)
    return {key.removeprefix("module."): value for key, value in content.items()}


def is_transformers_layout(state: Mapping[str, Tensor]) -> bool:
    """Whether the keys are those of the transformers port of BiomedCLIP."""
    return any(key.startswith("vision_model.") for key in state)


def _rename(key: str, table: tuple[tuple[str, str], ...]) -> str:
    for old, new in table:
        match = re.match(re.escape(old).replace(r"\{n\}", r"(?P<n>\d+)"), key)
        if match:
            number = match.groupdict().get("n") or ""
            return new.replace("{n}", number) + key[match.end() :]
    return key


def to_open_clip(state: Mapping[str, Tensor]) -> StateDict:
    """A BiomedCLIP state dict in either layout, in open_clip's; UniMed-CLIP's text tower under open_clip's name.

    Raises:
        InputError: if a query has no key or value of its shape beside it.
    """
    if not is_transformers_layout(state):
        return {_rename(key, _TEXT_TOWERS): value for key, value in state.items()}
    out: StateDict = {}
    for key, value in state.items():
        if key.endswith(_BUFFERS) or (".self_attn.k_proj." in key and key.startswith("vision_model.")):
            continue
        if ".self_attn.v_proj." in key and key.startswith("vision_model."):
            continue
        fused = _QKV.fullmatch(key)
        if fused:
            parts = [key.replace("q_proj", name) for name in ("q_proj", "k_proj", "v_proj")]
            missing = [part for part in parts if part not in state]
            if missing:
                raise InputError(f"the checkpoint lacks {missing[0]}; expected query, key and value of every block")
            if len({state[part].shape for part in parts}) > 1 or not value.ndim:
                raise InputError(f"{key} has another shape than the key or value beside it")
            new = f"visual.trunk.blocks.{fused[1]}.attn.qkv.{fused[2]}"
            out[new] = torch.cat([state[part] for part in parts])
        elif key == _CLASS_TOKEN[0]:
            out[_CLASS_TOKEN[1]] = value.reshape(1, 1, -1)
        elif key == _POSITIONS[0]:
            out[_POSITIONS[1]] = value.unsqueeze(0)
        else:
            out[_rename(key, _RENAMES)] = value
    return out


def to_transformers(state: Mapping[str, Tensor]) -> StateDict:
    """A BiomedCLIP state dict in either layout, in the transformers layout (the inverse of `to_open_clip`)."""
    if is_transformers_layout(state):
        return dict(state)
    table = tuple((new, old) for old, new in _RENAMES)
    out: StateDict = {}
    for key, value in state.items():
        fused = _FUSED_QKV.fullmatch(key)
        if key.endswith(_BUFFERS):
            continue
        if fused:
            prefix = f"vision_model.encoder.layers.{fused[1]}.self_attn"
            for name, part in zip(("q_proj", "k_proj", "v_proj"), value.chunk(3), strict=True):
                out[f"{prefix}.{name}.{fused[2]}"] = part.clone()
        elif key == _CLASS_TOKEN[1]:
            out[_CLASS_TOKEN[0]] = value.reshape(-1)
        elif key == _POSITIONS[1]:
            out[_POSITIONS[0]] = value.squeeze(0)
        else:
            out[_rename(key, table)] = value
    return out


def check_fit(network: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Make sure that weights fit a network in every name and shape; the network may be on the meta device.

    Raises:
        InputError: naming what is missing, left over or of another shape.
    """
    expected = _without_buffers(network.state_dict())
    given = _without_buffers(state)
    misfits = [
        f"{key} is {tuple(given[key].shape)}, expected {tuple(expected[key].shape)}"
        for key in expected.keys() & given.keys()
        if given[key].shape != expected[key].shape
    ]
    missing, extra = sorted(expected.keys() - given.keys()), sorted(given.keys() - expected.keys())
    if misfits or missing or extra:
        found = [f"{len(missing)} names missing (first {missing[0]})"] if missing else []
        found += [f"{len(extra)} unknown (first {extra[0]})"] if extra else []
        found += [f"{len(misfits)} of another shape ({min(misfits)})"] if misfits else []
        name = type(network).__name__
        raise InputError(f"{source} is a checkpoint of another architecture than this {name}: {'; '.join(found)}")


def load_exactly(network: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load weights that must fit in every name and shape, and be finite.

    Raises:
        InputError: naming what is missing, left over, of another shape, or NaN or infinite.
    """
    check_fit(network, state, source)
    given = _without_buffers(state)
    check_finite(given, source)
    network.load_state_dict(given, strict=False)


def _without_buffers(state: Mapping[str, Tensor]) -> StateDict:
    return {key: value for key, value in state.items() if not key.endswith(_BUFFERS)}
