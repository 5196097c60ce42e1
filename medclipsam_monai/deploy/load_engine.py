"""Loads what segments: a preset's networks, or those of a bundle's folder."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from medclipsam_monai.base.devices import resolve_device
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.quiet import silenced
from medclipsam_monai.deploy.bundle_folder import CONFIG, METADATA, check_bundle
from medclipsam_monai.deploy.engines import Engine, EnsembleEngine, TextEngine
from medclipsam_monai.presets import DEFAULT_PRESET, load_preset
from medclipsam_monai.weak.ensemble.network import EnsembleNetwork
from medclipsam_monai.weights.registry import resolve, weight_hash
from medclipsam_monai.zero_shot.network import ZeroShotSegmenter
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter


@silenced(("monai.bundle",), logging.WARNING)  # it warns of every configuration that it may run code
def load_engine(
    bundle: str | Path | None = None, preset: str | None = None, task: str | None = None, device: str = "auto"
) -> Engine:
    """The networks of a bundle's folder, or of a preset where there is no bundle.

    Args:
        bundle: a zero-shot or a weak supervision bundle of this package. Its configuration is code: use trusted ones.
        preset: a name or a JSON file; of a zero-shot bundle in place of its own. None for the bundle's, or
            the default.
        task: one of the preset's tasks.
        device: "auto", "cpu", "cuda" ...

    Raises:
        InputError: no such bundle, preset or device; weights are missing or broken.
    """
    if bundle is None:
        return TextEngine(TextSegmenter.from_preset(preset or DEFAULT_PRESET, device, task=task))
    folder = Path(bundle)
    parser = _parser(folder, {"preset": preset, "task": task, "device": resolve_device(device)})
    try:
        network = parser.get_parsed_content("network_def")
        parser.get_parsed_content("initialize", default=None)  # as `monai.bundle run` does: loads the checkpoint
        if isinstance(network, ZeroShotSegmenter):
            return _text_engine(parser, network)
        if isinstance(network, EnsembleNetwork):
            return _ensemble_engine(folder, parser, network)
    except Exception as error:  # a configuration is code, and may raise whatever it likes
        raise _plain(error, folder) from error
    raise InputError(f"the bundle {folder.name} is none of this package's for inference: zero-shot or weak supervision")


def _parser(folder: Path, overrides: Mapping[str, Any]) -> ConfigParser:
    check_bundle(folder)
    parser = ConfigParser()
    try:
        parser.read_config(folder / CONFIG)
        if (folder / METADATA).is_file():
            parser.read_meta(folder / METADATA)  # names the version of this package that the bundle was made for
    except ValueError as error:
        raise InputError(f"{folder / CONFIG} is no readable configuration: {error}") from error
    parser["bundle_root"] = str(folder)
    for key, value in overrides.items():
        if value is None:
            continue
        if key not in parser:
            raise InputError(f"the bundle {folder.name} has no {key}; leave --{key} out")
        parser[key] = value
    return parser


def _plain(error: Exception, folder: Path) -> InputError:
    """The `InputError` that MONAI wrapped on its way out; where there is none, one that names what was first raised."""
    cause: BaseException = error
    while not isinstance(cause, InputError):
        before = cause.__cause__ or cause.__context__
        if before is None:
            reason = " ".join(str(cause).split())[:160]
            return InputError(f"the bundle {folder.name} cannot be loaded: {type(cause).__name__}: {reason}")
        cause = before
    return cause


def _text_engine(parser: ConfigParser, network: ZeroShotSegmenter) -> TextEngine:
    names = ("preset", "task", "settings", "clip_weights", "sam_weights", "checkpoint", "text", "opposites", "window")
    of = {name: parser.get_parsed_content(name) for name in names}
    preset = load_preset(of["preset"] or DEFAULT_PRESET).for_task(of["task"]).with_settings(of["settings"] or {})
    if of["checkpoint"] is not None:
        weights = {"bundle": weight_hash(of["checkpoint"])}
    else:
        sources = {"clip": of["clip_weights"] or preset.clip, "sam": of["sam_weights"] or preset.sam}
        weights = {role: weight_hash(resolve(source)) for role, source in sources.items()}
    segmenter = TextSegmenter(network, preset, weights)
    return TextEngine(segmenter, of["text"], of["opposites"], of["window"])


def _ensemble_engine(folder: Path, parser: ConfigParser, network: EnsembleNetwork) -> EnsembleEngine:
    window, slice_axis = (parser.get_parsed_content(name) for name in ("window", "slice_axis"))
    threshold = parser.get_parsed_content("threshold")
    weights = {"ensemble": weight_hash(parser.get_parsed_content("ckpt_path"))}
    return EnsembleEngine(network.ensemble, folder.resolve().name, weights, window, slice_axis, float(threshold))
