"""The networks that the app serves: loaded once, shared by all requests, the ensemble replaced while they go on.

Training runs in a process of its own. It puts a whole new ensemble in place of the old one by renaming a file; the
server sees another file at its next request and opens that.
"""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import torch

from medclipsam_monai.devices import resolve_device
from medclipsam_monai.errors import InputError
from medclipsam_monai.files import write_atomically
from medclipsam_monai.label.embedding_cache import CachedSegmenter, EmbeddingCache
from medclipsam_monai.networks.zero_shot import ZeroShotSegmenter
from medclipsam_monai.presets import Preset, load_preset
from medclipsam_monai.presets.methods import SALIENCY_METHODS, make_saliency
from medclipsam_monai.text_segmenter import TextSegmenter
from medclipsam_monai.weak.ensemble import CheckpointEnsemble

ENSEMBLE_FILE = "ensemble.pt"


class ServedModels:
    """What the app's tasks, scoring methods and strategies predict with; may be used from several threads.

    Args:
        folder: the app's model folder; the ensemble lies there as ``ensemble.pt`` once there is one.
        device: "auto", "cpu", "cuda", ...
        cache_bytes: most memory for embeddings of images that SAM has seen.

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
        self.cache = EmbeddingCache(cache_bytes)
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
                self._segmenters[preset, method] = _with_method(self._segmenters[preset, None], method)
            return self._segmenters[preset, method]

    def _load(self, preset: Preset) -> TextSegmenter:
        segmenter = TextSegmenter.from_preset(preset, self.device)
        network = segmenter.network
        network.segmenter = CachedSegmenter(network.segmenter, self.cache, segmenter.weights["sam"])
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


def _with_method(segmenter: TextSegmenter, method: str | None) -> TextSegmenter:
    """The same networks with another saliency method; where that is the preset's own, its parameters stay."""
    network, preset = segmenter.network, segmenter.preset.with_settings({"saliency.method": method})
    saliency = make_saliency(preset.saliency)
    layer = getattr(saliency, "layer", None)
    if layer is not None and layer >= network.encoder.num_blocks:
        raise InputError(f"{method} looks at block {layer}, this CLIP has {network.encoder.num_blocks} blocks")
    changed = ZeroShotSegmenter(
        network.encoder,
        network.segmenter,
        saliency,
        network.coarse,
        network.visual_prompt,
        network.fusion,
        network.threshold,
        network.presence_threshold,
        network.presence_scale,
        network.amp,
    )
    return TextSegmenter(changed, preset, segmenter.weights)
