"""Peak memory of segmenting one volume, in bytes a voxel over what the networks need by themselves.

    python -m tools.benchmarks.memory                                # 512 x 512 x 300, the demo networks
    python -m tools.benchmarks.memory --shape 256,256,60 --keep saliency

In a process of its own the networks are loaded and segment one small picture; then the high-water mark is set back
(Linux, /proc/self/clear_refs), and the volume, a CT of int16 on disk, is read, segmented by one text and saved. What
the mark rose by is divided by the voxels, and by the 4 bytes a voxel that the image takes as float32. M2IB takes few
steps and SAM no box: that costs quality, which nobody looks at here, and saves time, not memory.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any

import nibabel as nib
import numpy as np
import typer

from medclipsam_monai.base.errors import InputError

QUICK = {"saliency.steps": 2, "saliency.samples": 1}


def write_volume(path: Path, shape: tuple[int, int, int]) -> None:
    """A CT of noise with a brighter ball, int16, with 0.8 x 0.8 x 1 mm a voxel; written slice by slice."""
    rng = np.random.default_rng(0)
    values = np.empty(shape, np.int16)
    x, y = (np.linspace(-1, 1, side)[:, None] for side in shape[:2])
    for number, z in enumerate(np.linspace(-1, 1, shape[2])):
        values[..., number] = rng.integers(-1000, 200, shape[:2]) + 600 * (x**2 + y.T**2 + z**2 < 0.4)
    nib.save(nib.Nifti1Image(values, np.diag([-0.8, -0.8, 1.0, 1.0])), path)


def status(field: str) -> int:
    """A field of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def reset_peak() -> int:
    """Set the high-water mark back to what is resident now, and return that in bytes."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    return status("VmHWM")


def measure(pipe: Connection, volume: Path, output: Path, preset: str, keep: tuple[str, ...]) -> None:
    """The child: bytes before and at the peak, after each stage, and seconds, sent as one dictionary."""
    from medclipsam_monai import TextSegmenter

    segmenter = TextSegmenter.from_preset(preset, "cpu", settings=QUICK)
    segmenter(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8), "lungs")
    before, started = reset_peak(), time.perf_counter()
    segmentation = segmenter(volume, "lungs", keep=keep)
    segmented = status("VmHWM")
    segmentation.save(output)
    found: dict[str, Any] = {
        "before": before,
        "segmented": segmented,
        "saved": status("VmHWM"),
        "seconds": time.perf_counter() - started,
    }
    pipe.send(found)


def run(shape: tuple[int, int, int], preset: str, keep: tuple[str, ...]) -> dict[str, Any]:
    """Measure in a process of its own, and add the figures a voxel."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    with tempfile.TemporaryDirectory(prefix="medclipsam-") as name:
        volume = Path(name, "volume.nii")
        write_volume(volume, shape)
        arguments = (theirs, volume, Path(name, "out"), preset, keep)
        child = multiprocessing.get_context("spawn").Process(target=measure, args=arguments)
        child.start()
        theirs.close()
        try:
            found: dict[str, Any] = ours.recv()
        except EOFError:
            raise SystemExit("the run that is measured failed; see above") from None
        child.join()
    voxels = int(np.prod(shape))
    rise = {stage: (found[stage] - found["before"]) / voxels for stage in ("segmented", "saved")}
    return {
        "shape": list(shape),
        "preset": preset,
        "keep": list(keep),
        "networks_mb": round(found["before"] / 1e6),
        "bytes_a_voxel_segmented": round(rise["segmented"], 1),
        "bytes_a_voxel": round(rise["saved"], 1),
        "times_the_image_as_float32": round(rise["saved"] / 4, 2),
        "seconds": round(found["seconds"]),
    }


def sides(text: str) -> tuple[int, int, int]:
    """ "512,512,300" as numbers.

    Raises:
        InputError: not three positive whole numbers.
    """
    parts = text.split(",")
    if len(parts) != 3 or not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise InputError(f"--shape must be three positive whole numbers with commas between them, got {text!r}")
    return int(parts[0]), int(parts[1]), int(parts[2])


def main(
    shape: Annotated[str, typer.Option(help="Voxels along each axis of the file.")] = "512,512,300",
    preset: Annotated[str, typer.Option(help="Whose networks and parameters.")] = "demo",
    keep: Annotated[list[str] | None, typer.Option(help="saliency, probability: maps to keep. Repeatable.")] = None,
) -> None:
    """Measure, and print one line of JSON."""
    try:
        typer.echo(json.dumps(run(sides(shape), preset, tuple(keep or ()))))
    except InputError as error:
        typer.echo(f"memory: {error}", err=True)
        raise typer.Exit(2) from error


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    typer.run(main)
