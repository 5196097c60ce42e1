"""The networks that the app serves: loaded once, shared by all requests, the ensemble replaced while they go on.

Training runs in a process of its own. It puts a whole new ensemble in place of the old one by renaming a file; the
server sees another file at its next request and opens that.
"""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import torch

from medclipsam_monai.base.devices import resolve_device
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import write_atomically
from medclipsam_monai.label.examples.served import ServedExamples
from medclipsam_monai.label.opened_images import OpenedImages
from medclipsam_monai.label.served_classes import ServedClasses
from medclipsam_monai.presets import DEFAULT_PRESET
from medclipsam_monai.presets.methods import SALIENCY_METHODS
from medclipsam_monai.weak.ensemble.checkpoint_ensemble import CheckpointEnsemble
from medclipsam_monai.zero_shot.opened import OpenedImage
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter

ENSEMBLE_FILE = "ensemble.pt"
CACHE_BYTES, IMAGE_BYTES = 512 * 1024**2, 1024 * 1024**2


class ServedModels:
    """What the app's tasks, scoring methods and strategies predict with; may be used from several threads.

    Args:
        folder: the app's model folder; the ensemble lies there as ``ensemble.pt`` once there is one.
        device: "auto", "cpu", "cuda", ...
        cache_bytes: most memory for what the networks made of the images that are open.
        image_bytes: most memory for those images, see `OpenedImages`.
        classes: the classes of the server; None for a list of its own.

    Attributes:
        classes: what is answered is numbered by them.
        opened: the images that are open.
        examples: of the classes.
        lock: hold it while predicting: the networks answer one request at a time, which also bounds the memory.

    Raises:
        InputError: the device is not there.
    """

    def __init__(
        self,
        folder: str | Path,
        device: str | torch.device = "auto",
        cache_bytes: int = CACHE_BYTES,
        image_bytes: int = IMAGE_BYTES,
        classes: ServedClasses | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.device = resolve_device(device)
        self.classes = ServedClasses() if classes is None else classes
        self.opened = OpenedImages(image_bytes, cache_bytes)
        self.examples = ServedExamples(self.classes)
        self.lock = threading.RLock()
        self._segmenters: dict[tuple[str, str | None], TextSegmenter] = {}
        self._ensemble: CheckpointEnsemble | None = None
        self._served: tuple[int, int, int] | None = None

    @property
    def ensemble_file(self) -> Path:
        """Where the served ensemble lies, once there is one."""
        return self.folder / ENSEMBLE_FILE

    def text_segmenter(self, preset: str = DEFAULT_PRESET, method: str | None = None) -> TextSegmenter:
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
                self._segmenters[preset, None] = TextSegmenter.from_preset(preset, self.device)
            if (preset, method) not in self._segmenters:
                plain = self._segmenters[preset, None]
                self._segmenters[preset, method] = plain.with_settings({"saliency.method": method})
            return self._segmenters[preset, method]

    def open(
        self,
        segmenter: TextSegmenter,
        image: str | Path,
        window: str | None = None,
        slice_axis: str = "acquired",
        keep: bool = True,
    ) -> OpenedImage:
        """An image, read where it is not open already, see `OpenedImages.open`; hold the lock while asking it."""
        with self.lock:
            return self.opened.open(segmenter, image, window, slice_axis, keep)

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
