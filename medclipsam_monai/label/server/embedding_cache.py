"""What the networks made of the last pictures, so that a second text or a click does not encode a picture again."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import replace
from typing import Generic, TypeVar

import torch
from torch import Tensor

from medclipsam_monai.networks.clip.encoder import CLIPEncoder
from medclipsam_monai.networks.sam.segmenter import ImageEmbedding, SAMSegmenter

Value = TypeVar("Value")


class MemoryCache(Generic[Value]):
    """The most recently used values within a bound of memory.

    Args:
        max_bytes: all values together.

    Raises:
        ValueError: a bound below 0.
    """

    def __init__(self, max_bytes: int) -> None:
        if max_bytes < 0:
            raise ValueError(f"max_bytes must not be negative, got {max_bytes}")
        self.max_bytes = max_bytes
        self.hits = self.misses = self.bytes = 0
        self._kept: OrderedDict[str, tuple[Value, int]] = OrderedDict()

    def get(self, key: str) -> Value | None:
        """The value of a key, or None if it is not there (any more)."""
        if key not in self._kept:
            self.misses += 1
            return None
        self.hits += 1
        self._kept.move_to_end(key)
        return self._kept[key][0]

    def put(self, key: str, value: Value, size: int) -> None:
        """Keep a value of ``size`` bytes; the longest unused ones that have no room beside it go."""
        if key in self._kept or size > self.max_bytes:
            return
        while self.bytes + size > self.max_bytes:
            _, (_, freed) = self._kept.popitem(last=False)
            self.bytes -= freed
        self._kept[key] = (value, size)
        self.bytes += size


def picture_hash(picture: Tensor) -> str:
    """Hash of a picture (3, H, W) in [0, 1] by its 8-bit content, which is all that SAM sees of it."""
    pixels = picture.mul(255).round().to("cpu", torch.uint8).contiguous().numpy()
    return f"{pixels.shape} {hashlib.sha256(pixels.tobytes()).hexdigest()}"


class CachedSegmenter(SAMSegmenter):
    """A SAM that takes the embedding of a picture it knows from the cache.

    Args:
        segmenter: the network; shared, not copied.
        cache: for the embeddings, 4 MiB each at SAM's own size; may be shared by several networks.
        name: of the weights, to tell their embeddings apart.
    """

    def __init__(self, segmenter: SAMSegmenter, cache: MemoryCache[ImageEmbedding], name: str) -> None:
        super().__init__(segmenter.sam, segmenter.decode_chunk)
        self.cache, self.name = cache, name

    @torch.no_grad()
    def encode(self, image: Tensor) -> list[ImageEmbedding]:
        """See `SAMSegmenter.encode`; only pictures that are not in the cache go through the network."""
        keys = [f"{self.name} {picture_hash(picture)}" for picture in image]
        known = {key: self.cache.get(key) for key in dict.fromkeys(keys)}
        found = {key: embedding for key, embedding in known.items() if embedding is not None}
        missing = [key for key in known if key not in found]
        if missing:
            pictures = torch.stack([image[keys.index(key)] for key in missing])
            for key, embedding in zip(missing, super().encode(pictures), strict=True):
                # One picture of a batch is a view: alone, it would hold the memory of the whole batch.
                own = replace(embedding, features=embedding.features.clone())
                self.cache.put(key, own, own.features.nbytes)
                found[key] = own
        return [found[key] for key in keys]


class CachedEncoder(CLIPEncoder):
    """A CLIP that takes the tokens of a picture it knows from the cache; texts are encoded anew.

    Args:
        encoder: the network; shared, not copied.
        cache: for the tokens, 0.6 MB each at BiomedCLIP's size; may be shared by several networks.
        name: of the weights, to tell their tokens apart.
    """

    def __init__(self, encoder: CLIPEncoder, cache: MemoryCache[Tensor], name: str) -> None:
        super().__init__(encoder.clip, encoder.tokenizer, encoder.preprocess)
        self.cache, self.name = cache, name

    @torch.no_grad()
    def tokens(self, image: Tensor, block: int) -> Tensor:
        """See `CLIPEncoder.tokens`."""
        pixels = image.to("cpu", torch.float32).contiguous().numpy()
        key = f"{self.name} {block} {pixels.shape} {hashlib.sha256(pixels.tobytes()).hexdigest()}"
        tokens = self.cache.get(key)
        if tokens is None:
            tokens = super().tokens(image, block)
            self.cache.put(key, tokens, tokens.nbytes)
        return tokens
