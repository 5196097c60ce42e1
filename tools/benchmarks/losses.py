"""What the losses cost, and what a training step at BiomedCLIP's real size takes in memory.

    python -m tools.benchmarks.losses                # the four losses at batch 64, and a whole step of the demo CLIP
    python -m tools.benchmarks.losses --full-size    # one GradCache step of a random BiomedCLIP at batch 64

Times are medians of interleaved runs, so that a busy machine slows all of them alike.
"""

from __future__ import annotations

import resource
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import torch
import typer
from safetensors.torch import save_file
from torch import Tensor

from medclipsam_monai.finetune import ContrastiveCLIP, contrastive_backward, parameter_groups
from medclipsam_monai.losses.contrastive import LOSSES
from medclipsam_monai.weights.clip_config import BIOMEDCLIP_FOLDER
from medclipsam_monai.weights.clip_folder import build_clip

FEATURES = 512


def loss_seconds(batch: int, repeats: int) -> dict[str, float]:
    """Median seconds of each loss, forward and backward, on features (batch, 512)."""
    features = [torch.randn(batch, FEATURES, requires_grad=True) for _ in range(2)]
    times: dict[str, list[float]] = {name: [] for name in LOSSES}
    for turn in range(repeats + 10):
        for name, make in LOSSES.items():
            loss = make()
            started = time.perf_counter()
            loss(*features).backward()
            if turn >= 10:
                times[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in times.items()}


def step(network: ContrastiveCLIP, image: Tensor, text: Tensor, chunk: int | None) -> tuple[float, float]:
    """Loss and seconds of one optimiser step."""
    network.train()
    optimizer = torch.optim.AdamW(parameter_groups(network, 1e-6, 0.1))
    started = time.perf_counter()
    loss = contrastive_backward(network, LOSSES["dhn_nce"](), image, text, (), chunk)
    optimizer.step()
    return float(loss), time.perf_counter() - started


def compare(network: ContrastiveCLIP, image: Tensor, text: Tensor) -> None:
    """Print the loss and the gradient's difference with and without chunks, from the same weights."""
    weight = network.clip.visual.trunk.patch_embed.proj.weight
    found = []
    for chunk in (None, 1):
        network.train()
        network.zero_grad()
        loss = float(contrastive_backward(network, LOSSES["dhn_nce"](), image, text, (), chunk))
        found.append((loss, weight.grad.clone()))
    network.zero_grad()
    apart = float((found[0][1] - found[1][1]).norm() / found[0][1].norm())
    print(f"batch {len(image)}: loss {found[0][0]:.6f} plain, {found[1][0]:.6f} through GradCache; ", end="")
    print(f"gradients of the first layer {apart:.1e} apart", flush=True)


def random_biomedclip(folder: Path) -> ContrastiveCLIP:
    """BiomedCLIP's architecture with random weights and without dropout, so that two steps can be compared."""
    shutil.copytree(BIOMEDCLIP_FOLDER, folder)
    torch.manual_seed(0)
    save_file(build_clip(folder).state_dict(), folder / "open_clip_model.safetensors")
    network = ContrastiveCLIP(folder)
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return network


def peak_memory() -> float:
    """Most memory that this process has held, in GB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def measure_losses(batch: int, repeats: int) -> None:
    """Print the losses' times and what DHN-NCE adds to a step."""
    times = loss_seconds(batch, repeats)
    network = ContrastiveCLIP("demo/clip")
    text = network.tokenize(["a large lung mass on the left. no pleural effusion"] * batch)
    image = torch.rand(batch, 3, network.preprocess.size, network.preprocess.size)
    _, seconds = min(step(network, image, text, None) for _ in range(2))
    print(f"loss alone, batch {batch}, forward and backward:")
    for name, value in times.items():
        print(f"  {name:9s} {1e3 * value:7.2f} ms")
    extra = times["dhn_nce"] - times["info_nce"]
    print(f"a step of the demo CLIP takes {seconds:.2f} s; DHN-NCE adds {100 * extra / seconds:.2f} % over InfoNCE")


def measure_full_size(batch: int, chunk: int, tokens: int, plain: int) -> None:
    """Print loss equality at a batch that fits plainly, then time and peak memory of the step."""
    with tempfile.TemporaryDirectory(prefix="medclipsam-") as name:
        network = random_biomedclip(Path(name) / "clip")
    torch.manual_seed(1)
    image = torch.rand(batch, 3, 224, 224)
    text = torch.randint(1, 1000, (batch, tokens))
    compare(network, image[:plain], text[:plain])
    loss, seconds = step(network, image, text, chunk)
    print(f"batch {batch} in chunks of {chunk}, {tokens} tokens a caption: loss {loss:.5f}, {seconds:.0f} s")
    print(f"peak memory {peak_memory():.2f} GB")


def main(
    full_size: Annotated[bool, typer.Option("--full-size", help="Measure BiomedCLIP's real size.")] = False,
    batch: Annotated[int, typer.Option(help="Pairs in a batch.")] = 64,
    repeats: Annotated[int, typer.Option(help="Timed runs of each loss.")] = 200,
    chunk: Annotated[int, typer.Option(help="Pairs through the network at once.")] = 8,
    tokens: Annotated[int, typer.Option(help="Tokens of each caption.")] = 256,
    plain: Annotated[int, typer.Option(help="Batch of the comparison without chunks.")] = 4,
) -> None:
    """Measure losses, or a step at real size."""
    if full_size:
        measure_full_size(batch, chunk, tokens, plain)
    else:
        measure_losses(batch, repeats)


if __name__ == "__main__":
    typer.run(main)
