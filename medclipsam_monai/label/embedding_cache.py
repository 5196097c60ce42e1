"""SAM's embeddings of the last pictures, so that a second text or a click does not encode a picture again."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import replace

import torch
from torch import Tensor

from medclipsam_monai.networks.segmenter import ImageEmbedding, PromptableSegmenter


class EmbeddingCache:
    """The most recently used embeddings within a bound of memory.

    Args:
        max_bytes: all embeddings together; one of SAM's takes 4 MiB.

    Raises:
        ValueError: a bound below 0.
    """

    def __init__(self, max_bytes: int = 512 * 1024**2) -> None:
        if max_bytes < 0:
            raise ValueError(f"max_bytes must not be negative, got {max_bytes}")
        self.max_bytes = max_bytes
        self.hits = self.misses = self.bytes = 0
        self._kept: OrderedDict[str, ImageEmbedding] = OrderedDict()

    def get(self, key: str) -> ImageEmbedding | None:
        """The embedding of a key, or None if it is not there (any more)."""
        found = self._kept.get(key)
        if found is None:
            self.misses += 1
            return None
        self.hits += 1
        self._kept.move_to_end(key)
        return found

    def put(self, key: str, embedding: ImageEmbedding) -> None:
        """Keep an embedding and drop the longest unused ones that have no room beside it."""
        size = embedding.features.nbytes
        if key in self._kept or size > self.max_bytes:
            return
        while self.bytes + size > self.max_bytes:
            _, oldest = self._kept.popitem(last=False)
            self.bytes -= oldest.features.nbytes
        # One picture of a batch is a view: alone, it would hold the memory of the whole batch.
        self._kept[key] = replace(embedding, features=embedding.features.clone())
        self.bytes += size


class CachedSegmenter(PromptableSegmenter):
    """A SAM that encodes a picture it knows from the cache.

    Args:
        segmenter: the network; shared, not copied.
        cache: for the embeddings; may be shared by several networks.
        name: of the weights, to tell their embeddings apart.
    """

    def __init__(self, segmenter: PromptableSegmenter, cache: EmbeddingCache, name: str) -> None:
        super().__init__(segmenter.sam, segmenter.decode_chunk)
        self.cache, self.name = cache, name

    @torch.no_grad()
    def encode(self, image: Tensor) -> list[ImageEmbedding]:
        """See `PromptableSegmenter.encode`; only pictures that are not in the cache go through the network."""
        keys = [self._key(picture) for picture in image]
        found = {key: self.cache.get(key) for key in dict.fromkeys(keys)}
        missing = [key for key in found if found[key] is None]
        if missing:
            pictures = torch.stack([image[keys.index(key)] for key in missing])
            for key, embedding in zip(missing, super().encode(pictures), strict=True):
                found[key] = embedding
                self.cache.put(key, embedding)
        return [embedding for key in keys if (embedding := found[key]) is not None]

    def _key(self, picture: Tensor) -> str:
        """Of a picture's 8-bit content, which is all that SAM sees of it."""
        pixels = picture.mul(255).round().to("cpu", torch.uint8).contiguous().numpy()
        return f"{self.name} {pixels.shape} {hashlib.sha256(pixels).hexdigest()}"
