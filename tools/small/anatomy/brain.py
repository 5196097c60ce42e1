"""Brain MRI with tumours of five kinds, in heads of any view and contrast."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tools.small.anatomy import fields
from tools.small.anatomy.fields import Field, between, blob, paint
from tools.small.anatomy.head import Head, draw_tissue, start_head, ventricles
from tools.small.pictures import Picture
from tools.small.texts.words import COLUMN, UNKNOWN, states

KIND = "brain_mri"
_EMPTY = 0.25
_TWO = 0.12
_LEAST = 12
"""Pixels of a mask: fewer are no target."""


def _apart(rng: np.random.Generator, value: float, other: float, least: float) -> float:
    """A brightness moved until it is at least so far from another one."""
    if abs(value - other) >= least:
        return value
    up = other < 0.12 or (rng.random() < 0.6 and other < 0.85)
    return float(np.clip(other + (1 if up else -1) * least * rng.uniform(1, 1.8), 0.0, 1.0))


def _place(rng: np.random.Generator, head: Head, kind: str, size: float) -> tuple[float, float]:
    angle = rng.uniform(0, 2 * np.pi)
    if kind == "sellar":
        u, v = {"sagittal": (-0.22, 0.9), "coronal": (0, 0.62), "axial": (0, -0.15), "skull base": (0, -0.75)}[
            head.view
        ]
        return head.at(u + rng.normal(0, 0.05), v + rng.normal(0, 0.05))
    if kind == "at the border":
        away = 1 - 0.6 * size / min(head.half) * rng.uniform(0.5, 1.2)
    else:
        away = np.sqrt(rng.random()) * max(0.2, 0.95 - size / min(head.half))
    return head.at(away * np.cos(angle), away * np.sin(angle))


def _tumour(rng: np.random.Generator, head: Head, taken: Field | None) -> Field | None:
    """Draw a tumour, in place; returns its level, None if there was no room for it."""
    kind = str(rng.choice(["solid", "ring", "dark", "at the border", "sellar"], p=[0.22, 0.24, 0.16, 0.22, 0.16]))
    size = (
        rng.choice([between(rng, 0.06, 0.3), rng.uniform(0.1, 0.5)]) * head.half[0] * (0.6 if kind == "sellar" else 1.0)
    )
    edge = fields.outline(rng, rng.uniform(0.04, 0.28), 2, 8)
    radii = (size, size * rng.uniform(0.6, 1.2))
    tumour = blob(head.x, head.y, _place(rng, head, kind, size), radii, rng.uniform(0, np.pi), edge)
    tumour += np.float32(rng.uniform(0, 1.2) * min(1, size / 12)) * fields.smooth(rng, head.shape, 32, 32)
    tumour = np.minimum(tumour, head.brain + (4 if kind == "sellar" else 0))
    room = tumour > 0
    if room.sum() < _LEAST or (taken is not None and (room & (taken > -2)).any()):
        return None
    image, tone, soft = head.image, head.tone, between(rng, 1.2, 4 if kind in ("solid", "dark") else 2)
    around = float(image[(tumour > -6) & ~room & (head.brain > 0)].mean()) if kind != "sellar" else tone["grey"]
    if kind != "sellar" and rng.random() < 0.6:
        swelling = tumour + between(rng, 3, 30) * (1 + 0.35 * fields.smooth(rng, head.shape, 8, 8))
        opacity = np.float32(rng.uniform(0.3, 1)) * (1 - 0.5 * np.clip(-tumour / 30, 0, 1))
        paint(image, np.minimum(swelling, head.brain - 2), tone["oedema"], 5, opacity)
        around = 0.5 * (around + tone["oedema"])
    texture = fields.smooth(rng, head.shape, 20, 20) * np.float32(rng.uniform(0, 0.09))
    least = rng.uniform(0.09, 0.25)
    value = _apart(rng, tone["tumour"], around, least)
    if kind == "dark":
        value = _apart(rng, tone["core"], around, least)
        paint(image, tumour, value + 0.6 * texture, soft)
        rim = np.float32(rng.uniform(0.6, 2)) - np.abs(tumour - 1)
        paint(image, rim, max(value, around) + rng.uniform(0.05, 0.4), 2, rng.choice([0, rng.uniform(0.2, 1)]))
        return tumour
    paint(image, tumour, value + texture, soft)
    if kind == "ring" and size > 5:
        thick = np.float32(size * rng.uniform(0.12, 0.4)) * (1 + 0.4 * fields.smooth(rng, head.shape, 12, 12))
        paint(image, tumour - thick, _apart(rng, tone["core"], value, 0.15) + 0.5 * texture, between(rng, 1.5, 5))
    elif size > 8 and rng.random() < 0.4:  # small cysts in it
        holes = fields.smooth(rng, head.shape, 14, 14) - np.float32(rng.uniform(0.8, 1.5))
        paint(image, np.minimum(6 * holes, tumour - 2), _apart(rng, tone["core"], value, 0.1), 2)
    return tumour


def _develop(rng: np.random.Generator, head: Head) -> Field:
    """Bias of the coil, gain, blur, noise, contrast."""
    bias = np.exp(np.float32(rng.uniform(0, 0.16)) * fields.smooth(rng, head.shape, 3, 3))
    texture = 1 + np.float32(rng.uniform(0, 0.06)) * fields.smooth(rng, head.shape, 26, 26)
    image = ndimage.gaussian_filter(np.clip(head.image, 0, None) * bias * texture, between(rng, 0.3, 1.4))
    spread = np.float32(between(rng, 0.003, 0.05))
    soft = float(rng.choice([0.4, 0.7, 1.0]))
    image = np.hypot(image + spread * fields.grain(rng, head.shape, soft, soft),
                     spread * fields.grain(rng, head.shape, soft, soft))  # fmt: skip
    gain = between(rng, 0.13, 0.6) / max(0.05, float(image[head.brain > 0].mean()))
    image = np.clip(image * np.float32(min(gain, 2.0)), 0, 1) ** np.float32(between(rng, 0.8, 1.25))
    if rng.random() < 0.12:
        for _ in range(rng.integers(1, 3)):
            row, column = (int(rng.choice([0.01, 0.92]) * side) for side in head.shape)
            fields.write(rng, image, row, min(column, head.shape[1] - 60), rng.uniform(0.5, 1))
    return image


def draw_brain(rng: np.random.Generator) -> Picture:
    """An MRI of a head with no tumour (a quarter of them), one, or two; the hippocampus may be seen or not."""
    head = start_head(rng)
    draw_tissue(rng, head)
    masks: dict[str, NDArray[np.bool_]] = {}
    chambers = None
    if head.view != "skull base" and rng.random() < 0.7:
        chambers = np.minimum(ventricles(rng, head), head.brain - 3)
        paint(head.image, chambers, head.tone["fluid"], 2)
    count = 0 if rng.random() < _EMPTY else 2 if rng.random() < _TWO else 1
    found: Field | None = None
    for _ in range(count):
        tumour = next((t for t in (_tumour(rng, head, found) for _ in range(9)) if t is not None), None)
        if tumour is not None:
            found = tumour if found is None else np.maximum(found, tumour)
    if found is not None:
        masks["brain tumour"] = found > 0
    if chambers is not None:
        mask = (chambers > 0) & ~masks.get("brain tumour", np.zeros(head.shape, bool))
        if mask.sum() >= _LEAST:
            masks["ventricles"] = mask
    state = states(KIND, set(masks))
    state[COLUMN["hippocampus"]] = UNKNOWN
    pixels = np.repeat(np.round(255 * _develop(rng, head)).astype(np.uint8)[..., None], 3, axis=2)
    return Picture(KIND, pixels, masks, state)
