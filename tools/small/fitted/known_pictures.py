"""Make the file by which a preset tells pictures that its weights know, and measure it on pictures that made no part.

    python -m tools.small.fitted.known_pictures DATA --weights small/clip --output known_pictures.safetensors

DATA holds open/segmentation.csv and segmentation.csv, see `tools.small.course`; of segmentation.csv the X-rays count
without their masks. The training side and drawn pictures give the centres, the side to choose by gives the distance
that counts as 1 (without pictures of random brightness, which are wilder than any real one), and the test side, chest
CTs that nothing learnt from, photographs and odd pictures are measured.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from scipy import ndimage
from scipy.cluster.vq import kmeans2
from torch import Tensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.networks.clip.load import load_text_image_encoder
from medclipsam_monai.networks.known_pictures import KnownPictures, token_summary
from medclipsam_monai.networks.protocols import TextImageEncoder
from medclipsam_monai.phantoms import make_phantom
from medclipsam_monai.phantoms.phantom import TASKS
from medclipsam_monai.phantoms.seeds import REAL_TRAINING
from medclipsam_monai.weights.registry import resolve, weight_hash
from tools.small.anatomy import WAYS
from tools.small.course import training_rows
from tools.small.pictures import HALVES, Row, half_of, read_pixels, read_rows

Pixels = NDArray[np.uint8]

KNOWN_AS = {
    "breast_ultrasound": "breast ultrasound",
    "brain_mri": "brain MRI",
    "chest_xray": "chest X-ray",
    "chest_ct": "chest CT",
    "fetal_ultrasound": "fetal ultrasound",
    "cardiac_mri": "cardiac MRI",
    "cell_microscopy": "microscopy image",
    "liver_ct": "abdominal CT",
    "nerve_ultrasound": "nerve ultrasound",
    "skin_dermoscopy": "dermoscopy image",
    "hippocampus_mri": "brain MRI",
    "torso_ct": "abdominal CT",
}
"""What the preset `small` calls each of `words.KINDS` where it lists what it knows."""
_CENTRES, _FOR_ONE = 4, 8
"""Centres of a group of pictures, and how many pictures a centre needs."""
_DIRECTIONS, _SHRINK = 96, 0.01
_PHOTOGRAPHS = ("astronaut", "brick", "camera", "chelsea", "coffee", "coins", "grass", "gravel", "page", "rocket",
                "text")  # fmt: skip

_WILD = tuple(draw.__name__ for ways in WAYS.values() for draw in ways)
"""Groups of pictures in which every tissue has a random brightness."""


@dataclass(frozen=True)
class Group:
    """Pictures of one kind and one origin.

    Attributes:
        name: of both.
        kind: as the preset calls it; empty for what it does not know.
        summaries: (N, F), see `token_summary`.
    """

    name: str
    kind: str
    summaries: Tensor


def known_pictures(train: Sequence[Group], choose: Sequence[Group], within: float = 0.99) -> KnownPictures:
    """Centres of groups of pictures in the space in which their spread about the centres is 1.

    Args:
        train: give the centres and the spread.
        choose: give the distance that counts as 1.
        within: share of those that are at a distance of 1 or less.
    """
    every = torch.cat([group.summaries for group in train]).double()
    mean, scale = every.mean(dim=0), every.std(dim=0).clamp_min(1e-6)
    _, _, rows = torch.linalg.svd((every - mean) / scale, full_matrices=False)
    to_space = rows[:_DIRECTIONS].T / scale[:, None]
    placed = [(group.summaries.double() - mean) @ to_space for group in train]
    centres, kinds, rest = [], [], []
    for group, points in zip(train, placed, strict=True):
        own, label = _centres(points)
        centres.append(own)
        kinds += [group.kind] * len(own)
        rest.append(points - own[label])
    apart = torch.cat(rest)
    spread = apart.T @ apart / len(apart)
    eye = torch.eye(len(spread), dtype=spread.dtype)
    spread = (1 - _SHRINK) * spread + _SHRINK * spread.trace() / len(spread) * eye
    whiten = torch.linalg.cholesky(torch.linalg.inv(spread))
    space = KnownPictures(mean, to_space @ whiten, torch.cat(centres) @ whiten, kinds)
    far = torch.cat([torch.stack(list(space.distances(group.summaries).values())).amin(dim=0) for group in choose])
    limit = float(torch.quantile(far, within))
    return KnownPictures(space.mean, space.directions / limit, space.centres / limit, kinds)


def _centres(points: Tensor) -> tuple[Tensor, Tensor]:
    """Of points (N, P) some centres (M, P), and the centre of each point (N,)."""
    count = min(_CENTRES, max(1, len(points) // _FOR_ONE))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a centre without points, which is dropped
        _, label = kmeans2(points.numpy(), count, minit="++", rng=np.random.default_rng(0))
    used, label = np.unique(label, return_inverse=True)
    means = torch.stack([points[torch.from_numpy(label == k)].mean(dim=0) for k in range(len(used))])
    return means, torch.from_numpy(label)


def summarise(encoder: TextImageEncoder, pictures: Sequence[Pixels]) -> Tensor:
    """Pictures (H, W, 3) to their summaries (N, F), float32."""
    found = []
    with torch.inference_mode():
        for pixels in pictures:
            picture = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).float()[None] / 255
            tokens = encoder.tokens_of_input(encoder.prepare(picture.to(encoder.device)), encoder.last_block)
            found.append(token_summary(tokens).cpu())
    return torch.cat(found)


def real_groups(data: Path, half: str, limit: int) -> Iterator[tuple[str, str, list[Pixels]]]:
    """Name, kind and pictures of the real images of one side of the split, at most so many of a kind."""
    rows = training_rows(data, half)
    rows += [row for row in read_rows(data / "segmentation.csv", {"lung_xray": "chest_xray"}) if _is(row, half)]
    for kind in dict.fromkeys(row.kind for row in rows):
        yield f"{kind}, real", KNOWN_AS[kind], _some([row for row in rows if row.kind == kind], limit)


def drawn_groups(half: str, count: int) -> Iterator[tuple[str, str, list[Pixels]]]:
    """Name, kind and pictures of each kind of drawn pictures."""
    side = HALVES.index(half)
    for task in TASKS:
        seeds = REAL_TRAINING.seeds(count, 30_000 * side)
        images = [np.round(make_phantom(task, seed, captions=0).image * 255).astype(np.uint8) for seed in seeds]
        yield f"{task}, phantoms", KNOWN_AS[task], [_rgb(image) for image in images]
    for kind, ways in WAYS.items():
        for draw in ways:
            rng = np.random.default_rng([77, side])
            yield f"{kind}, {draw.__name__}", KNOWN_AS[kind], [draw(rng).pixels for _ in range(count)]


def _is(row: Row, half: str) -> bool:
    return half_of(row.group) == half


def _some(rows: Sequence[Row], limit: int) -> list[Pixels]:
    images = list(dict.fromkeys(row.image for row in rows))
    chosen = sorted(np.random.default_rng(0).permutation(len(images))[:limit])
    return [read_pixels(images[k]) for k in chosen]


def odd_pictures(side: int = 256, seed: int = 0) -> dict[str, Pixels]:
    """Pictures of no kind (side, side, 3), by name: noise, a gradient, stripes, a chessboard, a screen, a landscape."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    found = {
        "gradient": _rgb((255 * x / side).astype(np.uint8)),
        "rings": _rgb((np.hypot(x - side / 2, y - side / 2) * 4 % 256).astype(np.uint8)),
        "stripes": _rgb((x // 16 % 2 * 255).astype(np.uint8)),
        "chessboard": _rgb(((x // 32 + y // 32) % 2 * 255).astype(np.uint8)),
        "screen": _screen(side, rng),
        "landscape": _landscape(side, rng),
    }
    for blur in (0.0, 1.0, 3.0, 8.0):
        grey, colour = rng.normal(size=(side, side)), rng.normal(size=(side, side, 3))
        found[f"noise {blur:g}"] = _rgb(_stretched(ndimage.gaussian_filter(grey, blur)))
        found[f"colour noise {blur:g}"] = _stretched(ndimage.gaussian_filter(colour, (blur, blur, 0)))
    return found


def _screen(side: int, rng: np.random.Generator) -> Pixels:
    """A window with a bar, and lines of words."""
    page = np.full((side, side, 3), 245, np.uint8)
    page[: side // 10] = (40, 90, 160)
    for row in range(side // 6, side - 16, 12):
        column = 16
        while column < side - 40:
            width = int(rng.integers(8, 40))
            page[row : row + 6, column : column + width] = rng.integers(20, 70)
            column += width + 6
    return page


def _landscape(side: int, rng: np.random.Generator) -> Pixels:
    """Sky, a sun, hills and a house, as a child would paint them."""
    y, x = np.mgrid[:side, :side] / side
    picture = np.stack([120 + 60 * y, 170 + 40 * y, np.full_like(y, 235)], axis=-1)
    picture[np.hypot(x - 0.8, y - 0.2) < 0.09] = (250, 220, 60)
    picture[y > 0.65 + 0.06 * np.sin(7 * x)] = (70, 150, 60)
    picture[(abs(x - 0.35) < 0.14) & (abs(y - 0.62) < 0.13)] = (190, 90, 70)
    picture[(abs(x - 0.35) < 0.5 * (y - 0.33)) & (y > 0.33) & (y < 0.5)] = (90, 50, 40)
    picture[(abs(x - 0.35) < 0.04) & (abs(y - 0.68) < 0.07)] = (60, 40, 30)
    return (picture + rng.normal(0, 4, picture.shape)).clip(0, 255).astype(np.uint8)


def photographs() -> dict[str, Pixels]:
    """Photographs that come with scikit-image; none where that is missing."""
    try:
        from skimage import data
    except ImportError:
        return {}
    return {name: _rgb(np.asarray(getattr(data, name)())) for name in _PHOTOGRAPHS}


def _rgb(image: NDArray[Any]) -> Pixels:
    return np.ascontiguousarray(np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image[..., :3])


def _stretched(image: NDArray[Any]) -> Pixels:
    return (255 * (image - image.min()) / np.ptp(image)).astype(np.uint8)


def report(known: KnownPictures, groups: Sequence[Group]) -> str:
    """A table of groups: how many pictures of each are familiar, are of the right kind, and may be of it."""
    lines = ["| pictures | n | familiar | right kind | kind not excluded | distance, median |", "|---" * 6 + "|"]
    for group in groups:
        nearest = known.nearest(group.summaries)
        familiar = np.mean([one.familiar for one in nearest])
        right = np.mean([one.kind == group.kind for one in nearest]) if group.kind else float("nan")
        open_ = np.mean([group.kind in one.kinds for one in nearest]) if group.kind else float("nan")
        median = np.median([one.distance for one in nearest])
        lines.append(f"| {group.name} | {len(nearest)} | {familiar:.2f} | {right:.2f} | {open_:.2f} | {median:.2f} |")
    return "\n".join(lines)


def main(
    data: Annotated[Path, typer.Argument(help="Folder of open/segmentation.csv and segmentation.csv.")],
    output: Annotated[Path, typer.Option(help="File to write, *.safetensors.")],
    weights: Annotated[str, typer.Option(help="CLIP that the file is for.")] = "small/clip",
    limit: Annotated[int, typer.Option(min=8, help="Pictures of a kind and side, drawn ones half as many.")] = 120,
    within: Annotated[float, typer.Option(min=0, max=1, help="Share of those to choose by that are familiar.")] = 0.99,
    device: Annotated[str, typer.Option(help="cpu, cuda or mps.")] = "cpu",
) -> None:
    """Write the file and print a table."""
    try:
        encoder = load_text_image_encoder(resolve(weights), device=device)
        sides = {}
        for half in HALVES:
            count = limit if half == "train" else limit // 3
            found = [*real_groups(data, half, count), *drawn_groups(half, count // 2)]
            sides[half] = [Group(name, kind, summarise(encoder, pictures)) for name, kind, pictures in found]
        scans = _some([*read_rows(data / "segmentation.csv", {"lung_ct": "chest_ct"})], limit // 3)
        near = [group for group in sides["choose"] if not group.name.endswith(_WILD)]
        known = known_pictures(sides["train"], near, within)
        known.save(output, {"clip": weight_hash(resolve(weights))})
    except InputError as error:
        typer.echo(f"known_pictures: {error}", err=True)
        raise typer.Exit(2) from error
    strange = [("odd, made", odd_pictures()), ("photographs", photographs())]
    strange += [("photographs in grey", {k: _rgb(p.mean(2).astype(np.uint8)) for k, p in photographs().items()})]
    groups = [*sides["test"], Group("chest_ct, real", KNOWN_AS["chest_ct"], summarise(encoder, scans))]
    groups += [Group(name, "", summarise(encoder, list(of.values()))) for name, of in strange if of]
    typer.echo(report(KnownPictures.load(output), groups))


if __name__ == "__main__":
    typer.run(main)
