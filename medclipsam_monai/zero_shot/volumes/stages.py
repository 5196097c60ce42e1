"""The stages of the zero-shot chain, as a volume asks them: whatever answers so can be asked."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Protocol

from torch import Tensor

from medclipsam_monai.base.memory_cache import MemoryCache
from medclipsam_monai.networks.known_pictures import KnownPictures
from medclipsam_monai.networks.prompted import PromptedMasks
from medclipsam_monai.networks.protocols import PromptableSegmenter, TextImageEncoder
from medclipsam_monai.presets.settings import Settings
from medclipsam_monai.saliency.method import SaliencyMethod
from medclipsam_monai.transforms import VisualPrompts
from medclipsam_monai.zero_shot.encoded import EncodedImages, EncodedTexts
from medclipsam_monai.zero_shot.presence import Figures
from medclipsam_monai.zero_shot.result import ZeroShotResult


class Stages(Protocol):
    """A `ZeroShotSegmenter`, see there."""

    encoder: TextImageEncoder
    segmenter: PromptableSegmenter
    settings: Settings
    known_pictures: KnownPictures | None
    coarse: Any
    saliency: SaliencyMethod

    def encode_images(
        self, pictures: Tensor, memory: MemoryCache[Any] | None = None, names: Sequence[Hashable] = ()
    ) -> EncodedImages: ...

    def segment_encoded(self, images: EncodedImages, texts: EncodedTexts) -> list[ZeroShotResult]: ...

    def segment_coarse(
        self,
        images: EncodedImages,
        names: tuple[str, ...],
        saliency: Sequence[Tensor],
        coarse_masks: Sequence[Tensor],
        presence: Sequence[Figures],
    ) -> list[ZeroShotResult]: ...

    def saliency_grids(self, images: EncodedImages, texts: EncodedTexts) -> Tensor: ...

    def class_maps(self, maps: Tensor, texts: EncodedTexts) -> Tensor: ...

    def presence(self, images: EncodedImages, texts: EncodedTexts, slices: bool) -> list[Figures]: ...

    def visual_prompts(self, coarse: Tensor) -> list[VisualPrompts]: ...

    def masks(self, embedding: Any, prompts: Sequence[VisualPrompts], shape: tuple[int, int]) -> PromptedMasks: ...

    def merge(self, probability: Tensor, coarse: Tensor) -> Tensor: ...
