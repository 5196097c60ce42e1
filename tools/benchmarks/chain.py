"""Measure what the project claims: each figure is a ratio of two ways of doing the same thing, taken in one run.

    python -m tools.benchmarks.chain               # about 6 minutes on two cores
    python -m tools.benchmarks.chain --device cuda

Real sizes with seeded random weights: BiomedCLIP (ViT-B/16 and BERT, 196 M parameters) and SAM ViT-B. What is compared
with is written out here: the released code's M2IB procedure, and segment_anything's own image encoder.
"""

from __future__ import annotations

import copy
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import Annotated, Any

import torch
import torch.nn.functional as F
import typer
from torch import Tensor

from medclipsam_monai.base.devices import resolve_device
from medclipsam_monai.networks.clip.encoder import CLIPEncoder
from medclipsam_monai.networks.clip.preprocess import Preprocess
from medclipsam_monai.networks.sam.fused_attention import fuse_attention
from medclipsam_monai.networks.sam.segmenter import SAMSegmenter
from medclipsam_monai.networks.sam.sizes import SAM_SIZES, build_sam
from medclipsam_monai.saliency.m2ib import M2IB, capacity_to_grid
from medclipsam_monai.saliency.maps import unit_range
from medclipsam_monai.weights.clip_config import BIOMEDCLIP_FOLDER
from medclipsam_monai.weights.clip_folder import build_clip
from tools.benchmarks.plain_m2ib import SEED, plain_m2ib


def seconds(work: Callable[[], Any], device: torch.device) -> tuple[float, Any]:
    """Wall time of one call and what it returned."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    result = work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start, result


def released_m2ib(clip: Any, image: Tensor, token_ids: Tensor, layer: int, gamma: float) -> Tensor:
    """Capacity (1 + N,) of the tokens of a timm ViT in open_clip's form, as the released code finds it."""
    block = clip.visual.trunk.blocks[layer]
    return plain_m2ib(
        clip, block, lambda x, ids: (clip.encode_image(x), clip.encode_text(ids)), image, token_ids, gamma
    )


def random_biomedclip(device: torch.device) -> tuple[CLIPEncoder, Tensor]:
    """BiomedCLIP's form with seeded random weights, and the numbers (1, 20) of a sentence that is its every text."""
    torch.manual_seed(0)
    clip = build_clip(BIOMEDCLIP_FOLDER).eval().to(device)
    token_ids = torch.randint(5, 20000, (1, 20), generator=torch.Generator().manual_seed(1)).to(device)
    return CLIPEncoder(clip, lambda texts: token_ids, Preprocess(224, (0.0,) * 3, (1.0,) * 3)), token_ids


def measure_m2ib(device: torch.device) -> tuple[float, float, float]:
    """Seconds of the released procedure at BiomedCLIP's size, seconds of ours, and how far their maps are apart."""
    encoder, token_ids = random_biomedclip(device)
    clip = encoder.clip
    image = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(1)).to(device)
    method = M2IB(layer=9, gamma=1.0, seed=SEED)

    def ours() -> Tensor:
        return method(encoder, image, encoder.encode_token_ids(token_ids))

    quick = [seconds(ours, device) for _ in range(4)][1:]
    slow_time, slow = seconds(lambda: released_m2ib(clip, image, token_ids, 9, 1.0), device)
    expected = unit_range(F.interpolate(capacity_to_grid(slow[None, None, 1:], (14, 14)), (224, 224), mode="bilinear"))
    quick_time = sorted(time for time, _ in quick)[1]
    return slow_time, quick_time, float((quick[0][1] - expected).abs().max())


def benchmark_m2ib(device: torch.device) -> list[str]:
    """Our M2IB against the plain procedure, the same noise and the same map."""
    slow, quick, apart = measure_m2ib(device)
    return [f"M2IB, BiomedCLIP's size | {slow:.1f} s | {quick:.2f} s | {slow / quick:.1f} x | {apart:.1e}"]


def with_position_bias() -> Any:
    """SAM ViT-B with random weights, those that segment_anything starts at zero among them."""
    torch.manual_seed(0)
    sam = build_sam(SAM_SIZES["vit_b"])
    for name, parameter in sam.named_parameters():
        if "rel_pos" in name or "pos_embed" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    return sam


def benchmark_sam(device: torch.device) -> list[str]:
    """The fused image encoder against segment_anything's, in float32 and in bfloat16 autocast."""
    sam = with_position_bias().to(device)
    original, fused = sam.image_encoder, copy.deepcopy(sam.image_encoder)
    fuse_attention(fused)
    x = torch.randn(1, 3, 1024, 1024, generator=torch.Generator().manual_seed(2)).to(device)
    times: dict[str, list[float]] = {"plain": [], "fused": [], "bf16": []}
    with torch.inference_mode():
        for _ in range(3):
            plain_time, expected = seconds(lambda: original(x), device)
            fused_time, found = seconds(lambda: fused(x), device)
            with torch.autocast(device.type, torch.bfloat16):
                half_time, half = seconds(lambda: fused(x), device)
            for name, value in zip(times, (plain_time, fused_time, half_time), strict=True):
                times[name].append(value)
        plain, quick, bf16 = (sorted(values)[1] for values in times.values())
        difference = float((found - expected).abs().max())
        iou = mask_iou(sam, expected, half.float())
    rows = [f"SAM ViT-B encoder, float32 | {plain:.2f} s | {quick:.2f} s | {plain / quick:.2f} x | {difference:.1e}"]
    return [
        *rows,
        f"SAM ViT-B encoder, bfloat16 | {plain:.2f} s | {bf16:.2f} s | {plain / bf16:.2f} x | mask IoU {iou:.4f}",
    ]


def mask_iou(sam: Any, first: Tensor, second: Tensor) -> float:
    """Mean IoU of the masks that the same boxes give on two embeddings of one image."""
    from medclipsam_monai.networks.sam.segmenter import ImageEmbedding

    segmenter = SAMSegmenter(copy.deepcopy(sam))
    boxes = torch.tensor([[100.0, 100, 500, 400], [300, 500, 900, 1000], [10, 20, 1000, 1010], [600, 50, 800, 300]])
    masks = []
    for features in (first, second):
        probability, _ = segmenter.decode(ImageEmbedding(features, (1024, 1024), (1024, 1024)), boxes)
        # Random weights put no meaning into 0.5: half of the pixels are foreground above the median.
        masks.append(probability[:, 0] > probability[:, 0].flatten(1).median(dim=1).values[:, None, None])
    union = (masks[0] | masks[1]).flatten(1).sum(1)
    return float(((masks[0] & masks[1]).flatten(1).sum(1) / union).mean())


def peak_memory(fused: bool) -> float:
    """Peak memory in GB of a process that builds SAM ViT-B and encodes one image."""
    word = "fused" if fused else "plain"
    out = subprocess.run(
        [sys.executable, "-m", "tools.benchmarks.chain", "--measure-memory", word],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(out.stdout.split()[-1])


def print_memory(word: str) -> None:
    """The child process of `peak_memory`."""
    encoder = with_position_bias().image_encoder
    if word == "fused":
        fuse_attention(encoder)
    with torch.inference_mode():
        encoder(torch.zeros(1, 3, 1024, 1024))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


def main(
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps.")] = "cpu",
    measure_memory: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Print the table as Markdown."""
    if measure_memory:
        print_memory(measure_memory)
        return
    warnings.simplefilter("ignore", FutureWarning)
    chosen = resolve_device(device)
    print(f"torch {torch.__version__}, {chosen}, {torch.get_num_threads()} threads\n")
    print("| what | compared with | ours | ratio | difference |\n|---|---|---|---|---|")
    if chosen.type == "cpu":  # first, while this process is small: a child inherits its parent's peak
        plain, fused = peak_memory(fused=False), peak_memory(fused=True)
        print(f"| SAM ViT-B, peak memory of the process | {plain:.2f} GB | {fused:.2f} GB | {plain / fused:.2f} x | |")
    for benchmark in (benchmark_m2ib, benchmark_sam):
        for row in benchmark(chosen):
            print(f"| {row} |", flush=True)


if __name__ == "__main__":
    typer.run(main)
