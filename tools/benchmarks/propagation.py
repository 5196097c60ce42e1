"""What a slice of a volume costs when bodies are propagated, beside the usual way with the same segmenter.

    python -m tools.benchmarks.propagation

The SAM half of the volume stage alone, at real sizes with seeded random weights: one body in a row of slices of 512 x
512 pixels, asked with a box in each of them (the usual way), and followed from the middle one both ways (propagated).
The object score's bias is set so high that no way ends early. Turns are interleaved; the figures are medians.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from medclipsam_monai.base.devices import resolve_device
from medclipsam_monai.networks.transformers_sam.families import EDGETAM_VIDEO, SAM2_VIDEO, Family, library_class
from medclipsam_monai.networks.transformers_sam.video_segmenter import SHARED, VideoSegmenter
from tools.benchmarks.segmenters import random_segmenter

KINDS = {"SAM 2.1 tiny": SAM2_VIDEO, "EdgeTAM": EDGETAM_VIDEO}
_SIDE = 512
_BOX = torch.tensor([[150.0, 130.0, 360.0, 380.0]])
_SEEN = 100.0


def random_video_segmenter(family: Family) -> VideoSegmenter:
    """A family with its memory, at the size that transformers takes where nothing is said."""
    plain = random_segmenter(family)

    def load_video(network: Any) -> Any:
        config = library_class(family, family.video.removesuffix("Model") + "Config")()
        video = library_class(family, family.video)(config).eval().requires_grad_(False)
        for name in (*SHARED, "no_memory_embedding"):
            setattr(video, name, getattr(network, name))
        return video

    network = library_class(family, family.model)(plain.network.config)
    network.mask_decoder.pred_obj_score_head.proj_out.bias.data.fill_(_SEEN)
    return VideoSegmenter(network, plain.frame, load_video)


def slice_by_slice(segmenter: VideoSegmenter, slices: Tensor) -> int:
    """Encode each slice and ask for the box in it; how many were seen."""
    for one in slices:
        (embedding,) = segmenter.encode(one[None])
        segmenter.decode(embedding, _BOX)
    return len(slices)


def propagated(segmenter: VideoSegmenter, slices: Tensor) -> int:
    """Follow the box of the middle slice both ways; how many slices were seen."""
    middle, seen = len(slices) // 2, 0
    for order in (range(middle, len(slices)), range(middle, -1, -1)):
        track = segmenter.track(len(slices))
        for number in order:
            (embedding,) = segmenter.encode(slices[number][None])
            found = track.begin(embedding, _BOX) if number == middle else track.follow(embedding)
            seen += int(found.object_scores[0] > 0)
    return seen - 1  # the middle one twice


WAYS: dict[str, Callable[[VideoSegmenter, Tensor], int]] = {
    "slice by slice": slice_by_slice,
    "propagated": propagated,
}


def seconds_a_slice(segmenter: VideoSegmenter, depth: int, turns: int) -> dict[str, tuple[float, float]]:
    """Median seconds a slice by the clock and of the processor, of each way."""
    slices = torch.rand(depth, 1, _SIDE, _SIDE, generator=torch.Generator().manual_seed(1)).expand(-1, 3, -1, -1)
    segmenter.track(1)  # its weights
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
    for _ in range(turns):
        for name, way in WAYS.items():
            started, worked = time.perf_counter(), time.process_time()
            if way(segmenter, slices) != depth:
                raise AssertionError(f"{name} lost its body")
            if segmenter.device.type == "cuda":
                torch.cuda.synchronize()
            times[name].append(((time.perf_counter() - started) / depth, (time.process_time() - worked) / depth))
    return {
        name: (statistics.median(wall for wall, _ in values), statistics.median(cpu for _, cpu in values))
        for name, values in times.items()
    }


def main(
    depth: Annotated[int, typer.Option(min=2, help="Slices.")] = 9,
    turns: Annotated[int, typer.Option(min=1, help="Times that each way is gone.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps.")] = "cpu",
    only: Annotated[str, typer.Option(help="One kind of segmenter; all where it is empty.")] = "",
) -> None:
    """Print the table as Markdown."""
    warnings.simplefilter("ignore", FutureWarning)
    placed = resolve_device(device)
    print(f"torch {torch.__version__}, {placed}, {torch.get_num_threads()} threads, {depth} slices\n")
    print("| segmenter | way | a slice | ratio | processor time | ratio |")
    print("|---|---|---|---|---|---|")
    for kind, family in KINDS.items():
        if only not in ("", kind):
            continue
        torch.manual_seed(0)
        found = seconds_a_slice(random_video_segmenter(family).to(placed), depth, turns)
        base = found["slice by slice"]
        for way, own in found.items():
            cells = [f"{mine:.2f} s | {mine / usual:.2f} x" for mine, usual in zip(own, base, strict=True)]
            print(f"| {kind} | {way} | {' | '.join(cells)} |")


if __name__ == "__main__":
    typer.run(main)
