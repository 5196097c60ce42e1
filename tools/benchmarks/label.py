"""How much sooner the label app answers a second text, and a click, on an image whose embedding it has.

    python -m tools.benchmarks.label                   # a few minutes on two cores, 5 GB of memory
    python -m tools.benchmarks.label --device cuda

Whole requests without HTTP: reading the picture, the text, saliency, SAM ViT-B at its real size, writing the mask. The
weights are random and seeded; the CLIP is the small one that ships, and one of BiomedCLIP's size. Needs the environment
of the label app, see scripts/label.sh.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import torch
import typer
from safetensors.torch import save_file

from medclipsam_monai.label.server.models import ServedModels
from medclipsam_monai.label.tasks.click_task import ClickSegmentation
from medclipsam_monai.label.tasks.text_task import TextSegmentation
from medclipsam_monai.networks.sam.sizes import SAM_SIZES, build_sam
from medclipsam_monai.phantoms.samples import sample_pictures
from medclipsam_monai.presets import load_preset
from medclipsam_monai.weights.clip_config import BIOMEDCLIP_FOLDER
from medclipsam_monai.weights.clip_folder import build_clip

FIRST_TEXT, SECOND_TEXT, CLICK = "a chest x-ray showing the lungs", "heart", [[100, 120]]


def write_sam(folder: Path) -> Path:
    """SAM ViT-B with random weights, as a folder that a preset names."""
    folder.mkdir()
    torch.manual_seed(0)
    size = SAM_SIZES["vit_b"]
    save_file(build_sam(size).state_dict(), folder / "sam.safetensors")
    (folder / "config.json").write_text(json.dumps(asdict(size)))
    return folder


def write_clip(folder: Path) -> Path:
    """A CLIP of BiomedCLIP's form and size with random weights, as a checkpoint that a preset names."""
    folder.mkdir()
    torch.manual_seed(1)
    path = folder / "biomedclip.safetensors"
    save_file({name: value.contiguous() for name, value in build_clip(BIOMEDCLIP_FOLDER).state_dict().items()}, path)
    return path


def write_preset(path: Path, like: str, **weights: Path) -> str:
    """A preset with other weights."""
    preset = load_preset(like)
    content = {"extends": like, "description": "random weights of real size", "clip": preset.clip}
    path.write_text(json.dumps({**content, **{role: str(place) for role, place in weights.items()}}))
    return str(path)


def request_seconds(task: Callable[[dict[str, Any]], tuple[str, Any]], **request: Any) -> float:
    """Wall time of one request; the mask it wrote is removed."""
    start = time.perf_counter()
    file, _ = task(request)
    elapsed = time.perf_counter() - start
    os.unlink(file)
    return elapsed


def row(name: str, preset: str, method: str, folder: Path, device: str) -> str:
    """The medians of first text, second text and click over some pictures, as a row of the table."""
    models = ServedModels(folder, device)
    text, click = TextSegmentation(models, preset=preset), ClickSegmentation(models, preset=preset)
    warm, *pictures = list(sample_pictures().values())[-4:]
    request_seconds(text, image=str(warm), text=FIRST_TEXT, method=method)
    times: dict[str, list[float]] = {"first": [], "second": [], "click": []}
    for picture in map(str, pictures):
        times["first"].append(request_seconds(text, image=picture, text=FIRST_TEXT, method=method))
        times["second"].append(request_seconds(text, image=picture, text=SECOND_TEXT, method=method))
        times["click"].append(request_seconds(click, image=picture, foreground=CLICK))
    first, second, clicked = (median(values) for values in times.values())
    ratios = f"{first / second:.1f} x | {clicked:.2f} s | {first / clicked:.1f} x"
    return f"| {name}, {method} | {first:.2f} s | {second:.2f} s | {ratios} |"


def main(device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps.")] = "cpu") -> None:
    """Print the table as Markdown."""
    print(f"torch {torch.__version__}, {device}, {torch.get_num_threads()} threads\n")
    print(
        "| CLIP, saliency; SAM ViT-B | first text | second text | ratio | a click | ratio |\n|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        sam, clip = write_sam(folder / "sam"), write_clip(folder / "clip")
        small = write_preset(folder / "small.json", "demo", sam=sam)
        real = write_preset(folder / "real.json", "biomedclip_sam_b", sam=sam, clip=clip)
        for name, preset, method in (
            ("the demo's", small, "m2ib"),
            ("BiomedCLIP's size", real, "m2ib"),
            ("BiomedCLIP's size", real, "gradcam"),
        ):
            print(row(name, preset, method, folder / "model", device), flush=True)


if __name__ == "__main__":
    typer.run(main)
