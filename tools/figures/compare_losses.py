"""Fine-tune the demo CLIP with each of the four losses and several seeds, and compare retrieval as the paper does.

    python -m tools.figures.compare_losses                                       # on phantoms
    python -m tools.figures.compare_losses pairs.csv --output losses.json        # on a table of pairs

The split is the same for all; a seed decides the order of the batches. All runs on the CPU, forward passes in
bfloat16 where it has units for that. The figures are top-1 and top-2 in batches of 50, mean over five draws, and then
mean and standard deviation over the seeds.
"""

from __future__ import annotations

import copy
import json
import statistics
import time
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

from medclipsam_monai.base.devices import autocast
from medclipsam_monai.finetune import ContrastiveCLIP, WarmupCosine, contrastive_backward, parameter_groups
from medclipsam_monai.finetune.data.dataset import ImageTextDataset, load_split
from medclipsam_monai.finetune.data.sampler import DistinctBatchSampler
from medclipsam_monai.losses.contrastive import LOSSES
from medclipsam_monai.metrics import batched_retrieval

COLUMNS = ("image_to_text_top1", "image_to_text_top2", "text_to_image_top1", "text_to_image_top2")
Figures = dict[str, float]


def stack(dataset: ImageTextDataset, indices: list[int]) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    """Pictures, token numbers and labels of some pairs."""
    items = [dataset[index] for index in indices]
    labels = tuple(torch.tensor([item[key] for item in items]) for key in ("case", "caption"))
    return torch.stack([i["image"] for i in items]), torch.stack([i["text"] for i in items]), (labels[0], labels[1])


@torch.no_grad()
def evaluate(network: ContrastiveCLIP, dataset: ImageTextDataset, batch: int) -> Figures:
    """Retrieval of a network on held-out pairs."""
    network.eval()
    parts = []
    for start in range(0, len(dataset), 32):
        image, text, _ = stack(dataset, list(range(start, min(start + 32, len(dataset)))))
        parts.append(network(image, text))
    image, text = (torch.cat(side) for side in zip(*parts, strict=True))
    captions = torch.tensor(dataset.captions)
    found = batched_retrieval(image, text, batch, positives=captions[:, None] == captions[None])
    return {name: 100 * found.mean[name] for name in COLUMNS}


def train(
    network: ContrastiveCLIP,
    dataset: ImageTextDataset,
    loss: str,
    seed: int,
    epochs: int,
    batch: int,
    rate: float,
    temperature: float,
) -> None:
    """Fine-tune in place."""
    torch.manual_seed(seed)
    sampler = DistinctBatchSampler(dataset.cases, dataset.captions, batch, seed)
    optimizer = torch.optim.AdamW(parameter_groups(network, rate, 0.1), betas=(0.9, 0.98), eps=1e-6)
    schedule = WarmupCosine(optimizer, epochs * len(sampler), 5)
    function = LOSSES[loss](temperature=temperature)
    network.train()
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        for indices in sampler:
            image, text, labels = stack(dataset, indices)
            optimizer.zero_grad()
            contrastive_backward(network, function, image, text, labels, autocast=partial(autocast, "cpu"))
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()


def table(start: Figures, results: dict[str, list[Figures]]) -> str:
    """The comparison as Markdown, in percent."""
    lines = ["| loss | image→text top-1 | top-2 | text→image top-1 | top-2 |", "|---|---|---|---|---|"]
    lines.append("| before | " + " | ".join(f"{start[name]:.2f}" for name in COLUMNS) + " |")
    for loss, runs in results.items():
        cells = []
        for name in COLUMNS:
            values = [run[name] for run in runs]
            spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.2f}{spread}")
        lines.append(f"| {loss} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(
    data: Annotated[str, typer.Argument(help="Table of pairs, or phantoms.")] = "phantoms",
    clip: Annotated[str, typer.Option(help="Weights to start from.")] = "demo/clip",
    seeds: Annotated[int, typer.Option(help="Runs of each loss.")] = 3,
    epochs: Annotated[int, typer.Option(help="Epochs of each run.")] = 8,
    batch: Annotated[int, typer.Option(help="Pairs in a training batch.")] = 64,
    rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 3e-4,
    temperature: Annotated[float, typer.Option(help="Of all four losses.")] = 0.6,
    fraction: Annotated[float, typer.Option(help="Share of the pairs held out, by case.")] = 0.25,
    retrieval_batch: Annotated[int, typer.Option(help="Pairs in a batch of the protocol.")] = 50,
    phantoms: Annotated[int, typer.Option(help="Number of phantoms, where those are used.")] = 800,
    output: Annotated[Path | None, typer.Option(help="JSON file for the figures.")] = None,
) -> None:
    """Compare the four losses."""
    base = ContrastiveCLIP(clip)
    split = load_split(data, fraction=fraction, count=phantoms)
    training, held = (ImageTextDataset(part, base.tokenize, base.preprocess) for part in split)
    print(f"{len(training)} pairs to train, {len(held)} held out", flush=True)
    start = evaluate(base, held, retrieval_batch)
    results: dict[str, list[Figures]] = {name: [] for name in LOSSES}
    for seed in range(seeds):
        for loss in LOSSES:
            started = time.perf_counter()
            network = copy.deepcopy(base)
            train(network, training, loss, seed, epochs, batch, rate, temperature)
            results[loss].append(evaluate(network, held, retrieval_batch))
            figures = ", ".join(f"{value:.1f}" for value in results[loss][-1].values())
            print(f"seed {seed}, {loss}: {figures} ({time.perf_counter() - started:.0f} s)", flush=True)
            if output is not None:
                output.write_text(json.dumps({"before": start, "losses": results}, indent=4) + "\n")
    print(table(start, results))


if __name__ == "__main__":
    typer.run(main)
