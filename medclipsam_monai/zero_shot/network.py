"""MedCLIP-SAMv2's zero-shot chain as one network, whose stages can be called one by one.

    texts --> vectors;  image --> saliency --> coarse mask --> visual prompts --> masks --> merged

`ZeroShotSegmenter.segment_encoded` reads as the chain does. Each image is encoded once by each network, whatever the
number of texts, and what was made of an image is not made again (`EncodedImages`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from monai.data import MetaTensor
from monai.utils import convert_to_dst_type
from torch import Tensor, nn

from medclipsam_monai.base.checked_fields import check_value
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.memory_cache import MemoryCache
from medclipsam_monai.networks.known_pictures import KnownPictures
from medclipsam_monai.networks.prompted import PromptedMasks, prompted_masks
from medclipsam_monai.networks.protocols import PromptableSegmenter, TextImageEncoder
from medclipsam_monai.presets.settings import Settings
from medclipsam_monai.prompts import TextLike, TextTarget, parse_targets
from medclipsam_monai.saliency.maps import consensus, unit_range
from medclipsam_monai.saliency.method import SaliencyMethod, make_saliency
from medclipsam_monai.transforms import PromptsFromMask, VisualPrompts, as_many_components
from medclipsam_monai.transforms.coarse import make_coarse
from medclipsam_monai.zero_shot.encoded import EncodedImages, EncodedTexts, encode_texts
from medclipsam_monai.zero_shot.presence import CalibratedPresence, Figures, presence_of
from medclipsam_monai.zero_shot.result import ZeroShotResult
from medclipsam_monai.zero_shot.volumes.segment import segment_volume, slice_distance


class ZeroShotSegmenter(nn.Module):
    """Text-prompted segmentation without training: a bundle's ``network_def``.

    Args:
        encoder: the text-image encoder, a CLIP.
        segmenter: the promptable segmenter, a SAM.
        settings: every parameter; None for the defaults.
        saliency: a method in place of the one that the settings name.
        coarse: saliency (K, H, W) and image (3, H, W) to mask (K, H, W), in place of the settings'.
        visual_prompt: mask (K, H, W) to K sets of boxes and points, in place of the settings'.
        amp: run the segmenter's image encoder in half precision where the device has it: faster, masks nearly the same.
        text: classes to look for where a call names none, see `parse_targets`.
        known_pictures: the kinds of pictures that the encoder knows; None where nobody has measured that.
        calibrated_presence: decides whether a picture shows a class without opposites; None takes it to be there.

    Raises:
        InputError: a layer that the encoder does not have.
    """

    def __init__(
        self,
        encoder: TextImageEncoder,
        segmenter: PromptableSegmenter,
        settings: Settings | None = None,
        saliency: SaliencyMethod | None = None,
        coarse: Callable[[Any, Any], Any] | None = None,
        visual_prompt: Callable[[Any], list[VisualPrompts]] | None = None,
        amp: bool = False,
        text: TextLike | None = None,
        known_pictures: KnownPictures | None = None,
        calibrated_presence: CalibratedPresence | None = None,
    ) -> None:
        super().__init__()
        check_value("amp", amp, bool)
        self.encoder, self.segmenter = encoder, segmenter
        self.amp, self.text = amp, text
        self.known_pictures, self.calibrated_presence = known_pictures, calibrated_presence
        self._given = (saliency, coarse, visual_prompt)
        self._fits: dict[str, TextImageEncoder] = {}  # shared with all networks that `using` makes of this one
        self._use(settings or Settings())

    def _use(self, settings: Settings) -> None:
        self.settings = settings
        saliency, coarse, visual_prompt = self._given
        self.saliency: SaliencyMethod = saliency or make_saliency(settings.saliency)
        self.coarse: Callable[[Any, Any], Any] = coarse or make_coarse(settings.coarse)
        self.visual_prompt: Callable[[Any], list[VisualPrompts]] = visual_prompt or PromptsFromMask(**settings.prompts)
        self._encoded: dict[tuple[TextTarget, ...], EncodedTexts] = {}
        layer, blocks = getattr(self.saliency, "layer", 0), self.encoder.num_blocks
        if layer >= blocks:
            raise InputError(f"saliency.layer must be under {blocks}, this CLIP's number of blocks, got {layer}")

    def with_settings(self, changes: Mapping[str, Any]) -> ZeroShotSegmenter:
        """The same networks with settings changed, see `Settings.replace`; weights are shared, not copied.

        Raises:
            InputError: there is no such setting, it cannot have such a value, or does not fit the networks.
        """
        return self.using(self.settings.replace(changes))

    def using(self, settings: Settings) -> ZeroShotSegmenter:
        """The same networks with other settings; weights are shared, not copied.

        Raises:
            InputError: a layer that the encoder does not have.
        """
        changed = copy.copy(self)
        changed.__dict__["_modules"] = dict(self._modules)
        changed.encoder = self._fitted(settings.fit)
        changed._use(settings)
        return changed

    def _fitted(self, fit: str) -> TextImageEncoder:
        """The encoder for a fit, always the same one: what is remembered of pictures is known by their encoder."""
        if self.encoder not in self._fits.values():
            self._fits = {self.settings.fit: self.encoder}
        if fit not in self._fits:
            self._fits.setdefault(fit, self.encoder.with_fit(fit))
        return self._fits[fit]

    def forward(
        self, image: Tensor, text: TextLike | None = None, slice_batch: int = 4, progress: bool = False
    ) -> Tensor:
        """Pictures (B, 3, H, W) or volumes (B, 3, H, W, D) in [0, 1] to probabilities (B, K, H, W[, D]).

        The probability is 0 outside of the final mask: components that the coarse mask does not have are cut. Given a
        ``MetaTensor``, it is one with its meta data and applied operations, so ``Invertd`` and ``SaveImaged`` can
        follow; given a tensor, a tensor.

        Args:
            image: display pictures, or volumes as stacks of them along the last axis.
            text: anything `parse_targets` takes; by default what the network was made with.
            slice_batch: slices of a volume that go through the networks together.
            progress: show a bar over the slices of a volume.

        Raises:
            ValueError: for an input of another shape.
            InputError: if there is no text or one the tokenizer cannot take.
        """
        if image.ndim not in (4, 5) or image.shape[1] != 3:
            raise ValueError(f"inputs must be (B, 3, H, W) or (B, 3, H, W, D), got {tuple(image.shape)}")
        texts = self.encode_texts(parse_targets(self.text if text is None else text))
        plain = image.as_tensor() if isinstance(image, MetaTensor) else image
        if image.ndim == 4:
            results = self.segment_encoded(self.encode_images(plain), texts)
            probability = torch.stack([result.masked_probability for result in results])
        else:
            step = slice_distance(image.meta.get("spacing")) if isinstance(image, MetaTensor) else None
            found = (segment_volume(self, one, texts, step, slice_batch, progress, ("probability",)) for one in plain)
            probability = torch.stack([one.probability * one.mask for one in found])
        return convert_to_dst_type(probability, dst=image, dtype=probability.dtype)[0]

    def segment(self, image: Tensor, text: TextLike | None = None) -> list[ZeroShotResult]:
        """One result a picture; the arguments of `forward`.

        Raises:
            InputError: if there is no text or one the tokenizer cannot take.
        """
        texts = self.encode_texts(parse_targets(self.text if text is None else text))
        return self.segment_encoded(self.encode_images(image), texts)

    @torch.no_grad()
    def segment_encoded(self, images: EncodedImages, texts: EncodedTexts) -> list[ZeroShotResult]:
        """All stages: one result a picture."""
        saliency = self.saliency_maps(images, texts)
        presence = self.presence(images, texts)
        known = self.known_pictures
        pictures = (None,) * len(images) if known is None else known.nearest(images.summaries())
        maps = zip(saliency, images.pictures, presence, strict=True)
        coarse_masks = [self.coarse_masks(one, picture, found) for one, picture, found in maps]
        results = self.segment_coarse(images, texts.names, saliency, coarse_masks, presence)
        return [replace(result, picture=picture) for result, picture in zip(results, pictures, strict=True)]

    @torch.no_grad()
    def segment_coarse(
        self,
        images: EncodedImages,
        names: tuple[str, ...],
        saliency: Sequence[Tensor] | Tensor,
        coarse_masks: Sequence[Tensor],
        presence: Sequence[Figures],
    ) -> list[ZeroShotResult]:
        """The stages from the coarse masks on: a result a picture; the segmenter sees those alone that have a mask."""
        prompted = [self.visual_prompts(coarse) for coarse in coarse_masks]
        asked = [k for k, prompts in enumerate(prompted) if any(map(len, prompts))]
        embeddings = dict(zip(asked, images.embeddings(asked), strict=True))
        results = []
        for k, (coarse, prompts) in enumerate(zip(coarse_masks, prompted, strict=True)):
            found = self.masks(embeddings.get(k), prompts, (coarse.shape[-2], coarse.shape[-1]))
            results.append(
                ZeroShotResult(
                    names=names,
                    probability=found.probability,
                    mask=self.merge(found.probability, coarse),
                    coarse=coarse,
                    saliency=saliency[k].cpu(),
                    boxes=tuple(torch.zeros(0, 4) if prompt.boxes is None else prompt.boxes for prompt in prompts),
                    presence=presence[k],
                    quality=found.quality,
                    object_score=found.object_score,
                )
            )
        return results

    def encode_texts(self, targets: tuple[TextTarget, ...]) -> EncodedTexts:
        """Text to vectors; the last classes asked for are remembered, as a folder of images shares its texts.

        Raises:
            InputError: a sentence that the encoder cannot take.
        """
        encoded = self._encoded.get(targets)
        if encoded is None:
            encoded = encode_texts(self.encoder, targets, denied=self.calibrated_presence is not None)
            self._encoded = {targets: encoded}  # another thread may set its own in between
        return encoded

    def encode_images(
        self, pictures: Tensor, memory: MemoryCache[Any] | None = None, names: Sequence[Hashable] = ()
    ) -> EncodedImages:
        """Pictures (B, 3, H, W) in [0, 1], to be kept while more is asked about them; see `EncodedImages`."""
        return EncodedImages(self.encoder, self.segmenter, pictures, self.amp, memory, names)

    @torch.no_grad()
    def saliency_maps(self, images: EncodedImages, texts: EncodedTexts) -> Tensor:
        """Image to saliency: one map a class (B, K, H, W) in [0, 1]; a constant one gives zeros and a warning."""
        shape = (images.pictures.shape[-2], images.pictures.shape[-1])
        maps = self.encoder.restore(self.saliency_grids(images, texts), shape)
        return self.class_maps(maps if self.saliency.calibrated else unit_range(maps), texts)

    @torch.no_grad()
    def saliency_grids(self, images: EncodedImages, texts: EncodedTexts) -> Tensor:
        """Saliency on the grid of the encoder's tokens, not stretched: (B, N, rows, columns).

        N is the number of classes K, or with ``prompt_ensemble`` "maps" of all their sentences, see `class_maps`.
        """
        if self.settings.prompt_ensemble == "embeddings":
            return images.grids(self.saliency, texts.sentences, texts.text)
        single = [(sentence,) for sentences in texts.sentences for sentence in sentences]
        return images.grids(self.saliency, single, torch.cat(texts.vectors))

    def class_maps(self, maps: Tensor, texts: EncodedTexts) -> Tensor:
        """Maps (B, N, H, W) in [0, 1] of what `saliency_grids` explains to those of the classes (B, K, H, W)."""
        if self.settings.prompt_ensemble == "embeddings":
            return maps
        parts = maps.split([len(one) for one in texts.vectors], dim=1)
        return torch.stack([consensus(part.transpose(0, 1)) for part in parts], dim=1)

    @torch.no_grad()
    def presence(self, images: EncodedImages, texts: EncodedTexts, slices: bool = False) -> list[Figures]:
        """For each picture and class the probability that it is there, None where there is nothing to tell it by.

        Of a class with opposites sigmoid(scale (cos(image, text) - cos(image, opposites))), of another what
        `CalibratedPresence` says, of pictures or of the slices of a volume.
        """
        chosen, calibrated = self.settings.presence_scale, self.calibrated_presence
        scale = float(self.encoder.logit_scale) if chosen is None else chosen
        return presence_of(images, texts, scale, calibrated.of_slices if slices and calibrated else calibrated)

    def coarse_masks(self, saliency: Tensor, picture: Tensor, presence: Figures = ()) -> Tensor:
        """Saliency (K, H, W) of a picture (3, H, W) to coarse masks (K, H, W) bool, empty those of absent classes."""
        coarse = torch.as_tensor(self.coarse(saliency.cpu(), picture.cpu()))
        for k, found in enumerate(presence):
            if self.is_absent(found):
                coarse[k] = False
        return coarse

    def is_absent(self, presence: float | None) -> bool:
        """Whether a class of a presence is left empty."""
        return presence is not None and presence < self.settings.presence_threshold

    def visual_prompts(self, coarse: Tensor) -> list[VisualPrompts]:
        """Coarse masks (K, H, W) to the boxes and points of each class."""
        return self.visual_prompt(coarse)

    @torch.no_grad()
    def masks(self, embedding: Any, prompts: Sequence[VisualPrompts], shape: tuple[int, int]) -> PromptedMasks:
        """Visual prompts of the K classes to masks in a picture of a shape, see `prompted_masks`."""
        return prompted_masks(self.segmenter, embedding, prompts, shape, self.settings.fusion)

    def merge(self, probability: Tensor, coarse: Tensor) -> Tensor:
        """Probability (K, H, W) to the final masks (K, H, W) bool, see `as_many_components`."""
        return as_many_components(probability > self.settings.threshold, coarse, self.settings.keep_covered)
