"""SAM as a function of an image and prompts: encode once, decode as often as there are questions.

`SAMSegmenter` gives the numbers of segment_anything's ``SamPredictor`` with its attention fused, for batches,
on any device, and with the embedding as a value the caller keeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from segment_anything.modeling import ImageEncoderViT, Sam
from segment_anything.utils.transforms import ResizeLongestSide
from torch import Tensor, nn

from medclipsam_monai.networks.sam.fused_attention import fuse_attention
from medclipsam_monai.networks.sam.mask_prompts import mask_logits
from medclipsam_monai.networks.sam.med2d import SamMed2D, Stretched
from medclipsam_monai.networks.sam.prompt_checks import check_prompts
from medclipsam_monai.networks.sam.sizes import learnt_masks, load_sam, sam_device


@dataclass(frozen=True)
class ImageEmbedding:
    """What SAM knows of one image.

    Attributes:
        features: (1, C, h, w) from the image encoder.
        image_shape: rows and columns of the picture.
        input_shape: rows and columns it has inside SAM's square.
    """

    features: Tensor
    image_shape: tuple[int, int]
    input_shape: tuple[int, int]

    @property
    def nbytes(self) -> int:
        """Of the features."""
        return self.features.nbytes


class LongestSide:
    """Pictures in SAM's square: their longer side fits it, and the rest is padding.

    Args:
        side: of the square in pixels.
    """

    def __init__(self, side: int) -> None:
        self._library = ResizeLongestSide(side)

    def inner(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns that a picture of a shape takes in the square."""
        rows, columns = self._library.get_preprocess_shape(*shape, self._library.target_length)
        return int(rows), int(columns)

    def resize(self, pictures: Tensor) -> Tensor:
        """Pictures (B, 3, H, W), uint8, to (B, 3, rows, columns) of `inner`."""
        resized = [self._library.apply_image(one) for one in pictures.permute(0, 2, 3, 1).numpy()]
        return torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2)


class SAMSegmenter(nn.Module):
    """SAM, frozen; also SAM-Med2D and MobileSAM.

    Args:
        sam: segment_anything's network; its image encoder's attention is replaced by the fused one, in place.
        decode_chunk: how many prompts are decoded together.
        takes_masks: whether its weights have learnt to take a mask for a first guess.
    """

    def __init__(self, sam: Sam, decode_chunk: int = 16, takes_masks: bool = True) -> None:
        super().__init__()
        if isinstance(sam.image_encoder, ImageEncoderViT):  # timm's TinyViT fuses its own
            fuse_attention(sam.image_encoder)
        self.sam = sam.eval().requires_grad_(False)
        self.decode_chunk, self.takes_masks = decode_chunk, takes_masks
        self._square = (Stretched if isinstance(sam, SamMed2D) else LongestSide)(self.image_size)

    @property
    def image_size(self) -> int:
        """Side of SAM's square input in pixels."""
        return int(self.sam.image_encoder.img_size)

    @torch.no_grad()
    def encode(self, image: Tensor) -> list[ImageEmbedding]:
        """Encode pictures, once for all later prompts.

        Args:
            image: (B, 3, H, W) in [0, 1].

        Returns:
            One embedding an image.
        """
        shape = int(image.shape[-2]), int(image.shape[-1])
        # SAM was trained on 8-bit pictures resized by Pillow, and one grey level is seen in the masks: do the same.
        resized = self._square.resize(image.mul(255).round().to("cpu", torch.uint8))
        inputs = self.sam.preprocess(resized.to(sam_device(self.sam), torch.float32))
        features = self.sam.image_encoder(inputs).float()
        inner = self._square.inner(shape)
        # Alone, one picture's view would hold the memory of the whole batch.
        return [ImageEmbedding(part.clone(), shape, inner) for part in features.split(1)]

    def mask_logits(self, masks: Tensor) -> Tensor:
        """Masks (N, H, W) in a picture's pixels, in [0, 1], to what `decode` takes, see `mask_logits`."""
        inner = self._square.inner((int(masks.shape[-2]), int(masks.shape[-1])))
        return mask_logits(masks, inner, self.image_size, self._mask_side)

    @property
    def _mask_side(self) -> int:
        return int(self.sam.prompt_encoder.mask_input_size[0])

    @torch.no_grad()
    def decode(
        self,
        embedding: ImageEmbedding,
        boxes: Tensor | None = None,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        multimask: bool = False,
        masks: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Masks for N prompts in one image; a prompt is a box, a set of points, or both.

        Args:
            embedding: from `encode`.
            boxes: (N, 4) x0, y0, x1, y1 in the picture's pixels.
            points: (N, P, 2) x, y in the picture's pixels.
            labels: (N, P), 1 foreground, 0 background, -1 padding.
            multimask: three nested answers per prompt instead of one.
            masks: logits (N, h, w), segment_anything's ``mask_input``: a first guess for each prompt, see
                `mask_logits`; h and w are 256 for SAM.

        Returns:
            probability (N, M, H, W) in [0, 1] and predicted IoU (N, M), M = 3 or 1.

        Raises:
            ValueError: if there is no prompt, or shapes do not belong together.
        """
        count, side = check_prompts(boxes, points, labels, masks), self._mask_side
        if masks is not None and masks.shape[1:] != (side, side):
            raise ValueError(f"masks must be ({count}, {side}, {side}), got {tuple(masks.shape)}")
        prompts = (boxes, points, labels, masks)
        parts = []
        for start in range(0, count, self.decode_chunk):
            some = [None if one is None else one[start : start + self.decode_chunk] for one in prompts]
            parts.append(self._decode(embedding, multimask, *some))
        return torch.cat([p for p, _ in parts]), torch.cat([q for _, q in parts])

    def _decode(
        self,
        embedding: ImageEmbedding,
        multimask: bool,
        boxes: Tensor | None,
        points: Tensor | None,
        labels: Tensor | None,
        masks: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        device = sam_device(self.sam)
        (height, width), (rows, columns) = embedding.image_shape, embedding.input_shape
        scale = torch.tensor([columns / width, rows / height], device=device)
        scaled_boxes = None if boxes is None else (boxes.to(device).float().view(-1, 2, 2) * scale).flatten(1)
        scaled_points = None
        if points is not None and labels is not None:
            scaled_points = (points.to(device).float() * scale, labels.to(device).float())
        guess = None if masks is None else masks.to(device).float()[:, None]
        sparse, dense = self.sam.prompt_encoder(points=scaled_points, boxes=scaled_boxes, masks=guess)
        low_resolution, quality = self.sam.mask_decoder(
            image_embeddings=embedding.features.to(device),
            image_pe=self.sam.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
        )
        logits = self.sam.postprocess_masks(low_resolution.float(), embedding.input_shape, embedding.image_shape)
        return logits.sigmoid(), quality.float()


def load_segmenter(source: str | Path, device: str | torch.device = "cpu") -> SAMSegmenter:
    """A frozen segmenter from local weights, see `load_sam`.

    Raises:
        InputError: if files are missing, cut off, or of no known architecture.
    """
    return SAMSegmenter(load_sam(source), takes_masks=learnt_masks(source)).to(device)


def load_without_adapters(source: str | Path, device: str | torch.device = "cpu") -> SAMSegmenter:
    """The same without SAM-Med2D's adapters, which its authors found better on pictures of a kind it never saw.

    Raises:
        InputError: if files are missing, cut off, or of no known architecture.
    """
    return SAMSegmenter(load_sam(source, with_adapters=False), takes_masks=learnt_masks(source)).to(device)
