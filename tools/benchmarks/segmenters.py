"""What encoding one picture costs with each kind of promptable segmenter, at real sizes with seeded random weights.

    python -m tools.benchmarks.segmenters
    python -m tools.benchmarks.segmenters --device cuda --half

A picture of 512 x 512 pixels is encoded as the chain does it, resizing included. Turns are interleaved, so that a busy
machine slows all of them alike; the figures are medians. On a CPU that others use as well, the ratio of the processor's
own time says more than that of the clock; with one thread (OMP_NUM_THREADS=1) the two are the same work.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from typing import Annotated, Any

import torch
import typer

from medclipsam_monai.base.devices import autocast, resolve_device
from medclipsam_monai.networks.protocols import PromptableSegmenter
from medclipsam_monai.networks.sam.segmenter import SAMSegmenter
from medclipsam_monai.networks.sam.sizes import SAM_SIZES, build_sam
from medclipsam_monai.networks.transformers_sam.families import EDGETAM, SAM2, Family, library_class
from medclipsam_monai.networks.transformers_sam.frames import Frame
from medclipsam_monai.networks.transformers_sam.segmenter import TransformersSegmenter
from medclipsam_monai.networks.transformers_sam.tables import TABLES, checked

BASE = "SAM ViT-B"


def random_segmenter(family: Family) -> TransformersSegmenter:
    """A family at the size that transformers takes where nothing is said: SAM 2.1 tiny, EdgeTAM."""
    config = library_class(family, family.config)(**checked({}, TABLES[family.model], "the defaults"))
    network = library_class(family, family.model)(config)
    side = config.prompt_encoder_config.image_size
    return TransformersSegmenter(network, Frame(side, family.letterbox, family.mean, family.std))


KINDS: dict[str, Callable[[], Any]] = {
    BASE: lambda: SAMSegmenter(build_sam(SAM_SIZES["vit_b"])),
    "SAM 2.1 tiny": lambda: random_segmenter(SAM2),
    "EdgeTAM": lambda: random_segmenter(EDGETAM),
}


def encoding_seconds(
    segmenters: dict[str, PromptableSegmenter], turns: int, half: bool
) -> dict[str, tuple[float, float]]:
    """Median seconds, by the clock and of the processor, of one picture's embedding; the first turn does not count."""
    picture = torch.rand(1, 3, 512, 512, generator=torch.Generator().manual_seed(1))
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in segmenters}
    for _ in range(turns + 1):
        for name, segmenter in segmenters.items():
            started, worked = time.perf_counter(), time.process_time()
            with autocast(_device(segmenter), half):
                (embedding,) = segmenter.encode(picture)
            if _device(segmenter).type == "cuda":
                torch.cuda.synchronize()
            times[name].append((time.perf_counter() - started, time.process_time() - worked))
            del embedding
    return {
        name: (statistics.median(wall for wall, _ in values[1:]), statistics.median(cpu for _, cpu in values[1:]))
        for name, values in times.items()
    }


def _device(segmenter: Any) -> torch.device:
    device: torch.device = next(segmenter.parameters()).device
    return device


def main(
    turns: Annotated[int, typer.Option(min=1, help="Pictures that each segmenter encodes.")] = 5,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps.")] = "cpu",
    half: Annotated[bool, typer.Option(help="Half precision where the device has it.")] = False,
) -> None:
    """Print the table as Markdown."""
    warnings.simplefilter("ignore", FutureWarning)
    placed = resolve_device(device)
    torch.manual_seed(0)
    segmenters: dict[str, Any] = {name: make().to(placed) for name, make in KINDS.items()}
    seconds = encoding_seconds(segmenters, turns, half)
    print(f"torch {torch.__version__}, {placed}, {torch.get_num_threads()} threads\n")
    print("| segmenter | parameters | one picture | ratio | processor time | ratio | embedding |")
    print("|---|---|---|---|---|---|---|")
    for name, segmenter in segmenters.items():
        size = sum(value.numel() for value in segmenter.parameters()) / 1e6
        kept = segmenter.encode(torch.zeros(1, 3, 512, 512))[0].nbytes / 1e6
        times = [f"{own:.2f} s | {base / own:.1f} x" for own, base in zip(seconds[name], seconds[BASE], strict=True)]
        print(f"| {name} | {size:.1f} M | {' | '.join(times)} | {kept:.1f} MB |")


if __name__ == "__main__":
    typer.run(main)
