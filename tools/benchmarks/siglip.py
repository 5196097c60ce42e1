"""M2IB on a SigLIP: this package's way against the equations step by step, the same noise and the same map, in one run.

    python -m tools.benchmarks.siglip                    # ViT-B/16 at 224 pixels, about 7 minutes of one core
    python -m tools.benchmarks.siglip --size narrow      # the same with half the channels, about 2 minutes
    python -m tools.benchmarks.siglip --size medsiglip   # So400m/14 at 448 pixels, for a GPU
    python -m tools.benchmarks.siglip --size medsiglip --steps 2 --samples 1 --turns 1    # 2 minutes of a core
    python -m tools.benchmarks.siglip --size small       # seconds, for the test

On a CPU the times are those of the processor, which other programs beside this one change little. Random weights in
transformers' SiglipModel. What is compared with is the released code's procedure, as in `tools.benchmarks.chain`: both
towers whole at every step, ten copies of the picture, gradients for all weights.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.nn.functional as F
import typer
from torch import Tensor

from medclipsam_monai.base.devices import resolve_device
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.networks.clip.preprocess import Preprocess
from medclipsam_monai.networks.clip.transformers_encoder import TransformersEncoder
from medclipsam_monai.saliency.m2ib import M2IB, capacity_to_grid
from medclipsam_monai.saliency.maps import unit_range
from medclipsam_monai.weights.hugging_face.model import HuggingFaceConfig, build_model
from tools.benchmarks.chain import seconds
from tools.benchmarks.plain_m2ib import SAMPLES, SEED, STEPS, plain_m2ib


@dataclass(frozen=True)
class Work:
    """Steps of M2IB and samples of its noise, fewer where a machine is too slow; turns of this package's way."""

    steps: int = STEPS
    samples: int = SAMPLES
    turns: int = 3


PUBLISHED = Work()


@dataclass(frozen=True)
class Size:
    """A SigLIP's form, and the block after which its tokens are squeezed: five sixths of the way, as published."""

    width: int
    inner: int
    heads: int
    blocks: int
    image: int
    patch: int
    layer: int
    words: int = 32_000


SIZES = {
    "base": Size(768, 3072, 12, 12, 224, 16, 9),
    "narrow": Size(384, 1536, 6, 12, 224, 16, 9),
    "medsiglip": Size(1152, 4304, 16, 27, 448, 14, 22),
    "small": Size(64, 128, 2, 4, 64, 16, 2, words=100),
}


def timed(work: Callable[[], Tensor], device: torch.device) -> tuple[float, Tensor]:
    """Seconds of one call, of the processor or of the device, and what it returned."""
    if device.type != "cpu":
        return seconds(work, device)
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def settings_of(size: Size) -> HuggingFaceConfig:
    """What a folder of transformers would say of a network of a size."""
    tower = {
        "hidden_size": size.width,
        "intermediate_size": size.inner,
        "num_attention_heads": size.heads,
        "num_hidden_layers": size.blocks,
    }
    values = {
        "text_config": {**tower, "vocab_size": size.words, "max_position_embeddings": 64},
        "vision_config": {**tower, "image_size": size.image, "patch_size": size.patch},
    }
    return HuggingFaceConfig("siglip", Path("random"), values, (0.0,) * 3, (1.0,) * 3)


def released_m2ib(clip: Any, image: Tensor, token_ids: Tensor, layer: int, gamma: float, work: Work) -> Tensor:
    """Capacity of each patch's token (N,), as the released code finds it."""

    def embed(pictures: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        return clip.vision_model(pictures).pooler_output, clip.text_model(ids).pooler_output

    block = clip.vision_model.encoder.layers[layer]
    return plain_m2ib(clip, block, embed, image, token_ids, gamma, work.steps, work.samples)


def measure(size: Size, device: torch.device, gamma: float = 0.1, work: Work = PUBLISHED) -> tuple[float, float, float]:
    """Seconds of the plain way, seconds of this package's (the median of its turns), how far their maps are apart."""
    torch.manual_seed(0)
    clip: Any = build_model(settings_of(size)).eval().to(device)
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(1, 3, size.image, size.image, generator=generator).to(device)
    token_ids = torch.randint(3, size.words, (1, 64), generator=generator).to(device)
    encoder = TransformersEncoder(clip, lambda texts: token_ids, Preprocess(size.image, (0.0,) * 3, (1.0,) * 3))
    method = M2IB(layer=size.layer, gamma=gamma, steps=work.steps, samples=work.samples, seed=SEED)

    def ours() -> Tensor:
        return method(encoder, image, encoder.encode_token_ids(token_ids))

    quick = [timed(ours, device) for _ in range(work.turns + 1)][1:]
    slow_time, slow = timed(lambda: released_m2ib(clip, image, token_ids, size.layer, gamma, work), device)
    grid = capacity_to_grid(slow[None, None], encoder.grid)
    expected = unit_range(F.interpolate(grid, image.shape[-2:], mode="bilinear"))
    return slow_time, statistics.median(spent for spent, _ in quick), float((quick[0][1] - expected).abs().max())


def main(
    size: Annotated[str, typer.Option(help=f"One of {', '.join(SIZES)}.")] = "base",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps.")] = "cpu",
    steps: Annotated[int, typer.Option(min=1, help="Steps of M2IB; 10 as published.")] = STEPS,
    samples: Annotated[int, typer.Option(min=1, help="Samples of the noise; 10 as published.")] = SAMPLES,
    turns: Annotated[int, typer.Option(min=1, help="Runs of this package's way, after one that does not count.")] = 3,
) -> None:
    """Print the times and their ratio as a Markdown table."""
    if size not in SIZES:
        raise InputError(f"size must be one of {', '.join(SIZES)}, got {size!r}")
    chosen = resolve_device(device)
    print(f"torch {torch.__version__}, {chosen}, {torch.get_num_threads()} threads\n")
    slow, quick, apart = measure(SIZES[size], chosen, work=Work(steps, samples, turns))
    print("| what | compared with | ours | ratio | difference |\n|---|---|---|---|---|")
    less = "" if (steps, samples) == (STEPS, SAMPLES) else f", steps {steps}, samples {samples}"
    print(f"| M2IB, SigLIP {size}{less} | {slow:.2f} s | {quick:.2f} s | {slow / quick:.1f} x | {apart:.1e} |")


if __name__ == "__main__":
    typer.run(main)
