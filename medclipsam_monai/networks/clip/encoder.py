"""A CLIP cut in two at a vision block, with its tokenizer: what every saliency method works on.

`CLIPEncoder` wraps an open_clip model (BiomedCLIP, or any other with a ViT tower). `load_text_image_encoder`
makes one from a folder in open_clip's local-dir form, a hub name, or a bare BiomedCLIP checkpoint of either layout.
Models of transformers are in `transformers_encoder`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medclipsam_monai.networks.clip.preprocess import Fit, Preprocess
from medclipsam_monai.networks.clip.vision_tower import is_idle, skip_idle_blocks, vision_tower

Tokenizer = Callable[[Sequence[str]], Tensor]


class CLIPEncoder(nn.Module):
    """Text and image to one joint space, the image in two steps so that work can be shared and cut short.

    Args:
        clip: an open_clip model with a ViT vision tower.
        tokenizer: sentences to token numbers (N, L).
        preprocess: pictures in [0, 1] to the tower's input, and maps back.

    The weights are frozen: methods that optimise something optimise it against a fixed network.
    """

    def __init__(self, clip: Any, tokenizer: Tokenizer, preprocess: Preprocess) -> None:
        super().__init__()
        self.clip: Any = clip.eval().requires_grad_(False)
        skip_idle_blocks(clip)
        self.tokenizer = tokenizer
        self.preprocess = preprocess
        self._tower = vision_tower(clip)

    def train(self, mode: bool = True) -> CLIPEncoder:
        """Stays in evaluation mode: a saliency map must not depend on dropout."""
        super().train(mode)
        self.clip.eval()
        return self

    def with_fit(self, fit: Fit) -> CLIPEncoder:
        """The same network for pictures that go in another way, see `Preprocess`; weights are shared, not copied."""
        changed = copy.copy(self)
        changed.preprocess = replace(self.preprocess, fit=fit)
        return changed

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patch tokens."""
        return self._tower.grid

    @property
    def image_size(self) -> int:
        """Side of the vision tower's input in pixels."""
        return self._tower.image_size

    @property
    def num_blocks(self) -> int:
        """Number of transformer blocks in the vision tower."""
        return len(self._tower.blocks)

    @property
    def last_block(self) -> int:
        """0-based number of the last block that looks at its tokens.

        Those behind it are idle: no gradient goes through them.
        """
        at_work = [number for number, block in enumerate(self._tower.blocks) if not is_idle(block)]
        return at_work[-1] if at_work else len(self._tower.blocks) - 1

    @property
    def prefix_tokens(self) -> int:
        """1 where a class token stands before the patches', 0 where an attention pool reads the patches (SigLIP)."""
        return self._tower.prefix_tokens

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.clip.parameters()).device

    @property
    def logit_scale(self) -> Tensor:
        """Trained factor of the cosine similarity (the inverse temperature), a scalar."""
        return self.clip.logit_scale.exp().reshape(())

    @property
    def logit_bias(self) -> Tensor:
        """What a sigmoid loss adds to the scaled cosine, a scalar: SigLIP's b, 0 for a CLIP.

        Only the probability of a single pair asks for it, sigmoid(scale cos + bias). It is the same for all pairs, so
        that it cancels in every difference and every softmax, and so in every saliency map and in the presence.
        """
        bias: Tensor | None = getattr(self.clip, "logit_bias", None)
        return torch.zeros_like(self.logit_scale) if bias is None else bias.reshape(())

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """N sentences to unit vectors (N, E).

        Raises:
            InputError: from the tokenizer, for a sentence it cannot take.
        """
        return self.encode_token_ids(self.tokenizer(list(texts)))

    @torch.no_grad()
    def encode_token_ids(self, token_ids: Tensor) -> Tensor:
        """Token numbers (N, L) to unit vectors (N, E)."""
        return F.normalize(self._text_features(token_ids.to(self.device)).float(), dim=-1)

    def _text_features(self, token_ids: Tensor) -> Tensor:
        """Token numbers (N, L) to the joint space (N, E), not normalised."""
        features: Tensor = self.clip.encode_text(token_ids)
        return features

    @torch.no_grad()
    def encode_image(self, image: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [0, 1] to unit vectors (B, E)."""
        block = self.num_blocks - 1
        return F.normalize(self.embed(self.tokens(image, block), block), dim=-1)

    def tokens(self, image: Tensor, block: int) -> Tensor:
        """Pictures (B, 3, H, W) in [0, 1] to tokens (B, prefix + N, C) after ``block``, a class token first.

        Args:
            image: any height and width; the whole picture is used.
            block: 0-based number of the block whose output is wanted.

        Raises:
            ValueError: if there is no such block.
        """
        self.check_block(block)
        return self.tokens_of_input(self.prepare(image), block)

    def prepare(self, image: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [0, 1] to the tower's own input (B, 3, image_size, image_size), normalised."""
        return self.preprocess(image.to(self.device))

    def restore(self, grid: Tensor, shape: tuple[int, int]) -> Tensor:
        """Maps (B, K, rows, columns) on the patches' grid to the pixels (B, K, H, W) of pictures of a shape."""
        return self.preprocess.restore(grid, shape)

    def tokens_of_input(self, x: Tensor, block: int) -> Tensor:
        """As `tokens`, for what `prepare` gives or what was made of it; -1 for those that the first block takes."""
        self._check_cut(block)
        tokens = self._tower.embed_patches(x)
        for module in self._tower.blocks[: block + 1]:
            tokens = self._tower.through(module, tokens)
        return tokens

    def first_norm(self, block: int) -> nn.Module:
        """The norm with which ``block`` begins, to be watched at work."""
        self.check_block(block)
        return self._tower.first_norm(self._tower.blocks[block])

    def embed(self, tokens: Tensor, block: int) -> Tensor:
        """The rest of the network: tokens (B, prefix + N, C) after ``block`` to the joint space (B, E), not normalised.

        -1 for tokens that the first block takes. Of the last block only the class token is computed where nothing else
        is read from it.
        """
        self._check_cut(block)
        rest = list(self._tower.blocks[block + 1 :])
        last = rest.pop() if rest and self._tower.reads_class_token_only else None
        for module in rest:
            tokens = self._tower.through(module, tokens)
        if last is not None:
            tokens = self._tower.class_token_after(last, tokens)
        return self._tower.head(tokens).float()

    def check_block(self, block: int) -> None:
        """Raise ValueError unless ``block`` numbers one of the vision tower's blocks."""
        if not 0 <= block < self.num_blocks:
            raise ValueError(f"layer must be between 0 and {self.num_blocks - 1} for this network, got {block}")

    def _check_cut(self, block: int) -> None:
        if block != -1:
            self.check_block(block)
