"""Breast ultrasound with benign and malignant tumours and cysts, under speckle, attenuation and marks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tools.small.anatomy import fields
from tools.small.anatomy.fields import Field, between, blob, cover, paint
from tools.small.anatomy.tissue import Scan, behind, draw_layers, draw_others, start_scan
from tools.small.pictures import Picture
from tools.small.texts.words import states

KIND = "breast_ultrasound"
_NAMES = ("benign tumour", "malignant tumour", "cyst")
_EMPTY = 0.25
_TWO = 0.12
_LEAST = 12
"""Pixels of a mask: fewer are no target."""


def _edge(name: str, rng: np.random.Generator) -> Field:
    """Of a lesion, an outline (360,)."""
    if name == "cyst":
        return fields.outline(rng, 0.06, 2, 4)
    if name == "benign tumour":
        return fields.outline(rng, rng.choice([0.05, 0.12, 0.2]), 2, 5)
    edge = fields.outline(rng, rng.uniform(0.1, 0.35), 2, 9)
    if rng.random() < 0.6:
        edge = edge * fields.angular(rng, int(rng.integers(6, 16)), rng.uniform(0.1, 0.4))
    if rng.random() < 0.4:
        edge = edge + fields.spikes(rng, int(rng.integers(3, 14)), rng.uniform(0.1, 0.5))
    return edge


def _lesion(name: str, rng: np.random.Generator, scan: Scan, allowed: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """Draw a lesion into the picture, in place; returns its mask, or None if there was no room for it."""
    height, width = scan.shape
    size = min(between(rng, 0.13, 0.6) * width, 0.62 * height) / 2
    flat = rng.uniform(0.65, 1.4) if name == "malignant tumour" else rng.uniform(0.42, 1.0)
    radii = (size, size * flat) if flat < 1 else (size / flat, size)
    top = max(0.12 * height, radii[1] + 3)
    centre = (np.clip(rng.normal(0.5, 0.18), 0.06, 0.94) * width, rng.uniform(top, max(top + 1, 0.68 * height)))
    level = blob(scan.x, scan.y, centre, radii, rng.normal(0, 0.25), _edge(name, rng))
    if min(radii) > 8:
        rough = 2.5 if name == "malignant tumour" else 0.7
        level = level + np.float32(rng.uniform(0, rough)) * fields.smooth(rng, scan.shape, 45, 45)
    mask = level > 0
    if mask.sum() < _LEAST or (mask & ~allowed).sum() > 0.3 * mask.sum():
        return None
    around = max(0.18, float(scan.echo[(level > -8) & ~mask].mean()))
    inner = fields.smooth(rng, scan.shape, int(rng.integers(8, 30)), int(rng.integers(8, 30)))
    soft, half = between(rng, 1.2, max(2.5, 0.3 * size)), 0.75 * radii[0]
    inner = inner + np.float32(rng.normal(0, 1.5)) * (scan.y - centre[1]) / np.float32(radii[1])
    if name == "cyst":
        paint(scan.echo, level + 2, around + rng.uniform(0, 0.15), 3, 0.6)
        paint(scan.echo, level, rng.uniform(-0.06, 0.06) + 0.008 * inner, soft)
        paint(scan.speckled, level, rng.uniform(0.2, 0.9), soft)
        scan.shade += np.float32(rng.uniform(0.05, 0.22)) * behind(scan, centre, half, 10 + half)
    elif name == "benign tumour":
        darker = rng.uniform(1.1, 1.35) if rng.random() < 0.05 else rng.uniform(0.35, 0.85)
        rim = np.exp(-(((level + 1.5) / np.float32(rng.uniform(1, 2.5))) ** 2))
        scan.echo += np.float32(rng.uniform(0, 0.2)) * rim
        paint(scan.echo, level, around * darker + np.float32(rng.uniform(0, 0.04)) * inner, soft)
        scan.shade += np.float32(rng.uniform(-0.04, 0.12)) * behind(scan, centre, half, 10 + half)
    else:
        halo = np.exp(-((np.minimum(level, 0) / np.float32(rng.uniform(3, 14))) ** 2))
        scan.echo += np.float32(rng.choice([0, rng.uniform(0.04, 0.2)])) * halo
        paint(
            scan.echo, level, around * rng.uniform(0.3, 0.85) + np.float32(rng.uniform(0.01, 0.08)) * inner, 1.5 * soft
        )
        scan.shade += np.float32(rng.choice([rng.uniform(-0.3, -0.05), rng.uniform(-0.05, 0.08)])) * behind(
            scan, centre, rng.uniform(0.5, 1.1) * half, 12 + half
        )
        for _ in range(rng.integers(0, 9) if rng.random() < 0.3 else 0):
            place = (centre[0] + rng.normal(0, 0.4 * radii[0]), centre[1] + rng.normal(0, 0.4 * radii[1]))
            paint(scan.echo, blob(scan.x, scan.y, place, (1.5, 1.2), 0), rng.uniform(0.4, 0.8), 2)
    if name != "malignant tumour" and rng.random() < 0.4:  # the edges of a smooth mass refract
        for side in (-1, 1):
            scan.shade -= np.float32(rng.uniform(0.02, 0.12)) * behind(
                scan, (centre[0] + side * radii[0], centre[1]), 3, 8
            )
    return mask


def _speckle(rng: np.random.Generator, scan: Scan) -> Field:
    """Logarithm of Rayleigh noise of unit mean power, wider with depth: (H, W)."""
    down = float(rng.choice([0.6, 0.9, 1.3, 1.8]))
    across = down * float(rng.choice([1.0, 1.5, 2.5]))

    def power(wider: float) -> Field:
        real, imaginary = (fields.grain(rng, scan.shape, down, across * wider) for _ in range(2))
        return 0.5 * (real * real + imaginary * imaginary)

    deep = np.clip(scan.depth / scan.shape[0], 0, 1)
    mixed = power(1.0) * (1 - deep) + power(2.0) * deep
    return 0.5 * np.log(mixed + np.float32(0.02))


def _develop(rng: np.random.Generator, scan: Scan) -> Field:
    """Speckle, attenuation, gain, contrast."""
    height, _ = scan.shape
    deep = np.clip(scan.depth / height, 0, 1)
    gain = 0.04 * fields.curve(rng, height, 6)[np.clip(scan.depth, 0, height - 1).astype(np.int32)]
    lost = np.float32(rng.uniform(-0.15, 0.7)) * deep ** np.float32(rng.uniform(0.8, 2.5))
    strength = np.float32(between(rng, 0.035, 0.17)) * scan.speckled
    image = scan.echo * (1 - lost) + scan.shade + np.float32(rng.uniform(0, 1)) * gain + strength * _speckle(rng, scan)
    image = np.clip(image + np.float32(rng.normal(0.03, 0.04)), 0, None) * np.float32(between(rng, 0.75, 1.35))
    return np.clip(image, 0, 1) ** np.float32(between(rng, 0.8, 1.35))


def _calipers(rng: np.random.Generator, image: Field, mask: NDArray[np.bool_], value: float) -> None:
    rows, columns = np.nonzero(mask)
    middle = (int(rows.mean()), int(columns.mean()))
    arm = int(rng.integers(1, 4))
    for row, column in (
        (middle[0], columns.min() - 2), (middle[0], columns.max() + 2), (rows.min() - 2, middle[1]),
        (rows.max() + 2, middle[1]),
    )[: int(rng.choice([2, 4]))]:  # fmt: skip
        row, column = row + int(rng.integers(-3, 4)), column + int(rng.integers(-3, 4))
        image[max(0, row - arm) : row + arm + 1, max(0, column) : max(0, column) + 1] = value
        image[max(0, row) : max(0, row) + 1, max(0, column - arm) : column + arm + 1] = value


def _frame(rng: np.random.Generator, image: Field, masks: dict[str, NDArray[np.bool_]]) -> Field:
    """Borders of one brightness, letters, a scale; masks grow with the picture, in place."""
    if rng.random() < 0.4:
        shares = np.where(rng.random(4) < 0.5, rng.uniform(0, 0.16, 4), 0)
        top, bottom, left, right = (int(s * n) for s, n in zip(shares, 2 * image.shape[:1] + 2 * image.shape[1:],
                                                               strict=True))  # fmt: skip
        edges = ((top, bottom), (left, right))
        image = np.pad(image, edges, constant_values=rng.choice([0.0, 0.02, rng.uniform(0, 0.45)], p=[0.6, 0.2, 0.2]))
        for name in masks:
            masks[name] = np.pad(masks[name], edges)
    height, width = image.shape
    for _ in range(rng.integers(1, 4) if rng.random() < 0.35 else 0):
        row = int(rng.choice([rng.uniform(0, 0.12), rng.uniform(0.78, 0.93)]) * height)
        fields.write(rng, image, row, int(rng.uniform(0, 0.8) * width), rng.uniform(0.4, 1), int(rng.choice([1, 1, 2])))
    if rng.random() < 0.2:
        column = int(rng.choice([2, width - 5]))
        image[:: int(rng.integers(12, 50)), column : column + 3] = rng.uniform(0.3, 0.9)
    return image


def draw_breast(rng: np.random.Generator) -> Picture:
    """An ultrasound of the breast with no lesion (a quarter of them), one, or two of two kinds."""
    scan, sector = start_scan(rng)
    muscle = draw_layers(rng, scan)
    draw_others(rng, scan, muscle)
    count = 0 if rng.random() < _EMPTY else 2 if rng.random() < _TWO else 1
    masks: dict[str, NDArray[np.bool_]] = {}
    allowed = np.ones(scan.shape, bool) if sector is None else sector > 0
    for name in rng.permutation(_NAMES)[:count].tolist():
        mask = next((m for m in (_lesion(name, rng, scan, allowed) for _ in range(9)) if m is not None), None)
        if mask is not None:
            masks[name] = mask & allowed
            allowed &= ~mask
    image = _develop(rng, scan)
    if sector is not None:
        image *= cover(sector, 2)
    if masks and rng.random() < 0.3:
        _calipers(rng, image, next(iter(masks.values())), rng.uniform(0.5, 1))
    image = _frame(rng, image, masks)
    pixels = np.repeat(np.round(255 * image).astype(np.uint8)[..., None], 3, axis=2)
    return Picture(KIND, pixels, masks, states(KIND, set(masks)))
