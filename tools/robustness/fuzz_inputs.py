"""Read damaged files of every kind, and sort what comes of them.

    python -m tools.robustness.fuzz_inputs                          # 1,000 mutations of each kind
    python -m tools.robustness.fuzz_inputs --kind mha --count 10000 --seed 5 --keep bad

Each file must be read as an image or be refused by one line that names it. What is read must have a finite affine, and
a small mask written for it must lie where it was drawn when other software opens it. Anything else is an offender and
ends the script with exit code 1. The files are read in a process that is started again when one of them ends it. Needs
Linux.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Annotated, Any

import nibabel as nib
import numpy as np
import typer
from PIL import Image

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import Geometry, read_image, restore_geometry, write_mask
from tools.robustness.fuzz_mutations import mutate
from tools.robustness.fuzz_seeds import SEEDS

GOOD = ("image", "refused")
OUTCOMES = (*GOOD, "wrong", "traceback", "crash", "time-out", "memory")
"""Image: read, and its mask is in place. Refused: by one line that names the file. Wrong: read with a geometry or a
mask that is not right, or refused by words that do not help. The rest says how it ended."""
_FORK = multiprocessing.get_context("fork")  # what this process has imported, the readers have
_MILLIMETRES = {"meter": 1000.0, "micron": 0.001}


@dataclass(frozen=True)
class Result:
    """What came of one damaged file."""

    kind: str
    index: int
    outcome: str
    detail: str
    seconds: float
    data: bytes


class WrongError(Exception):
    """Something about an image that was read is not right."""


def _expect(right: bool, what: str) -> None:
    if not right:
        raise WrongError(what)


def _check_places(found: np.ndarray, affine: np.ndarray, wanted: np.ndarray, reader: str) -> None:
    voxels = np.argwhere(found)
    _expect(len(voxels) == len(wanted), f"{reader} finds {len(voxels)} labelled voxels in the mask, not {len(wanted)}")
    places = voxels @ affine[:3, :3].T + affine[:3, 3]
    away = np.linalg.norm(places[:, None] - wanted[None], axis=-1).min(0)  # from each voxel drawn to the nearest found
    allowed = 1e-5 * max(1.0, np.abs(wanted).max()) + 1e-3 * np.linalg.norm(affine[:3, :3], axis=0).min()  # float32
    _expect(bool((away <= allowed).all()), f"{reader} sees the mask {away.max():g} mm from its place")


def _opened_by_nibabel(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The array with three axes and the affine to RAS in millimetres."""
    image: Any = nib.load(path)
    array = np.asarray(image.dataobj)
    scale = _MILLIMETRES.get(image.header.get_xyzt_units()[0], 1.0)
    return array.reshape((*array.shape, 1, 1)[:3]), np.diag([scale, scale, scale, 1]) @ image.affine


def _opened_by_itk(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The array with three axes, x first, and the affine to RAS in millimetres."""
    import SimpleITK as sitk

    image = sitk.ReadImage(str(path))
    size = image.GetDimension()
    affine = np.eye(4)
    affine[:size, :size] = np.reshape(image.GetDirection(), (size, size)) * np.array(image.GetSpacing())
    affine[:size, 3] = image.GetOrigin()
    array = sitk.GetArrayFromImage(image).T
    return array.reshape((*array.shape, 1, 1)[:3]), np.diag([-1.0, -1, 1, 1]) @ affine


def check_mask(label: np.ndarray, geometry: Geometry, affine: np.ndarray, folder: Path) -> None:
    """Write a mask and open it with other software.

    Args:
        label: (H, W[, D]), upright.
        geometry: of the image.
        affine: of the image, upright voxels to RAS millimetres.
        folder: to write in.

    Raises:
        WrongError: it has another shape, or does not lie where it was drawn.
    """
    path = write_mask(label, geometry, folder / "written_mask")
    if geometry.kind == "picture":
        with Image.open(path) as picture:
            pixels = np.asarray(picture)
        _expect(pixels.shape == geometry.shape, f"the mask is {pixels.shape}, its picture {geometry.shape}")
        _expect(
            np.array_equal(pixels, restore_geometry(label, geometry)), "the mask holds other labels than were drawn"
        )
        return
    drawn = np.argwhere(label)
    drawn = np.hstack([drawn, np.zeros((len(drawn), 3 - drawn.shape[1]))])
    wanted = drawn @ affine[:3, :3].T + affine[:3, 3]
    opened: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    if geometry.kind != "itk":
        opened["nibabel"] = _opened_by_nibabel(path)
    if geometry.kind != "nifti":  # ITK refuses the sheared affines that a NIfTI file may have
        opened["ITK"] = _opened_by_itk(path)
    for reader, (array, own) in opened.items():
        _expect(array.shape == geometry.volume_shape, f"{reader} sees {array.shape}, the image is {geometry.shape}")
        _check_places(array, own, wanted, reader)


def check_image(path: Path) -> None:
    """Read an image and look at what must hold for every one.

    Raises:
        InputError: it is refused.
        WrongError: what was read is not right.
    """
    image = read_image(path)
    affine, geometry = np.asarray(image.affine, dtype=float), image.meta["geometry"]
    _expect(image.ndim in (3, 4) and image.shape[0] in (1, 3), f"the image is {tuple(image.shape)}")
    _expect(bool(np.isfinite(affine).all()), "the affine is not finite")
    _expect(abs(np.linalg.det(affine[:3, :3])) > 0, "the affine spans no space")
    shape = tuple(image.shape[1:])
    _expect(geometry.display_shape == shape, f"meta says {geometry.display_shape}, the image is {shape}")
    _expect(sorted(geometry.volume_shape) == sorted((*shape, 1)[:3]), f"file {geometry.shape} is shown as {shape}")
    spacing = image.meta["spacing"]
    if spacing is not None:
        _expect(all(np.isfinite(s) and s > 0 for s in spacing), f"the spacing is {spacing}")
    label = np.zeros(shape, np.uint8)
    label[(slice(1, 4), slice(2, 7), slice(0, 1))[: len(shape)]] = 1  # in no way symmetric
    check_mask(label, geometry, affine, path.parent)


def judge(path: Path) -> tuple[str, str]:
    """Outcome of one file and a line about it."""
    try:
        check_image(path)
    except InputError as error:
        line = str(error)
        helps = "\n" not in line and path.name in line
        return ("refused" if helps else "wrong"), line
    except WrongError as error:
        return "wrong", str(error)
    except MemoryError as error:
        return "memory", repr(error)
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(frame.filename).name}, line {frame.lineno}, {frame.name}"
        return "traceback", f"{type(error).__name__}: {' '.join(str(error).split())[:200]} ({where})"
    return "image", ""


def _serve(questions: Connection, memory: int) -> None:
    """Judge one path after another; what libraries print and warn is dropped."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    warnings.simplefilter("ignore")
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + memory, held + memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while True:
        try:
            path = questions.recv()
        except EOFError:
            os._exit(0)
        questions.send(judge(path))


class Readers:
    """A process that judges files, started again when a file ends it.

    Args:
        seconds: for one file.
        memory: bytes of address space beyond what the process starts with.
    """

    def __init__(self, seconds: float = 10, memory: int = 6 * 2**30) -> None:
        self.seconds, self.memory = seconds, memory
        self._process: ForkProcess | None = None

    def judge(self, path: Path) -> tuple[str, str]:
        """Outcome of one file and a line about it."""
        if self._process is None:
            self._pipe, other = _FORK.Pipe()
            self._process = _FORK.Process(target=_serve, args=(other, self.memory), daemon=True)
            self._process.start()
            other.close()
        try:
            self._pipe.send(path)
            if self._pipe.poll(self.seconds):
                return self._pipe.recv()
            self.close()
            return "time-out", f"more than {self.seconds:g} s"
        except (EOFError, ConnectionError):
            self._process.join()
            code = self._process.exitcode
            self.close()
            return "crash", f"ended by signal {-code}" if code and code < 0 else f"exit code {code}"

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
            self._process = None


def make_seeds(kind: str) -> list[bytes]:
    """The valid files of a kind, made in a process of its own: ITK's threads do not outlive a fork."""
    ours, theirs = _FORK.Pipe(duplex=False)
    process = _FORK.Process(target=lambda: theirs.send(list(SEEDS[kind]())))
    process.start()
    theirs.close()
    seeds: list[bytes] = ours.recv()
    process.join()
    return seeds


def fuzz(kind: str, count: int, seed: int, readers: Readers) -> Iterator[Result]:
    """Judge the valid files of a kind, which must all be read, and then ``count`` damaged ones.

    Args:
        kind: a key of `SEEDS`.
        count: how many damaged files.
        seed: with the kind and the index it decides a file's damage.
        readers: who judges.
    """
    seeds = make_seeds(kind)
    with tempfile.TemporaryDirectory() as folder:
        for index in range(-len(seeds), count):
            rng = np.random.default_rng([seed, *kind.encode(), max(index, 0)])
            whole = seeds[index % len(seeds)]
            data = whole if index < 0 else mutate(whole, kind, rng)
            path = Path(folder, f"damaged.{kind}")
            path.write_bytes(data)
            start = time.perf_counter()
            outcome, detail = readers.judge(path)
            seconds = time.perf_counter() - start
            if index < 0 and outcome == "refused":
                outcome = "wrong"
            yield Result(kind, index, outcome, detail.replace(folder, ""), seconds, data)


def _keep(result: Result, seed: int, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{result.outcome}_{seed}_{result.index}.{result.kind}"
    (folder / name).write_bytes(result.data)
    with (folder / "offenders.txt").open("a", encoding="utf-8") as file:
        file.write(f"{name}: {result.detail}\n")


def table(counts: dict[str, Counter[str]], slowest: dict[str, float]) -> Iterator[str]:
    """Markdown: a row a kind."""
    yield f"| kind | files | {' | '.join(OUTCOMES)} | slowest, s |"
    yield "|---" * (len(OUTCOMES) + 3) + "|"
    for kind, found in counts.items():
        row = " | ".join(str(found[outcome]) for outcome in OUTCOMES)
        yield f"| .{kind} | {found.total()} | {row} | {slowest[kind]:.1f} |"


def main(
    kind: Annotated[
        list[str] | None, typer.Option(help=f"One of {', '.join(SEEDS)}. Repeatable; all by default.")
    ] = None,
    count: Annotated[int, typer.Option(help="Damaged files of each kind.")] = 1000,
    seed: Annotated[int, typer.Option(help="Decides the damage.")] = 0,
    seconds: Annotated[float, typer.Option(help="Time for one file.")] = 10,
    memory: Annotated[float, typer.Option(help="Gigabytes of address space that a file may take.")] = 6,
    keep: Annotated[Path | None, typer.Option(help="Folder for the offenders.")] = None,
) -> None:
    """Read damaged files of every kind, and count what comes of them."""
    kinds: Sequence[str] = kind or list(SEEDS)
    unknown = [name for name in kinds if name not in SEEDS]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join(SEEDS)}", param_hint="--kind")
    counts: dict[str, Counter[str]] = {name: Counter() for name in kinds}
    slowest = dict.fromkeys(kinds, 0.0)
    readers = Readers(seconds, int(memory * 2**30))
    for name in kinds:
        for result in fuzz(name, count, seed, readers):
            counts[name][result.outcome] += 1
            slowest[name] = max(slowest[name], result.seconds)
            if result.outcome not in GOOD:
                print(f"{result.outcome} .{name} seed {seed} index {result.index}: {result.detail}", file=sys.stderr)
                if keep:
                    _keep(result, seed, keep)
    readers.close()
    print("\n".join(table(counts, slowest)))
    if any(outcome not in GOOD for found in counts.values() for outcome in found):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
