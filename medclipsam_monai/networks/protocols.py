"""What the chain asks of its two networks; whatever answers so can take their place.

A new one is a module that answers to a protocol, a function that loads it, and an entry in the table of
`medclipsam_monai.presets.networks`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn


class PatchEncoder(Protocol):
    """A frozen encoder of pictures whose tokens can be had after any of its blocks.

    Attributes:
        grid: rows and columns of patch tokens.
        image_size: side of its input in pixels.
        num_blocks: how many blocks it has.
        last_block: 0-based number of the last block that changes its tokens.
        prefix_tokens: tokens before the patches': 1 where there is a class token, else 0.
        device: where the weights are.
    """

    @property
    def grid(self) -> tuple[int, int]: ...
    @property
    def image_size(self) -> int: ...
    @property
    def num_blocks(self) -> int: ...
    @property
    def last_block(self) -> int: ...
    @property
    def prefix_tokens(self) -> int: ...
    @property
    def device(self) -> torch.device: ...

    def with_fit(self, fit: Any) -> PatchEncoder:
        """The same network for pictures that go in another way: "squash" or "letterbox"; weights are shared."""
        ...

    def prepare(self, image: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [0, 1] to normalised input (B, 3, image_size, image_size)."""
        ...

    def tokens_of_input(self, x: Tensor, block: int) -> Tensor:
        """What `prepare` gives, or what was made of it, to tokens (B, prefix + N, C) after ``block``."""
        ...

    def restore(self, grid: Tensor, shape: tuple[int, int]) -> Tensor:
        """Maps (B, K, rows, columns) on the patches' grid to the pixels (B, K, H, W) of pictures of a shape."""
        ...


class TextImageEncoder(PatchEncoder, Protocol):
    """A frozen CLIP, its image half cut in two after any of its blocks, or before the first, which is "after -1".

    Attributes:
        logit_scale: the trained factor of the cosine similarity, a scalar.
    """

    @property
    def logit_scale(self) -> Tensor: ...

    def with_fit(self, fit: Any) -> TextImageEncoder:
        """The same network for pictures that go in another way: "squash" or "letterbox"; weights are shared."""
        ...

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """N sentences to unit vectors (N, E); an `InputError` for one that it cannot take."""
        ...

    def encode_image(self, image: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [0, 1] to unit vectors (B, E)."""
        ...

    def embed(self, tokens: Tensor, block: int) -> Tensor:
        """Tokens after ``block`` to the joint space (B, E), not normalised: the rest of the way."""
        ...

    def first_norm(self, block: int) -> nn.Module:
        """The norm with which ``block`` begins."""
        ...


class Embedding(Protocol):
    """What a promptable segmenter keeps of a picture.

    Attributes:
        nbytes: the memory it takes.
    """

    @property
    def nbytes(self) -> int: ...


class PromptableSegmenter(Protocol):
    """A frozen SAM: a picture is encoded once, and decoded at each prompt."""

    def encode(self, image: Tensor) -> Sequence[Any]:
        """Pictures (B, 3, H, W) in [0, 1] to an `Embedding` each, which holds no memory of the others."""
        ...

    def decode(
        self,
        embedding: Any,
        boxes: Tensor | None = None,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        multimask: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """N prompts in one picture to probability (N, M, H, W) in [0, 1] and predicted IoU (N, M), M = 3 or 1.

        Boxes are (N, 4) x0, y0, x1, y1, points (N, P, 2) x, y in the picture's pixels, labels (N, P): 1 foreground, 0
        background, -1 padding.
        """
        ...


class Answer(Protocol):
    """What a segmenter says of N prompts.

    Attributes:
        logits: (N, M, H, W), above 0 is the object.
        quality: predicted IoU (N, M).
        object_scores: logits (N,) that the object is in the picture, negative where it is likely not; None where the
            segmenter does not say.
    """

    @property
    def logits(self) -> Tensor: ...
    @property
    def quality(self) -> Tensor: ...
    @property
    def object_scores(self) -> Tensor | None: ...


@runtime_checkable
class ScoringSegmenter(PromptableSegmenter, Protocol):
    """One that also says whether what is prompted is in the picture at all."""

    def predict(
        self,
        embedding: Any,
        boxes: Tensor | None = None,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        multimask: bool = False,
    ) -> Answer:
        """The arguments of `decode`, whose probability is the sigmoid of the logits."""
        ...


@runtime_checkable
class MaskPromptedSegmenter(PromptableSegmenter, Protocol):
    """One that also takes a mask for each prompt, as a first guess.

    Attributes:
        takes_masks: whether its weights have learnt to; others are asked without.
    """

    @property
    def takes_masks(self) -> bool: ...

    def mask_logits(self, masks: Tensor) -> Tensor:
        """Masks (N, H, W) in a picture's pixels, in [0, 1], to what `decode` takes, (N, h, w)."""
        ...

    def decode(
        self,
        embedding: Any,
        boxes: Tensor | None = None,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        multimask: bool = False,
        masks: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """As `PromptableSegmenter.decode`; masks are low-resolution logits (N, h, w) over the network's square.

        Where it is a `ScoringSegmenter` too, its `predict` takes the same.
        """
        ...


@dataclass(frozen=True)
class Tracked:
    """What was found of N objects in one of the pictures that they are followed through.

    Attributes:
        probability: (N, H, W) in [0, 1].
        object_scores: logits (N,) that the object is in the picture, negative where it is likely not.
    """

    probability: Tensor
    object_scores: Tensor


class Track(Protocol):
    """N objects on their way through pictures that come one after the other, in one direction."""

    def begin(
        self, embedding: Any, boxes: Tensor | None = None, points: Tensor | None = None, labels: Tensor | None = None
    ) -> Tracked:
        """The first picture, and a prompt for each object; the arguments of `decode`."""
        ...

    def follow(self, embedding: Any) -> Tracked:
        """The next picture."""
        ...


@runtime_checkable
class PropagatingSegmenter(PromptableSegmenter, Protocol):
    """One with a memory, which finds again in a picture what it found in those before; that memory is bounded."""

    def track(self, length: int) -> Track:
        """A new walk through at most so many pictures."""
        ...
