"""How much sooner the label app answers a second text, another threshold and a click on an image that is open.

    python -m tools.benchmarks.label                   # a few minutes on two cores, 5 GB of memory
    python -m tools.benchmarks.label --small           # the demo's own networks alone: half a minute
    python -m tools.benchmarks.label --device cuda

Whole requests without HTTP: reading the image, the text, saliency, SAM, writing the mask; pictures, and a volume of
256 x 256 x 64 voxels. SAM ViT-B at its real size has random, seeded weights; the CLIP is the small one that ships, and
one of BiomedCLIP's size. Needs the environment of the label app, see scripts/label.sh.
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

import nibabel as nib
import numpy as np
import torch
import typer
from safetensors.torch import save_file

from medclipsam_monai.label.models import ServedModels
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
    """The medians over some pictures, as a row of the table."""
    from medclipsam_monai.label.tasks.click_task import ClickSegmentation  # the extra "label", not needed for --help
    from medclipsam_monai.label.tasks.text_task import TextSegmentation

    models = ServedModels(folder, device)
    text, click = TextSegmentation(models, preset=preset), ClickSegmentation(models, preset=preset)
    warm, *pictures = list(sample_pictures().values())[-4:]
    request_seconds(text, image=str(warm), text=FIRST_TEXT, method=method)
    times: dict[str, list[float]] = {"first": [], "second": [], "threshold": [], "click": []}
    for picture in map(str, pictures):
        asked = {"image": picture, "method": method}
        times["first"].append(request_seconds(text, text=FIRST_TEXT, **asked))
        times["second"].append(request_seconds(text, text=SECOND_TEXT, **asked))
        times["threshold"].append(request_seconds(text, text=SECOND_TEXT, threshold=0.4, **asked))
        times["click"].append(request_seconds(click, image=picture, foreground=CLICK))
    first, *others = (median(values) for values in times.values())
    cells = [f"{seconds:.2f} s ({first / seconds:.1f} x)" for seconds in others]
    return f"| {name}, {method} | {first:.2f} s | {' | '.join(cells)} |"


def volume_line(preset: str, folder: Path, device: str) -> str:
    """The first click on a volume, which reads it, and the next ones on the same slice and on another."""
    affine, shape = np.diag([1.0, 1.0, 2.0, 1.0]), (256, 256, 64)
    voxels = np.random.default_rng(0).integers(-1000, 1000, shape).astype(np.int16)
    nib.save(nib.Nifti1Image(voxels, affine), folder / "volume.nii.gz")
    from medclipsam_monai.label.tasks.click_task import ClickSegmentation

    click = ClickSegmentation(ServedModels(folder / "model", device), preset=preset)
    asked = {"image": str(folder / "volume.nii.gz"), "window": "soft_tissue"}
    request_seconds(click, image=str(next(iter(sample_pictures().values()))), foreground=CLICK)
    first, same, other = (request_seconds(click, foreground=[[100, 120, number]], **asked) for number in (20, 20, 21))
    return f"a volume: first click {first:.2f} s, again {same:.2f} s, on another slice {other:.2f} s"


def main(
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps.")] = "cpu",
    small: Annotated[bool, typer.Option("--small", help="The demo's own networks alone.")] = False,
) -> None:
    """Print the table as Markdown, and a line about a volume."""
    print(f"torch {torch.__version__}, {device}, {torch.get_num_threads()} threads\n")
    print("| CLIP, saliency | first text | second text | another threshold | a click |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if small:
            print(row("the demo's networks", "demo", "m2ib", folder / "model", device), flush=True)
            print(f"\n{volume_line('demo', folder, device)}")
            return
        sam, clip = write_sam(folder / "sam"), write_clip(folder / "clip")
        light = write_preset(folder / "light.json", "demo", sam=sam)
        real = write_preset(folder / "real.json", "biomedclip_sam_b", sam=sam, clip=clip)
        for name, preset, method in (
            ("the demo's", light, "m2ib"),
            ("BiomedCLIP's size", real, "m2ib"),
            ("BiomedCLIP's size", real, "gradcam"),
        ):
            print(row(name, preset, method, folder / "model", device), flush=True)
        print(f"\n{volume_line(light, folder, device)}")


if __name__ == "__main__":
    typer.run(main)
