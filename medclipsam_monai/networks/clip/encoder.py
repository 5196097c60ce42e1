"""A CLIP cut in two at a vision block, with its tokenizer: what every saliency method works on.

`CLIPEncoder` wraps an open_clip model (BiomedCLIP, or any other with a ViT tower). `load_text_image_encoder`
makes one from a folder in open_clip's local-dir form, a hub name, or a bare BiomedCLIP checkpoint of either layout.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medclipsam_monai.base.errors import InputError
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
        """1: the class token stands before the patches'."""
        return 1

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.clip.parameters()).device

    @property
    def logit_scale(self) -> Tensor:
        """Trained factor of the cosine similarity (the inverse temperature), a scalar."""
        return self.clip.logit_scale.exp()

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
        return F.normalize(self.clip.encode_text(token_ids.to(self.device)).float(), dim=-1)

    @torch.no_grad()
    def encode_image(self, image: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [0, 1] to unit vectors (B, E)."""
        block = self.num_blocks - 1
        return F.normalize(self.embed(self.tokens(image, block), block), dim=-1)

    def tokens(self, image: Tensor, block: int) -> Tensor:
        """Pictures (B, 3, H, W) in [0, 1] to tokens (B, 1 + N, C) after ``block``, class token first.

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
            tokens = module(tokens)
        return tokens

    def first_norm(self, block: int) -> nn.Module:
        """The norm with which ``block`` begins, to be watched at work."""
        self.check_block(block)
        return self._tower.first_norm(self._tower.blocks[block])

    def embed(self, tokens: Tensor, block: int) -> Tensor:
        """The rest of the network: tokens (B, 1 + N, C) after ``block`` to the joint space (B, E), not normalised.

        -1 for tokens that the first block takes. Of the last block only the class token is computed where nothing else
        is read from it.
        """
        self._check_cut(block)
        rest = list(self._tower.blocks[block + 1 :])
        last = rest.pop() if rest and self._tower.reads_class_token_only else None
        for module in rest:
            tokens = module(tokens)
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


class CheckedTokenizer:
    """open_clip's tokenizer, refusing what it would silently cut off or not understand.

    Args:
        tokenizer: as made by ``open_clip.get_tokenizer``.
        context_length: greatest number of tokens a sentence may have.
    """

    def __init__(self, tokenizer: Any, context_length: int) -> None:
        self._tokenizer = tokenizer
        self.context_length = context_length

    @property
    def largest_number(self) -> int:
        """The largest token number that a sentence can get."""
        inner = getattr(self._tokenizer, "tokenizer", None)
        return int(self._tokenizer.vocab_size if inner is None else max(inner.get_vocab().values())) - (inner is None)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Sentences to token numbers (N, L).

        Raises:
            InputError: for an empty sentence, one that is too long, or one without any known word.
        """
        for text in texts:
            self._check(text)
        return self._numbers(texts)

    def truncate(self, texts: Sequence[str]) -> Tensor:
        """Captions to token numbers (N, L), cut off where they are too long: what training does, never a request."""
        return self._numbers(texts)

    def _numbers(self, texts: Sequence[str]) -> Tensor:
        """Token numbers without the columns that no sentence fills: most of BiomedCLIP's 256 are padding.

        BERT masks its padding, so that nothing changes; open_clip's own text towers need their whole length.
        """
        ids = self._tokenizer(list(texts), context_length=self.context_length)
        padding = getattr(getattr(self._tokenizer, "tokenizer", None), "pad_token_id", None)
        return ids if padding is None else ids[:, : int((ids != padding).sum(dim=1).max())]

    def _check(self, text: str) -> None:
        if not text.strip():
            raise InputError("the text is empty; describe what to segment, for example 'lungs'")
        if len(text) > 20 * self.context_length:
            raise InputError(f"the text has {len(text)} characters, this model reads {self.context_length} tokens")
        ids = self._token_ids(text)
        if len(ids) > self.context_length:
            raise InputError(f"the text has {len(ids)} tokens, this model reads at most {self.context_length}")
        unknown = getattr(getattr(self._tokenizer, "tokenizer", None), "unk_token_id", None)
        words = ids[1:-1]
        if unknown is not None and words.count(unknown) * 2 > len(words):
            raise InputError(
                f"the words of {text!r} are not in this model's vocabulary; describe the target in English"
            )

    def _token_ids(self, text: str) -> list[int]:
        hugging_face = getattr(self._tokenizer, "tokenizer", None)
        if hugging_face is not None:
            return list(hugging_face(text, truncation=False, verbose=False)["input_ids"])
        return [0, *self._tokenizer.encode(text), 0]  # open_clip's own BPE adds its two marks later
