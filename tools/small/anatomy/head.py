"""The head of a brain MRI, axial, coronal or sagittal: scalp, skull, face, cortex, ventricles, random in brightness.

A level is in pixels, positive inside. Brightness follows one of a few sequences loosely, or none at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from tools.small.anatomy import fields
from tools.small.anatomy.fields import Field, between, blob, paint

_TISSUES = ("scalp", "bone", "fluid", "grey", "white", "muscle", "vessel", "tumour", "core", "oedema")
_SEQUENCES = {
    "T1": (0.85, 0.08, 0.10, 0.34, 0.44, 0.38, 0.12, 0.28, 0.16, 0.28),
    "T1 with contrast": (0.80, 0.08, 0.10, 0.32, 0.38, 0.40, 0.85, 0.72, 0.18, 0.26),
    "T2": (0.65, 0.06, 0.95, 0.55, 0.38, 0.22, 0.08, 0.70, 0.88, 0.75),
    "FLAIR": (0.60, 0.06, 0.08, 0.48, 0.38, 0.28, 0.12, 0.75, 0.30, 0.75),
}
_SHARES = (0.12, 0.46, 0.12, 0.12, 0.18)  # the last one: any brightness for any tissue


@dataclass(frozen=True)
class Head:
    """A head in the making.

    Attributes:
        view: axial, skull base, coronal or sagittal.
        x, y: of the pixels, bent, in pixels from the middle of the brain; up is the vertex or the forehead.
        half: half axes of the brain in pixels.
        tone: brightness of each tissue, 0 to 1.
        image: (H, W).
        brain: level of the brain.
    """

    view: str
    x: Field
    y: Field
    half: tuple[float, float]
    tone: dict[str, float]
    image: Field
    brain: Field

    @property
    def shape(self) -> tuple[int, int]:
        return self.x.shape[0], self.x.shape[1]

    def at(self, u: float, v: float) -> tuple[float, float]:
        """A place in half axes of the brain."""
        return u * self.half[0], v * self.half[1]


def _tones(rng: np.random.Generator) -> dict[str, float]:
    which = int(rng.choice(len(_SHARES), p=_SHARES))
    if which == len(_SEQUENCES):
        values = rng.uniform(0.05, 0.95, len(_TISSUES))
        values[1] *= 0.4
    else:
        values = np.array(list(_SEQUENCES.values())[which]) * np.exp(rng.normal(0, 0.12, len(_TISSUES)))
    values = np.clip(values + rng.normal(0, 0.02, len(_TISSUES)), 0.01, 1.0)
    tone = dict(zip(_TISSUES, values.tolist(), strict=True))
    if abs(tone["fluid"] - tone["white"]) < 0.12:
        tone["fluid"] = 0.05 if tone["white"] > 0.3 else 0.8
    return tone


def _mixture(rng: np.random.Generator, head: Head, cells: int) -> Field:
    """Flesh of the face and the neck: patches of muscle, fat, air and bone, (H, W)."""
    noise = fields.smooth(rng, head.shape, cells, cells)
    noise += np.float32(0.5) * fields.smooth(rng, head.shape, 3 * cells, 3 * cells)
    steps = np.sort(rng.normal(0, 0.9, 4))
    muscle, fat = head.tone["muscle"], head.tone["scalp"]
    values = rng.permutation([muscle, 0.6 * muscle + 0.4 * fat, rng.uniform(0.5, 1) * fat, 0.8 * muscle, 0.04])
    patches = values.astype(np.float32)[np.searchsorted(steps, noise)]
    fine = fields.grain(rng, head.shape, 1.0, 1.0) * np.float32(rng.uniform(0, 0.06))
    return ndimage.gaussian_filter(patches, rng.uniform(0.6, 1.5)) + fine


def _face(rng: np.random.Generator, head: Head, skin: float) -> None:
    """Face, neck, eyes and nose where the view has them, in place; `skin` is the scalp's thickness."""
    if head.view == "axial":
        return
    flesh = _mixture(rng, head, int(rng.integers(9, 20)))
    (a, b), x, y = head.half, head.x, head.y
    if head.view == "skull base":
        outer = blob(x, y, (0, -0.95 * b), (rng.uniform(0.55, 0.85) * a, rng.uniform(0.6, 0.85) * b), 0)
        outer = np.maximum(outer, blob(x, y, (0, -1.6 * b), (0.13 * a, 0.25 * b), 0))
        eyes, size, nose = [(side * rng.uniform(0.33, 0.42) * a, -1.25 * b) for side in (-1, 1)], 0.17 * a, -1.35
    elif head.view == "coronal":
        outer = blob(x, y, (0, 1.0 * b), (rng.uniform(0.65, 0.95) * a, rng.uniform(0.8, 1.2) * b), 0)
        eyes, size, nose = [], 0.0, 1.3
        if rng.random() < 0.3:
            eyes, size = [(side * 0.42 * a, 0.85 * b) for side in (-1, 1)], 0.17 * a
    else:
        outer = blob(x, y, (-0.72 * a, 0.95 * b), (0.52 * a, rng.uniform(0.7, 0.95) * b), 0.15,
                     fields.outline(rng, 0.06, 2, 9))  # fmt: skip
        neck = blob(x, y, (rng.uniform(-0.1, 0.25) * a, 1.6 * b), (rng.uniform(0.5, 0.75) * a, 1.3 * b), 0.1)
        outer = np.maximum(outer, neck)
        eyes, size, nose = [], 0.0, 1.2
        if rng.random() < 0.5:
            eyes, size = [(-0.98 * a, 0.5 * b)], 0.16 * a
    paint(head.image, outer + skin, head.tone["scalp"], 2)
    paint(head.image, outer, flesh, 2)
    for _ in range(rng.integers(0, 4)):  # sinuses, nose, mouth
        across = -0.7 * a if head.view == "sagittal" else 0.0
        place = (across + rng.normal(0, 0.15) * a, (nose + rng.normal(0, 0.25)) * b)
        hole = blob(x, y, place, (between(rng, 0.05, 0.25) * a, between(rng, 0.05, 0.2) * b), rng.normal(0, 0.4),
                    fields.outline(rng, 0.2))  # fmt: skip
        paint(head.image, np.minimum(hole, outer), rng.choice([0.02, 0.02, head.tone["vessel"]]), 2)
    if rng.random() < 0.6 and eyes:
        eyes = eyes[:2]
        for eye in eyes:
            ball = blob(x, y, eye, (size, size), 0)
            paint(head.image, ball + 3, head.tone["scalp"], 3)
            paint(head.image, ball, head.tone["muscle"], 2)
            paint(head.image, ball - 2, head.tone["fluid"], 2)
    if head.view == "sagittal" and rng.random() < 0.7:  # vertebrae and their cord
        for k in range(int(rng.integers(2, 5))):
            bone = blob(x, y, (0.12 * a, (1.25 + 0.27 * k) * b), (0.14 * a, 0.1 * b), 0.1)
            paint(head.image, bone, rng.uniform(0.5, 1) * head.tone["scalp"], 2)
        paint(head.image, np.minimum(0.07 * a - np.abs(x - 0.36 * a), y - 0.8 * b), head.tone["white"], 2)


def start_head(rng: np.random.Generator) -> Head:
    """Scalp, skull, face, and the place of the brain."""
    view = str(rng.choice(["axial", "skull base", "coronal", "sagittal"], p=[0.36, 0.12, 0.2, 0.32]))
    side = rng.uniform(208, 264)
    height, width = round(side * min(1, between(rng, 0.85, 1.2))), round(side * min(1, between(rng, 0.85, 1.2)))
    x, y = fields.grid(height, width)
    room = min(height, width) * (rng.uniform(0.34, 0.47) if view != "axial" else rng.uniform(0.36, 0.46))
    a, b = {
        "axial": (room * rng.uniform(0.74, 0.9), room), "skull base": (0.74 * room, 0.62 * room),
        "coronal": (room * 0.78, room * rng.uniform(0.68, 0.8)),
        "sagittal": (room * 0.86, room * rng.uniform(0.62, 0.75)),
    }[view]  # fmt: skip
    lift = {"axial": 0.0, "skull base": -0.4, "coronal": 0.22, "sagittal": 0.35}[view]
    x -= np.float32(width / 2 + rng.normal(0, 0.02) * width + (0.1 * a if view == "sagittal" else 0))
    y -= np.float32(height / 2 - lift * b + rng.normal(0, 0.02) * height)
    turn = np.float32(rng.normal(0, 0.08) + (rng.choice([-1, 1]) * np.pi / 2 if rng.random() < 0.05 else 0))
    x, y = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
    bend = rng.uniform(0.005, 0.03) * room
    x, y = (c + np.float32(bend) * fields.smooth(rng, (height, width), 4, 4) for c in (x, y))
    if view == "sagittal" and rng.random() < 0.5:
        x = -x
    edge = fields.outline(rng, 0.025, 2, 6)
    brain = blob(x, y, (0, 0), (a, b), 0, edge)
    if view == "sagittal":  # cerebellum and brain stem
        brain = np.maximum(brain, blob(x, y, (0.5 * a, 0.72 * b), (0.42 * a, 0.4 * b), 0.2))
        brain = np.maximum(brain, blob(x, y, (0.12 * a, 0.95 * b), (0.14 * a, 0.55 * b), -0.2))
    elif view == "coronal":
        brain = np.maximum(brain, blob(x, y, (0, 0.75 * b), (0.5 * a, 0.42 * b), 0))
    tone = _tones(rng)
    image = np.full((height, width), rng.choice([0.01, rng.uniform(0, 0.06)]), np.float32)
    head = Head(view, x, y, (float(a), float(b)), tone, image, brain)
    skull, marrow, skin = rng.uniform(0.03, 0.12) * room, rng.random() < 0.4, rng.uniform(0.03, 0.1) * room
    if rng.random() < 0.06 and view == "axial":
        return head  # the skull is taken off
    outside = blob(x, y, (0, 0), (a + skull + skin, b + skull + skin), 0, edge)
    near = np.minimum(brain + skull + skin, outside + 4)
    paint(image, near, tone["scalp"] * (1 + 0.15 * fields.smooth(rng, head.shape, 12, 12)), 2)
    _face(rng, head, skin)
    paint(image, np.minimum(brain + skull, outside + 4), tone["bone"], 2)
    if marrow:
        diploe = 0.18 * skull - np.abs(brain + 0.55 * skull)
        paint(image, np.minimum(diploe, outside), rng.uniform(0.3, 0.9) * tone["scalp"], 2)
    return head


def _folds(rng: np.random.Generator, head: Head) -> Field:
    """Noise (H, W) near zero along the furrows of the cortex, which run inwards from its surface, bent."""
    cells = int(rng.integers(14, 30))
    noise = fields.smooth(rng, head.shape, cells, cells)
    inwards = fields.smooth(rng, (360, 64), int(rng.integers(30, 70)), int(rng.integers(2, 6)))
    bend = 8 * fields.smooth(rng, head.shape, 9, 9)
    turn = np.arctan2(head.y / head.half[1], head.x / head.half[0]) * np.float32(180 / np.pi) + bend
    depth = np.clip(head.brain / min(head.half) * 64, 0, 63)
    share = np.float32(rng.uniform(0.0, 0.6))
    return (1 - share) * inwards[turn.astype(np.int32) % 360, depth.astype(np.int32)] + share * noise


def draw_tissue(rng: np.random.Generator, head: Head) -> None:
    """Fluid, folded cortex, white matter, deep nuclei, midline, vessels, in place."""
    image, brain, tone = head.image, head.brain, head.tone
    paint(image, brain, tone["fluid"], 2)
    cortex, atrophy = rng.uniform(3, 8), rng.uniform(0, 3)
    folds = _folds(rng, head)
    shallow = np.exp(-np.clip(brain, 0, None) / np.float32(rng.uniform(0.08, 0.3) * head.half[0]))
    ribbon = np.abs(folds) + 0.6 * (1 - shallow) - np.float32(rng.uniform(0.25, 0.7)) * shallow
    paint(image, brain - atrophy, tone["grey"], 2)
    paint(image, np.minimum(brain - cortex, 9 * ribbon), tone["white"], 3)
    patches = np.clip(0.5 + fields.smooth(rng, head.shape, 6, 6), 0, 1)
    sulci = np.minimum((rng.uniform(0.05, 0.45) * shallow - np.abs(folds) - 0.1 * (1 - shallow)) * 6, brain)
    paint(image, sulci, tone["fluid"], 2, patches * np.float32(rng.uniform(0.3, 1.0)))
    for sign in (-1, 1) if head.view != "sagittal" else (rng.choice([-1, 1]),):
        deep = blob(head.x, head.y, head.at(0.28 * sign, rng.uniform(-0.1, 0.15)), head.at(0.16, 0.2), -0.2 * sign)
        paint(image, deep, tone["grey"], 6, rng.uniform(0, 1))
    if head.view == "sagittal":
        _hind(rng, head)
    elif rng.random() < 0.8:
        line = np.abs(head.x + 1.5 * np.sin(head.y / 25))
        paint(
            image, np.minimum(rng.uniform(0.4, 1.6) - line, brain), rng.choice([tone["fluid"], tone["vessel"]]), 2, 0.7
        )
    _vessels(rng, head)


def _hind(rng: np.random.Generator, head: Head) -> None:
    """Cerebellum with its leaves, corpus callosum and brain stem of a sagittal view, in place."""
    x, y, tone = head.x, head.y, head.tone
    small = blob(x, y, head.at(0.5, 0.72), head.at(0.38, 0.36), 0.2, fields.outline(rng, 0.06))
    paint(head.image, np.minimum(small + 3, head.brain - 1), tone["fluid"], 2, rng.uniform(0, 1))
    away = np.hypot(x - 0.2 * head.half[0], y - 0.7 * head.half[1]) + fields.smooth(rng, head.shape, 20, 20)
    leaves = np.sin(away * np.float32(2 * np.pi / between(rng, 4, 9)))
    paint(
        head.image, small, tone["grey"] + np.float32(rng.uniform(0, 0.25) * (tone["white"] - tone["grey"])) * leaves, 2
    )
    stem = blob(x, y, head.at(0.12, 0.85), head.at(0.12, 0.6), -0.2)
    paint(head.image, np.minimum(stem, head.brain + 2), tone["white"], 3)
    if rng.random() < 0.6:
        ring = np.abs(blob(x, y, head.at(0.05, 0.15), head.at(0.48, 0.5), 0.0)) * -1 + 0.035 * head.half[0]
        paint(head.image, np.minimum(ring, 0.05 * head.half[1] - y), tone["white"], 2)


def _vessels(rng: np.random.Generator, head: Head) -> None:
    """Thin vessels, and the sinuses at the vault, bright or black, in place."""
    tone = head.tone["vessel"]
    for _ in range(rng.integers(0, 3)):
        cells = int(rng.integers(5, 12))
        noise = fields.smooth(rng, head.shape, cells, cells)
        patches = np.clip(fields.smooth(rng, head.shape, 6, 6) - 0.6, 0, 1)
        paint(head.image, np.minimum((0.05 - np.abs(noise)) * 18, head.brain - 1), tone, 2, patches)
    for _ in range(rng.integers(0, 9)):
        dot = blob(head.x, head.y, head.at(*rng.uniform(-0.9, 0.9, 2)), (between(rng, 0.8, 3), between(rng, 0.8, 3)), 0)
        paint(head.image, np.minimum(dot, head.brain), tone, 2)
    if head.view != "sagittal" and rng.random() < 0.6:
        for v in (-0.98, 0.98):
            sinus = blob(head.x, head.y, head.at(0, v), head.at(0.09, 0.06), 0)
            paint(head.image, np.minimum(sinus, head.brain + 3), tone, 2, rng.uniform(0.3, 1))


def ventricles(rng: np.random.Generator, head: Head) -> Field:
    """Level of the ventricles that the view shows."""
    x, y, wide, cut = head.x, head.y, between(rng, 0.5, 1.8), rng.uniform(-0.15, 0.1)
    if head.view == "sagittal":
        outer = blob(x, y, head.at(0.1, 0.1), head.at(rng.uniform(0.35, 0.55), 0.42), rng.normal(0, 0.1))
        inner = blob(x, y, head.at(0.1, 0.1 + 0.13 * wide), head.at(0.42, 0.38), rng.normal(0, 0.1))
        level = np.minimum(np.minimum(outer, -inner), 0.15 * head.half[1] - y)
        fourth = blob(x, y, head.at(0.27, 0.72), head.at(0.05 * wide, 0.11), 0.3)
        return np.maximum(level, fourth) if rng.random() < 0.4 else level
    parts = []
    spread, tall = 0.09 * wide, rng.uniform(0.16, 0.34) if head.view == "axial" else rng.uniform(0.1, 0.17)
    for side in (-1, 1):
        u, own = side * (spread + 0.03), np.exp(rng.normal(0, 0.12))
        parts.append(blob(x, y, head.at(u, cut - 0.2), head.at(spread * own, tall), -side * rng.uniform(0.1, 0.5)))
        if head.view == "axial" and rng.random() < 0.8:
            place = head.at(side * (0.22 + 0.08 * wide), cut + 0.3)
            parts.append(blob(x, y, place, head.at(0.8 * spread, 0.8 * tall), side * rng.uniform(0, 0.6)))
    if rng.random() < 0.6:
        parts.append(blob(x, y, head.at(0, cut + 0.12), head.at(0.03 * wide, 0.12), 0))
    return np.maximum.reduce(parts)
