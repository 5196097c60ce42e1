"""The networks that the app serves: loaded once, shared by all requests, the ensemble replaced while they go on.

Training runs in a process of its own. It puts a whole new ensemble in place of the old one by renaming a file; the
server sees another file at its next request and opens that.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medclipsam_monai.base.devices import resolve_device
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import write_atomically
from medclipsam_monai.label.server.embedding_cache import CachedEncoder, CachedSegmenter, MemoryCache
from medclipsam_monai.networks.sam.segmenter import ImageEmbedding
from medclipsam_monai.presets import Preset, load_preset
from medclipsam_monai.presets.methods import SALIENCY_METHODS, checked
from medclipsam_monai.saliency.method import make_saliency
from medclipsam_monai.weak.ensemble.checkpoint_ensemble import CheckpointEnsemble
from medclipsam_monai.zero_shot.network import ZeroShotSegmenter
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter

ENSEMBLE_FILE = "ensemble.pt"
_TOKENS_SHARE = 8  # a picture's tokens in CLIP take about an eighth of what its embedding in SAM takes


class ServedModels:
    """What the app's tasks, scoring methods and strategies predict with; may be used from several threads.

    Args:
        folder: the app's model folder; the ensemble lies there as ``ensemble.pt`` once there is one.
        device: "auto", "cpu", "cuda", ...
        cache_bytes: most memory for what the networks made of images that they have seen.

    Attributes:
        lock: hold it while predicting: the networks answer one request at a time, which also bounds the memory.

    Raises:
        InputError: the device is not there.
    """

    def __init__(
        self, folder: str | Path, device: str | torch.device = "auto", cache_bytes: int = 512 * 1024**2
    ) -> None:
        self.folder = Path(folder)
        self.device = resolve_device(device)
        self.cache: MemoryCache[ImageEmbedding] = MemoryCache(cache_bytes - cache_bytes // _TOKENS_SHARE)
        self.tokens: MemoryCache[Tensor] = MemoryCache(cache_bytes // _TOKENS_SHARE)
        self.lock = threading.RLock()
        self._segmenters: dict[tuple[str, str | None], TextSegmenter] = {}
        self._ensemble: CheckpointEnsemble | None = None
        self._served: tuple[int, int, int] | None = None

    @property
    def ensemble_file(self) -> Path:
        """Where the served ensemble lies, once there is one."""
        return self.folder / ENSEMBLE_FILE

    def text_segmenter(self, preset: str = "demo", method: str | None = None) -> TextSegmenter:
        """A preset's networks, loaded at the first call and kept; several methods of one preset share them.

        Args:
            preset: a preset's name, or the path of a JSON file.
            method: "m2ib", "gscorecam" or "gradcam" with its own parameters; None for the preset's method.

        Raises:
            InputError: there is no such preset or method, or weights are missing or broken.
        """
        if method is not None and method not in SALIENCY_METHODS:
            raise InputError(f"unknown saliency method {method!r}; expected one of {', '.join(SALIENCY_METHODS)}")
        with self.lock:
            if (preset, None) not in self._segmenters:
                self._segmenters[preset, None] = self._load(load_preset(preset))
            if (preset, method) not in self._segmenters:
                self._segmenters[preset, method] = with_settings(
                    self._segmenters[preset, None], {"saliency.method": method}
                )
            return self._segmenters[preset, method]

    def _load(self, preset: Preset) -> TextSegmenter:
        segmenter = TextSegmenter.from_preset(preset, self.device)
        network = segmenter.network
        network.segmenter = CachedSegmenter(network.segmenter, self.cache, segmenter.weights["sam"])
        network.encoder = CachedEncoder(network.encoder, self.tokens, f"{segmenter.weights['clip']} {preset.fit}")
        return segmenter

    def ensemble(self) -> CheckpointEnsemble | None:
        """The newest whole ensemble in the app's model folder, or None where nothing was trained yet.

        Raises:
            InputError: the file there is damaged or no ensemble.
        """
        with self.lock:
            try:
                stat = self.ensemble_file.stat()
            except FileNotFoundError:
                self._ensemble = self._served = None
                return None
            found = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if found != self._served:
                self._ensemble = CheckpointEnsemble.from_file(self.ensemble_file, self.device, mirroring=False)
                self._served = found
            return self._ensemble

    def replace(self, ensemble_file: str | Path) -> Path:
        """Serve another ensemble from now on, in this process and in all that share the folder.

        The file is opened first: one that is no ensemble leaves the old one in its place.

        Args:
            ensemble_file: as `CheckpointEnsemble.export` writes it; it is copied.

        Returns:
            Where it is served from.

        Raises:
            InputError: the file is missing, damaged or of another kind, or cannot be copied.
        """
        source = Path(ensemble_file)
        CheckpointEnsemble.from_file(source, self.device)
        return write_atomically(self.ensemble_file, lambda part: shutil.copyfile(source, part))


def with_settings(segmenter: TextSegmenter, settings: Mapping[str, Any]) -> TextSegmenter:
    """The same networks with a preset's parameters of saliency or threshold changed; weights are shared, not copied.

    Args:
        segmenter: loaded networks.
        settings: "saliency.method" and its parameters, "threshold"; see `Preset.with_settings`.

    Raises:
        InputError: a parameter that is none, or that does not fit the networks.
    """
    network, preset = segmenter.network, segmenter.preset.with_settings(settings)
    saliency = make_saliency(preset.saliency)
    layer = getattr(saliency, "layer", None)
    if layer is not None and layer >= network.encoder.num_blocks:
        raise InputError(f"saliency.layer must be under {network.encoder.num_blocks}, this CLIP's blocks, got {layer}")
    options = {
        "coarse": network.coarse,
        "visual_prompt": network.visual_prompt,
        "prompt_ensemble": network.prompt_ensemble,
        "fusion": network.fusion,
        "threshold": preset.threshold,
        "presence_threshold": network.presence_threshold,
        "presence_scale": network.presence_scale,
        "amp": network.amp,
    }
    changed = checked("the preset", partial(ZeroShotSegmenter, network.encoder, network.segmenter, saliency), options)
    return TextSegmenter(changed, preset, segmenter.weights)
