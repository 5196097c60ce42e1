"""The public facade: ``TextSegmenter.from_preset("demo")("chest.png", "lungs").save("out")``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.utils import convert_to_tensor
from torch import Tensor

from medclipsam_monai.errors import InputError
from medclipsam_monai.inferers import segment_volume
from medclipsam_monai.io import (
    Geometry,
    ImageSource,
    build_record,
    class_sizes,
    hash_files,
    read_image,
    request_key,
    write_float_map,
    write_json,
    write_mask,
    write_picture,
)
from medclipsam_monai.io.geometry import StoredImage, make_geometry
from medclipsam_monai.networks.zero_shot import ZeroShotResult, ZeroShotSegmenter
from medclipsam_monai.presets import Preset, load_preset
from medclipsam_monai.presets.build import build_network
from medclipsam_monai.prompts import TextTarget, parse_targets
from medclipsam_monai.transforms import CLASS_COLOURS, DisplayRange, Overlay, saliency_picture
from medclipsam_monai.weights import resolve, weight_hash

_SMALLEST_OVERLAY = 256  # pixels of the longer side; smaller pictures are enlarged


@dataclass(frozen=True)
class Request:
    """What is asked of an image, and with what: the part of a record that does not depend on the image."""

    targets: tuple[TextTarget, ...]
    preset: str
    weights: Mapping[str, str]
    parameters: Mapping[str, Any]

    @property
    def texts(self) -> dict[str, list[str]]:
        """Sentences by class."""
        return {target.name: list(target.sentences) for target in self.targets}

    def key(self, input_sha256: str) -> str:
        """Hash of the request for one input; equal keys have equal results."""
        return request_key(self.texts, self.preset, self.weights, self.parameters, input_sha256)


@dataclass(frozen=True)
class Segmentation:
    """A segmented image.

    Attributes:
        found: masks, probabilities, saliency and the rest, upright, (K, H, W[, D]).
        display: (3, H, W[, D]) in [0, 1], what the networks saw.
        geometry: puts a mask back on the file's own array.
        spacing: millimetres along the display's axes, None where unknown.
        name: base name of the input.
        stem: start of the names of the files that `save` writes.
        input_sha256: of the input.
        request: what was asked.
        seconds: time it took, without reading and writing.
    """

    found: ZeroShotResult
    display: Tensor
    geometry: Geometry
    spacing: tuple[float, ...] | None
    name: str
    stem: str
    input_sha256: str
    request: Request
    seconds: float

    @property
    def label_map(self) -> Tensor:
        """(H, W[, D]) uint8: 0 background, else the class's place from 1."""
        return self.found.label_map

    def save(
        self,
        folder: str | Path,
        overlay: bool = True,
        save_saliency: bool = False,
        save_probability: bool = False,
        stem: str | None = None,
    ) -> list[Path]:
        """Write the mask in the input's own geometry, a picture of it, and the record last.

        Args:
            folder: made if it is not there.
            overlay: the picture with masks and legend drawn in.
            save_saliency: each class's map, and it over the image.
            save_probability: each class's SAM probability.
            stem: start of the files' names in place of the input's own.

        Returns:
            The files, the record last.

        Raises:
            InputError: if a file cannot be written.
        """
        base = Path(folder) / (stem or self.stem)
        files = [write_mask(self.label_map, self.geometry, f"{base}_mask", palette=CLASS_COLOURS)]
        if overlay:
            draw = Overlay(names=self.found.names, min_size=_SMALLEST_OVERLAY)
            picture = draw(self.display, self._exclusive_masks())
            files.append(write_picture(picture, f"{base}_overlay.png"))
        for k in range(len(self.found.names)):
            number = f"_{k + 1}" if len(self.found.names) > 1 else ""
            if save_saliency:
                files.append(write_float_map(self.found.saliency[k], self.geometry, f"{base}_saliency{number}"))
                if self.display.ndim == 3:
                    heat = saliency_picture(self.found.saliency[k], self.display)
                    files.append(write_picture(heat, f"{base}_saliency{number}_overlay.png"))
            if save_probability:
                files.append(write_float_map(self.found.probability[k], self.geometry, f"{base}_probability{number}"))
        return [*files, write_json(self.record(files), f"{base}.json")]

    def _exclusive_masks(self) -> Tensor:
        labels = self.label_map
        return torch.stack([labels == k + 1 for k in range(len(self.found.names))])

    def record(self, outputs: list[Path]) -> dict[str, Any]:
        """What is written beside the mask; holds nothing about a patient but the file's own name."""
        labels, found = self.label_map, self.found
        sizes = class_sizes(labels, self.spacing, found.names)
        classes = [
            {
                **size,
                "fraction": size["pixels"] / labels.numel(),
                "presence": found.presence[k],
                "quality": found.quality[k],
                "agreement": _agreement(found.coarse[k], found.mask[k]),
                "boxes": _plain(boxes),
            }
            for k, (size, boxes) in enumerate(zip(sizes, found.boxes, strict=True))
        ]
        return build_record(
            input_name=self.name,
            input_sha256=self.input_sha256,
            texts=self.request.texts,
            preset=self.request.preset,
            weights=self.request.weights,
            parameters=self.request.parameters,
            classes=classes,
            outputs=outputs,
            seconds=self.seconds,
        )


def _agreement(coarse: Tensor, mask: Tensor) -> float | None:
    """Dice coefficient of the mask before SAM and the final one; None where both are empty."""
    total = int(coarse.sum() + mask.sum())
    return 2 * int((coarse & mask).sum()) / total if total else None


def _plain(boxes: Tensor) -> list[list[float]]:
    return [[round(float(v), 2) for v in box] for box in boxes]


class TextSegmenter:
    """Segment images by describing what to segment.

    Args:
        network: the zero-shot network.
        preset: what it was made from, for the records.
        weights: hashes of its weights by role, for the records.

    Example:
        >>> segmenter = TextSegmenter.from_preset("demo")
        >>> segmentation = segmenter("chest.png", "lungs")
        >>> [path.name for path in segmentation.save("out")]
        ['chest_mask.png', 'chest_overlay.png', 'chest.json']
    """

    def __init__(self, network: ZeroShotSegmenter, preset: Preset, weights: Mapping[str, str]) -> None:
        self.network, self.preset, self.weights = network, preset, dict(weights)

    @classmethod
    def from_preset(
        cls,
        preset: str | Path | Preset = "demo",
        device: str | torch.device = "auto",
        clip: str | Path | None = None,
        sam: str | Path | None = None,
        settings: Mapping[str, Any] | None = None,
        amp: bool | None = None,
        task: str | None = None,
    ) -> TextSegmenter:
        """Load a preset's networks; the arguments of `build_network`.

        Raises:
            InputError: if weights are missing or broken, a parameter is not one, or the preset has no such task.
        """
        chosen = load_preset(preset).for_task(task).with_settings(settings or {})
        network = build_network(chosen, device, clip, sam, amp=amp)
        weights = {"clip": weight_hash(resolve(clip or chosen.clip)), "sam": weight_hash(resolve(sam or chosen.sam))}
        return cls(network, chosen, weights)

    def request(
        self, text: Any, opposites: Any = None, window: Any = None, slice_axis: str = "axial", **outputs: bool
    ) -> Request:
        """What a call with these arguments asks; used to tell whether it was answered before.

        Raises:
            InputError: for a text that is none, or that the tokenizer cannot take.
        """
        targets = parse_targets(text, opposites)
        self.network.encode_targets(targets)
        parameters = {
            **self.preset.parameters,
            "window": window,
            "slice_axis": slice_axis,
            "amp": self.network.amp,
            "opposites": {target.name: list(target.opposites) for target in targets},
            **outputs,
        }
        return Request(targets, self.preset.name, self.weights, parameters)

    def __call__(
        self,
        image: str | Path | ImageSource | np.ndarray | Tensor,
        text: Any,
        opposites: Any = None,
        window: Any = None,
        slice_axis: str = "axial",
        progress: bool = False,
    ) -> Segmentation:
        """Segment one image.

        Args:
            image: a file, a DICOM series' folder, a picture as an array (H, W), (H, W, 3), or a tensor (C, H, W).
            text: what to segment, see `parse_targets`.
            opposites: what the picture shows where a class is absent, see `parse_targets`.
            window: how intensities become grey levels, see `DisplayRange`; None for automatic.
            slice_axis: how volumes are cut: "axial", "coronal" or "sagittal".
            progress: show a bar over the slices of a volume.

        Raises:
            InputError: for an image or a text that cannot be used.
        """
        return self.answer(image, self.request(text, opposites, window, slice_axis), progress)

    def answer(
        self, image: str | Path | ImageSource | np.ndarray | Tensor, request: Request, progress: bool = False
    ) -> Segmentation:
        """Segment one image as a request says, see `request`."""
        if isinstance(image, np.ndarray | Tensor):
            loaded, sha256, stem = _from_array(image), "", "image"
        else:
            loaded = read_image(image, request.parameters["slice_axis"])
            source = loaded.meta["source"]
            sha256, stem = hash_files(source.paths), source.stem
        display = convert_to_tensor(DisplayRange(request.parameters["window"])(loaded), track_meta=False)
        start = time.perf_counter()
        found = self._segment(display, request.targets, progress)
        return Segmentation(
            found=found,
            display=display,
            geometry=loaded.meta["geometry"],
            spacing=loaded.meta["spacing"],
            name=loaded.meta["filename"],
            stem=stem,
            input_sha256=sha256,
            request=request,
            seconds=time.perf_counter() - start,
        )

    def _segment(self, display: Tensor, targets: tuple[TextTarget, ...], progress: bool) -> ZeroShotResult:
        encoded = self.network.encode_targets(targets)
        if display.ndim == 4:
            return segment_volume(self.network, display, encoded, progress=progress)
        batch = display.unsqueeze(0)
        return self.network.segment_encoded(batch, self.network.encode_image(batch), encoded)[0]


def _from_array(image: np.ndarray | Tensor) -> MetaTensor:
    """A picture from memory, in the form that `read_image` gives."""
    if isinstance(image, MetaTensor) and "geometry" in image.meta:
        return image
    array = image.detach().cpu().numpy().transpose(1, 2, 0) if isinstance(image, Tensor) else np.asarray(image)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[-1] not in (1, 3, 4):
        raise InputError(f"a picture must be an array (H, W), (H, W, 3) or a tensor (C, H, W), got {image.shape}")
    geometry = make_geometry(StoredImage(array, "picture"), "axial", "the array")
    meta = {"geometry": geometry, "spacing": None, "filename": "array", "uint8": array.dtype == np.uint8}
    return MetaTensor(torch.from_numpy(np.moveaxis(array, -1, 0).astype(np.float32)), meta=meta)
