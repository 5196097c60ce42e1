"""The public facade: ``TextSegmenter.from_preset()("chest.png", "lungs").save("out")``."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.memory_cache import MemoryCache
from medclipsam_monai.base.windows import WindowLike
from medclipsam_monai.io import ImageSource
from medclipsam_monai.io.examples import Examples, read_examples
from medclipsam_monai.networks.dino import load_dino
from medclipsam_monai.networks.known_texts import KnownTexts
from medclipsam_monai.presets import DEFAULT_PRESET, Preset, load_preset
from medclipsam_monai.prompts import OppositesLike, TextLike, TextTarget, WordlessTarget, parse_targets
from medclipsam_monai.weights.registry import resolve, weight_hash
from medclipsam_monai.zero_shot.build import build_network
from medclipsam_monai.zero_shot.examples.network import ExampleSegmenter
from medclipsam_monai.zero_shot.network import ZeroShotSegmenter
from medclipsam_monai.zero_shot.one_image.reading import ShownImage, show_image
from medclipsam_monai.zero_shot.opened import CACHE_BYTES, OpenedImage
from medclipsam_monai.zero_shot.segmentation import Request, Segmentation


class TextSegmenter:
    """Segment images by describing what to segment.

    Args:
        network: the zero-shot network.
        preset: what it was made from, for the records.
        weights: hashes of its weights by role, for the records.

    Examples:
        >>> segmenter = TextSegmenter.from_preset()
        >>> segmentation = segmenter("chest.png", "lungs")
        >>> [path.name for path in segmentation.save("out")]
        ['chest_mask.png', 'chest_overlay.png', 'chest.json']
        >>> opened = segmenter.open("chest.png")  # read and encoded once
        >>> both = opened(["heart", "lungs"])
        >>> strict = opened("lungs", settings={"threshold": 0.8})
    """

    def __init__(self, network: ZeroShotSegmenter, preset: Preset, weights: Mapping[str, str]) -> None:
        self.network, self.preset, self.weights = network, preset, dict(weights)

    @classmethod
    def from_preset(
        cls,
        preset: str | Path | Preset = DEFAULT_PRESET,
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
        if clip is not None:
            chosen = chosen.with_settings({"clip": str(clip)})
        network = build_network(chosen, device, clip, sam, amp=amp)
        weights = {
            "clip": weight_hash(resolve(chosen.clip if clip is None else clip)),
            "sam": weight_hash(resolve(chosen.sam if sam is None else sam)),
        }
        return cls(network, chosen, weights)

    @cached_property
    def known(self) -> KnownTexts | None:
        """What the preset's weights know; None where nobody has listed it."""
        preset = self.preset
        return KnownTexts(self.network.encoder, preset.knows, preset.stranger_below) if preset.knows else None

    def with_settings(self, changes: Mapping[str, Any]) -> TextSegmenter:
        """The same networks with settings changed, see `Settings.replace`; weights are shared, not copied.

        Raises:
            InputError: there is no such setting, it cannot have such a value, or does not fit the networks.
        """
        preset = replace(self.preset, settings=self.network.settings.replace(changes))
        return TextSegmenter(self.network.with_settings(changes), preset, self.weights)

    def with_examples(
        self, examples: str | Path | Examples, encoder: str | Path | None = None, window: WindowLike | None = None
    ) -> TextSegmenter:
        """The same networks with labelled examples of one class: "segment what looks like this".

        Called with a text, the examples say where and the text what it is called and whether it is there; called
        without, the examples alone say where.

        Args:
            examples: a folder of 1 to 16 images with their masks, see `read_examples`, or what is in memory.
            encoder: a local folder of a DINOv2 whose patch tokens are compared in place of the CLIP's.
            window: of the examples of a folder, see `DisplayRange`.

        Raises:
            InputError: for examples or an encoder that cannot be used.
        """
        read = examples if isinstance(examples, Examples) else read_examples(examples, window)
        patches = None if encoder is None else load_dino(encoder, device=self.network.encoder.device)
        network = ExampleSegmenter(self.network, read, patches)
        weights = {**self.weights, **({} if encoder is None else {"examples": weight_hash(encoder)})}
        return TextSegmenter(network, replace(self.preset, settings=network.settings), weights)

    def request(
        self,
        text: TextLike | None,
        opposites: OppositesLike | None = None,
        window: WindowLike | None = None,
        slice_axis: str = "acquired",
        **outputs: Any,
    ) -> Request:
        """What a call with these arguments asks; used to tell whether it was answered before.

        Raises:
            InputError: for a text that is none, or that the tokenizer cannot take.
        """
        targets = self._targets(text, opposites)
        texts = self.network.encode_texts(targets)
        known = self.known if any(texts.sentences) else None
        nearest = known.nearest(texts.vectors) if known else (None,) * len(targets)
        shown = {"examples": self.network.told} if isinstance(self.network, ExampleSegmenter) else {}
        parameters = {
            **{name: value for name, value in self.preset.parameters.items() if name != "examples"},
            **shown,
            "window": window,
            "slice_axis": slice_axis,
            "amp": self.network.amp,
            "opposites": {target.name: list(target.opposites) for target in targets},
            **outputs,
        }
        return Request(targets, self.preset.name, self.weights, parameters, nearest)

    def _targets(self, text: TextLike | None, opposites: OppositesLike | None) -> tuple[TextTarget, ...]:
        if not isinstance(self.network, ExampleSegmenter):
            return parse_targets(text, opposites)
        targets = parse_targets(text, opposites) if text else (WordlessTarget(),)
        if len(targets) > 1:
            raise InputError(f"examples show one class, got {len(targets)} in words")
        if not text and opposites:
            raise InputError("an opposite is that of a text; give the text, too, or leave it out")
        return targets

    def open(
        self,
        image: Any,
        window: WindowLike | None = None,
        slice_axis: str = "acquired",
        spacing: Sequence[float] | None = None,
        affine: Any = None,
        memory: MemoryCache[Any] | None = None,
    ) -> OpenedImage:
        """Read an image once, to ask about it often: ``opened = segmenter.open(image)``, ``opened("lungs")``.

        Args:
            image: a file, a DICOM series' folder, or an image in memory: an array (H, W), (H, W, 3) or, with spacing or
                affine, (H, W, D), a tensor (C, H, W) or (C, H, W, D), or an image of Pillow, nibabel, SimpleITK or ITK;
                see `read_memory`.
            window: how intensities become grey levels, see `DisplayRange`; None for automatic.
            slice_axis: how volumes are cut: "acquired", "axial", "coronal", "sagittal", or "all": along all three axes,
                and what two of them agree on is kept, see `segment_planes`.
            spacing: of an array or tensor, millimetres along H, W and, of a volume, D.
            affine: of an array or tensor, 4 x 4, from its indices to RAS millimetres; in place of the spacing.
            memory: for what the networks make of it, which several images may share; None for 512 MiB of its own.

        Raises:
            InputError: for an image that cannot be used.
        """
        shown = show_image(image, window, slice_axis, spacing, affine)
        return self.opened(shown, memory)

    def opened(self, shown: ShownImage, memory: MemoryCache[Any] | None = None) -> OpenedImage:
        """An image that was read already, see `open`."""
        values = {field.name: getattr(shown, field.name) for field in fields(shown)}
        return OpenedImage(segmenter=self, memory=MemoryCache(CACHE_BYTES) if memory is None else memory, **values)

    def __call__(
        self,
        image: Any,
        text: TextLike | None = None,
        opposites: OppositesLike | None = None,
        window: WindowLike | None = None,
        slice_axis: str = "acquired",
        progress: bool = False,
        spacing: Sequence[float] | None = None,
        affine: Any = None,
        keep: Collection[str] = (),
    ) -> Segmentation:
        """Segment one image once; nothing of it is kept.

        Args:
            image: see `open`.
            text: what to segment, see `parse_targets`; needed unless there are examples, see `with_examples`.
            opposites: what the picture shows where a class is absent, see `parse_targets`.
            window: see `open`.
            slice_axis: see `open`.
            progress: show a bar over the slices of a volume.
            spacing: see `open`.
            affine: see `open`.
            keep: maps of a volume to keep, of "saliency" and "probability": 4 bytes a voxel and class each. A
                picture's are always there.

        Raises:
            InputError: for an image or a text that cannot be used.
        """
        request = self.request(text, opposites, window, slice_axis)
        opened = self.open(image, window, slice_axis, spacing, affine, MemoryCache(0))
        return opened.answer(request, progress=progress, keep=keep)

    def answer(self, image: str | Path | ImageSource, request: Request, progress: bool = False) -> Segmentation:
        """Segment a file as a request says, see `request`; nothing of it is kept.

        Raises:
            InputError: for an image that cannot be used.
        """
        window, slice_axis = request.parameters["window"], request.parameters["slice_axis"]
        return self.open(image, window, slice_axis, memory=MemoryCache(0)).answer(request, progress=progress)

    def answer_together(self, images: Sequence[ShownImage], request: Request) -> list[Segmentation]:
        """Segment pictures of one size, which go through the networks together; see `answer`.

        Args:
            images: pictures, not volumes, whose displays have one shape.
            request: what is asked of each.
        """
        start = time.perf_counter()
        pictures = torch.stack([image.display for image in images])
        texts = self.network.encode_texts(request.targets)
        results = self.network.segment_encoded(self.network.encode_images(pictures), texts)
        each = (time.perf_counter() - start) / len(images)
        return [image.answered(found, request, each) for image, found in zip(images, results, strict=True)]
