"""The tissue of a breast ultrasound: curved layers of random echogenicity, strands, ribs, vessels, shadows.

Brightness is on a log-compressed scale, so that echogenicity, speckle, attenuation and shadows add up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tools.small.anatomy import fields
from tools.small.anatomy.fields import Field, between, blob, cover, paint


@dataclass
class Scan:
    """A picture in the making; all fields are (H, W).

    Attributes:
        x, y: of the pixels.
        depth: along the beam in pixels.
        beam: which beam, in pixels at half of the depth.
        echo: brightness without speckle.
        speckled: how much of the speckle is seen, 1 for most tissue.
        shade: what shadows and enhancement add, in the end.
    """

    x: Field
    y: Field
    depth: Field
    beam: Field
    echo: Field
    speckled: Field
    shade: Field

    @property
    def shape(self) -> tuple[int, int]:
        return self.x.shape[0], self.x.shape[1]

    def along(self, values: Field) -> Field:
        """What a curve over the beams is at every pixel."""
        return values[np.clip(self.beam, 0, len(values) - 1).astype(np.int32)]


def start_scan(rng: np.random.Generator) -> tuple[Scan, Field | None]:
    """An empty picture, and the level of the sector if it is one."""
    longest, ratio = rng.uniform(200, 272), between(rng, 0.68, 1.5)
    height, width = round(longest * min(1, 1 / ratio)), round(longest * min(1, ratio))
    x, y = fields.grid(height, width)
    depth, beam, sector = y, x, None
    if rng.random() < 0.12:
        apex = np.float32(height * between(rng, 0.5, 3))
        away = np.hypot(x - width / 2, y + apex)
        depth = away - apex
        angle = np.arctan2(x - width / 2, y + apex)
        beam = angle * (apex + height / 2) + np.float32(width / 2)
        half = rng.uniform(0.7, 1.1) * np.arctan2(width / 2, height / 2 + apex)
        sector = np.minimum((half - np.abs(angle)) * away, np.minimum(depth, height - depth))
    else:
        slope = rng.normal(0, 0.05)
        depth = y + np.float32(slope) * (x - np.float32(width / 2))
    zero = np.zeros((height, width), np.float32)
    return Scan(x, y, depth, beam, zero, zero + 1, zero.copy()), sector


def _strands(rng: np.random.Generator, scan: Scan) -> Field:
    """Bright short strands along bent layers, here and there, as fibrous tissue shows: (H, W) from 0 to about 2."""
    height = scan.shape[0]
    thick = float(rng.choice([0.8, 1.2, 2.0]))
    raw = fields.grain(rng, scan.shape, thick, thick * float(rng.choice([4.0, 8.0, 14.0])))
    bend = rng.uniform(0, 0.07) * height * fields.smooth(rng, scan.shape, 3, int(rng.integers(3, 6)))
    rows = np.clip(scan.y + bend, 0, 2 * height - 1).astype(np.int32)
    rows = np.where(rows < height, rows, 2 * height - 1 - rows)
    raw = raw[rows, scan.x.astype(np.int32)]
    patches = np.clip(fields.smooth(rng, scan.shape, 5, 4) + np.float32(rng.uniform(-0.5, 1)), 0, 1.5)
    return np.clip(raw - np.float32(rng.uniform(0.2, 1.2)), 0, None) * patches


def _sheets(rng: np.random.Generator, scan: Scan) -> Field:
    """Long thin ligaments, mostly flat: (H, W) from 0 to about 1."""
    noise = fields.smooth(rng, scan.shape, int(rng.integers(3, 9)), int(rng.integers(2, 4)))
    noise = noise + np.float32(rng.uniform(3, 8)) * (scan.y / scan.shape[0] - np.float32(rng.uniform(0.1, 0.8)))
    patches = np.clip(fields.smooth(rng, scan.shape, 5, 6), 0, 1)
    return np.exp(-((noise / np.float32(rng.uniform(0.06, 0.15))) ** 2)) * patches


def draw_layers(rng: np.random.Generator, scan: Scan) -> float:
    """Skin, fat, gland, muscle, and a rib at times; returns the depth of the muscle as a share of the height."""
    height, width = scan.shape
    base = rng.uniform(0.22, 0.45)
    ends = np.cumsum([between(rng, 0.015, 0.06), between(rng, 0.03, 0.35), rng.uniform(0.2, 0.7)])
    values = base + rng.normal(0, [0.12, 0.09, 0.07, 0.1])
    values[1] -= rng.uniform(0, 0.12)
    scan.echo += np.float32(values[0] + rng.uniform(0, 0.25))
    for k, end in enumerate(ends):
        bend = fields.curve(rng, width, int(rng.integers(2, 7))) * (rng.uniform(0.005, 0.05) if k else 0.004)
        edge = scan.depth - height * (np.float32(end) + scan.along(bend))
        paint(scan.echo, edge, float(values[k + 1]), between(rng, 2, 14))
        if rng.random() < 0.6:  # a fascia
            strand = np.exp(-((edge / np.float32(rng.uniform(1, 3))) ** 2))
            scan.echo += (
                np.float32(rng.uniform(0.05, 0.35))
                * strand
                * scan.along(np.clip(0.6 + fields.curve(rng, width, 9), 0, 1.3))
            )
        if k == 1:
            _lobules(rng, scan, edge)
        if k == 2:
            fibres = _strands(rng, scan)
            if rng.random() < 0.4:
                warp = 5 * fields.smooth(rng, scan.shape, 6, 4)
                fibres = fibres + 0.4 * np.sin((edge + warp) * np.float32(2 * np.pi / between(rng, 6, 22)))
            scan.echo += cover(edge, 10) * fibres * np.float32(rng.uniform(0, 0.12))
    rows = int(rng.integers(12, 40))
    scan.echo += np.float32(rng.uniform(0.01, 0.07)) * fields.smooth(rng, scan.shape, rows, max(5, rows // 2))
    scan.echo += np.float32(rng.uniform(0.0, 0.06)) * fields.smooth(rng, scan.shape, 6, 5)
    for _ in range(rng.integers(0, 4)):
        scan.echo += np.float32(rng.uniform(0.02, 0.16)) * _strands(rng, scan)
    for _ in range(rng.integers(0, 4)):
        scan.echo += np.float32(rng.uniform(0.05, 0.25)) * _sheets(rng, scan)
    return float(ends[2])


def _lobules(rng: np.random.Generator, scan: Scan, below: Field) -> None:
    """Fat lobules: flat dark cells with bright walls, above the gland and into it."""
    noise = fields.smooth(rng, scan.shape, int(rng.integers(8, 16)), int(rng.integers(4, 8)))
    where = cover(-below - 5, 12) * np.float32(rng.uniform(0, 1))
    walls = np.exp(-((noise / np.float32(rng.uniform(0.08, 0.2))) ** 2))
    scan.echo += where * (np.float32(rng.uniform(0.05, 0.25)) * walls - np.float32(rng.uniform(0, 0.08)))


def behind(scan: Scan, centre: tuple[float, float], half: float, soft: float) -> Field:
    """Coverage of the beams behind a place."""
    row, column = (int(np.clip(v, 0, n - 1)) for v, n in zip(centre[::-1], scan.shape, strict=True))
    near = cover(np.float32(half) - np.abs(scan.beam - scan.beam[row, column]), soft)
    return near * cover(scan.depth - scan.depth[row, column], soft)


def draw_others(rng: np.random.Generator, scan: Scan, muscle: float) -> None:
    """What is no lesion: a rib, flat dark lobules, vessels, bright specks, shadows from above."""
    height, width = scan.shape
    if rng.random() < 0.15:
        centre = (rng.uniform(0, width), height * min(0.95, muscle + rng.uniform(0, 0.15)))
        rib = blob(scan.x, scan.y, centre, (rng.uniform(0.1, 0.25) * width, rng.uniform(0.05, 0.12) * height), 0)
        paint(scan.echo, rib, rng.uniform(0.05, 0.25), 6)
        scan.echo += np.float32(rng.uniform(0.1, 0.4)) * np.exp(-((rib / 3) ** 2)) * (scan.y < centre[1])
        scan.shade -= np.float32(rng.uniform(0.1, 0.4)) * behind(scan, centre, 0.15 * width, 14)
    for _ in range(rng.integers(0, 5)):
        centre = (rng.uniform(0, width), rng.uniform(0.05, 0.8) * height)
        wide = between(rng, 0.06, 0.3) * width
        level = blob(scan.x, scan.y, centre, (wide, wide * rng.uniform(0.2, 0.45)), rng.normal(0, 0.2),
                     fields.outline(rng, 0.15))  # fmt: skip
        scan.echo += cover(level, 0.5 * wide) * np.float32(rng.uniform(-0.12, 0.06))
    for _ in range(int(rng.integers(1, 3)) if rng.random() < 0.3 else 0):
        centre, thick = (rng.uniform(0, width), rng.uniform(0.1, 0.8) * height), between(rng, 1.2, 4)
        vessel = blob(scan.x, scan.y, centre, (thick * between(rng, 1, 12), thick), rng.normal(0, 0.5))
        paint(scan.echo, vessel, rng.uniform(0, 0.15), 2, rng.uniform(0.4, 1))
    for _ in range(rng.integers(0, 8) if rng.random() < 0.3 else 0):
        speck = blob(scan.x, scan.y, (rng.uniform(0, width), rng.uniform(0, height)), (rng.uniform(1, 4), 1.2), 0)
        paint(scan.echo, speck, rng.uniform(0.5, 0.9), 2)
    for _ in range(rng.integers(0, 5)):
        centre = (rng.uniform(0, width), rng.uniform(0, 0.6) * height)
        half = between(rng, 2, 0.15 * width)
        scan.shade -= np.float32(rng.uniform(0.02, 0.14)) * behind(scan, centre, half, 1.5 * half + 6)
