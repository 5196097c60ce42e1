"""Breast ultrasound: layers, speckle, shadows; round benign masses, spiculated malignant ones, cysts."""

from __future__ import annotations

import numpy as np

from medclipsam_monai.phantoms.scene import Dice, Scene, finish, locate
from medclipsam_monai.phantoms.shapes import (
    SIZE,
    Frame,
    Picture,
    blob,
    ellipse,
    inside,
    make_frame,
    paint,
    smooth_line,
    smooth_noise,
    soft,
    spikes,
    texture,
    wobble,
)

TASK = "breast_ultrasound"
_LARGE = 1500.0
_NAMES = ("benign tumour", "malignant tumour", "cyst")


def _layers(dice: Dice, frame: Frame) -> Picture:
    """Skin, fat, gland and muscle with wavy borders, as mean echo."""
    rng = dice.stream("layers")
    waves = [float(rng.uniform(2, 7)) * smooth_line(rng, 5)[None, :] for _ in range(3)]
    fat, gland, muscle = rng.uniform(-110, -98), rng.uniform(-85, -45), rng.uniform(60, 105)
    echo = np.full((SIZE, SIZE), rng.uniform(0.75, 0.95), np.float32)
    paint(echo, frame.y - fat - 0.5 * waves[0], rng.uniform(0.25, 0.4), 3)
    paint(echo, frame.y - gland - waves[1], rng.uniform(0.45, 0.7), 6)
    echo += 0.10 * smooth_noise(rng, 9)
    ligaments = np.abs(smooth_noise(rng, 7))
    paint(echo, (0.08 - ligaments) * 40, 0.8, 3, 0.35)
    depth = frame.y - muscle - waves[2]
    paint(echo, depth, 0.3 + 0.12 * np.sin(frame.y * np.float32(rng.uniform(0.3, 0.6))), 4)
    paint(echo, 2.5 - np.abs(depth), 0.95, 2)
    return echo


def _distract(dice: Dice, frame: Frame, echo: Picture) -> None:
    """Fat lobules a little darker than the gland, specks of calcium, and shadows from the skin."""
    rng = dice.stream("distractors")
    for _ in range(rng.integers(0, 4)):
        x, y, r = rng.uniform(-110, 110), rng.uniform(-90, 100), rng.uniform(8, 22)
        paint(echo, ellipse(frame, x, y, 1.8 * r, 0.7 * r, rng.uniform(-20, 20)), rng.uniform(0.36, 0.5), 6, 0.5)
    for _ in range(rng.integers(0, 5)):
        paint(echo, ellipse(frame, rng.uniform(-110, 110), rng.uniform(-80, 100), 2.2, 1.6), 1.3, 1.5)
    if rng.random() < 0.4:
        edge = rng.uniform(8, 28) - np.abs(frame.x - rng.uniform(-120, 120) - 0.1 * frame.y)
        echo *= 1 - np.float32(rng.uniform(0.3, 0.7)) * soft(edge, 14)


def _behind(frame: Frame, x: float, y: float, width: float) -> Picture:
    """Coverage of the beam behind a lesion at (x, y)."""
    return soft(width - np.abs(frame.x - np.float32(x)), 8) * soft(frame.y - np.float32(y), 10)


def _lesion(name: str, rng: np.random.Generator, frame: Frame, echo: Picture, x: float, y: float) -> Picture:
    """Draw one lesion into the echo, in place; returns its level."""
    r = float(rng.uniform(15, 28))
    if name == "malignant tumour":
        outline = spikes(rng, int(rng.integers(6, 12)), rng.uniform(0.2, 0.45))
        level = blob(frame, x, y, 0.9 * r, rng.uniform(0.95, 1.2) * r, outline, rng.uniform(-25, 25))
        echo *= 1 - np.float32(rng.uniform(0.5, 0.8)) * _behind(frame, x, y, 0.7 * r)
        paint(echo, level + 5, 0.85, 6, 0.5)
        paint(echo, level, 0.17 + 0.06 * smooth_noise(rng, 30), 2)
    elif name == "cyst":
        level = blob(frame, x, y, rng.uniform(1.0, 1.25) * r, 0.9 * r, wobble(rng, 0.06, 2, 4), rng.uniform(-20, 20))
        echo *= 1 + np.float32(rng.uniform(0.6, 1.1)) * _behind(frame, x, y, 0.8 * r)
        paint(echo, level + 2, 0.9, 2, 0.7)
        paint(echo, level, 0.015, 2)
    else:
        outline = wobble(rng, 0.1, 2, 4)
        level = blob(frame, x, y, rng.uniform(1.25, 1.6) * r, 0.8 * r, outline, rng.uniform(-15, 15))
        paint(echo, level + 2.5, 0.85, 2, 0.6)
        paint(echo, level, np.float32(rng.uniform(0.2, 0.3)), 2)
    return level


def _develop(dice: Dice, frame: Frame, echo: Picture) -> Picture:
    """Attenuation with depth, speckle, log compression."""
    rng = dice.stream("speckle")
    lateral = float(rng.choice([1.2, 1.8]))
    speckle = np.hypot(texture(rng, 0.8, lateral), texture(rng, 0.8, lateral)) / np.float32(1.25)
    depth = np.float32(rng.uniform(0.0, 0.0025)) * (frame.y + SIZE / 2)
    amplitude = np.clip(echo, 0, None) * np.exp(-depth) * (0.25 + 0.75 * speckle)
    compression = np.float32(rng.uniform(4, 9))
    return finish(np.log1p(compression * amplitude) / np.log1p(compression * np.float32(1.4)), rng)


def draw(dice: Dice) -> Scene:
    """A breast ultrasound with none, one or two lesions."""
    rng = dice.stream("pose")
    frame = make_frame(rng, rotate=4, zoom=(0.95, 1.15), shift=6)
    echo = _layers(dice, frame)
    _distract(dice, frame, echo)
    # Each lesion has its own place, so that flipping one never moves another.
    places = rng.permutation([-74.0, 0.0, 74.0])
    order = [str(name) for name in rng.permutation(list(_NAMES))]
    wanted = [name for name in order if dice.stream(f"{name} presence").random() < 0.45][:2]
    levels: dict[str, Picture] = {}
    for name, x in zip(_NAMES, places, strict=True):
        if (name in wanted) != (dice.toggle == name):
            own = dice.stream(name)
            levels[name] = _lesion(name, own, frame, echo, x + own.uniform(-8, 8), own.uniform(-30, 40))
    targets = {name: locate(inside(level), _LARGE) for name, level in levels.items()}
    return Scene(_develop(dice, frame, echo), targets, {}, _NAMES)
