"""Brain MR, axial: skull, folded cortex, ventricles; gliomas and meningiomas, subdural haematomas."""

from __future__ import annotations

import numpy as np

from medclipsam_monai.phantoms.scene import Dice, Scene, Target, finish, hide, locate, parts_of
from medclipsam_monai.phantoms.shapes import (
    Frame,
    Picture,
    blob,
    ellipse,
    inside,
    make_frame,
    paint,
    smooth_noise,
    texture,
    wobble,
)

TASK = "brain_mri"
_LARGE = 1500.0

# Signal of fat, grey matter, white matter, fluid, oedema, tumour and blood in three sequences.
_SEQUENCES = {
    "T1": (0.9, 0.45, 0.6, 0.1, 0.38, 0.88, 0.97),
    "T2": (0.75, 0.55, 0.38, 0.95, 0.7, 0.8, 0.9),
    "FLAIR": (0.7, 0.52, 0.42, 0.08, 0.68, 0.9, 0.85),
}


def _head(dice: Dice, frame: Frame, signal: tuple[float, ...]) -> tuple[Picture, Picture, Picture]:
    """Scalp, skull and brain; returns the picture and the levels of head and brain."""
    rng = dice.stream("head")
    fat, grey, white, fluid = signal[:4]
    rx, ry = rng.uniform(78, 92), rng.uniform(98, 112)
    head = blob(frame, 0, 0, rx, ry, wobble(rng, 0.02, 2, 4))
    image = np.full_like(head, 0.02)
    paint(image, head, fat * rng.uniform(0.7, 1.0), 2)
    paint(image, head - rng.uniform(4, 7), 0.07, 2)
    brain = head - rng.uniform(10, 14)
    paint(image, brain, fluid * 0.8 + 0.1, 2)
    folds = 2.5 * smooth_noise(rng, 22)
    paint(image, brain - 2, grey, 2)
    paint(image, brain - 9 - 2 * folds, white, 3)
    sulci = np.abs(smooth_noise(rng, 16))
    paint(image, np.minimum((0.13 - sulci) * 20, 22 - brain), fluid, 3, 0.5 * float(rng.random()))
    image[brain < 0] = np.where(head > 0, image, 0.02)[brain < 0]
    paint(image, np.minimum(1.2 - np.abs(frame.x + 1.5 * np.sin(frame.y / 30)), brain - 2), fluid, 2, 0.6)
    return image, head, brain


def _nuclei(dice: Dice, frame: Frame, image: Picture, brain: Picture, signal: tuple[float, ...]) -> None:
    """Deep grey matter and small vessels: things that are no target."""
    rng = dice.stream("nuclei")
    for side in (-1, 1):
        paint(image, ellipse(frame, side * 24, 8, 9, 17, -side * 15), signal[1], 5, 0.7)
    for _ in range(rng.integers(0, 6)):
        x, y = rng.uniform(-60, 60), rng.uniform(-75, 75)
        paint(image, np.minimum(ellipse(frame, x, y, 2.2, 2.2), brain - 4), float(rng.choice([0.05, 0.95])), 2)


def _ventricles(dice: Dice, frame: Frame) -> Picture:
    """Level of the two lateral ventricles: two bowed horns, and at times the third ventricle."""
    rng = dice.stream("ventricles")
    width, length = rng.uniform(8, 15), rng.uniform(26, 40)
    tilt, y = rng.uniform(8, 18), rng.uniform(-14, 4)
    levels = []
    for side in (-1, 1):
        x = side * (width + rng.uniform(2, 4))
        horn = ellipse(frame, x, y - 0.3 * length, 0.9 * width, 0.65 * length, side * tilt)
        tail = ellipse(frame, 1.35 * x, y + 0.5 * length, 0.75 * width, 0.6 * length, -side * 1.8 * tilt)
        levels.append(np.maximum(horn, tail))
    return np.maximum(*levels)


def _tumour(dice: Dice, frame: Frame, image: Picture, brain: Picture, signal: tuple[float, ...]) -> Target:
    """A glioma with rim, core and oedema, or a smooth meningioma that sits on the skull."""
    rng = dice.stream("brain tumour")
    kind = "glioma" if rng.random() < 0.6 else "meningioma"
    side, r = float(rng.choice([-1, 1])), float(rng.uniform(15, 30))
    oedema, bright = signal[4], signal[5] * rng.uniform(0.92, 1.08)
    if kind == "glioma":
        x, y = side * rng.uniform(28, 46), rng.uniform(-55, 55)
        level = np.minimum(blob(frame, x, y, r, r * rng.uniform(0.8, 1.2), wobble(rng, 0.35)), brain - 3)
        paint(image, np.minimum(level + rng.uniform(3, 12), brain - 3), oedema, 6, 0.8)
        paint(image, level, bright + 0.06 * smooth_noise(rng, 24), 2.5)
        if rng.random() < 0.6:
            paint(image, level - rng.uniform(0.28, 0.4) * r, 0.35 * bright, 4)
    else:
        angle = rng.uniform(-1.2, 1.2)
        x, y = side * 70 * np.cos(angle), 88 * np.sin(angle)
        level = np.minimum(blob(frame, x, y, 1.1 * r, 1.1 * r, wobble(rng, 0.1, 2, 4)), brain - 0.5)
        paint(image, level, np.float32(bright), 2)
    return locate(inside(level), _LARGE, kind)


def _haematoma(dice: Dice, frame: Frame, image: Picture, brain: Picture, signal: tuple[float, ...]) -> Target:
    """A crescent of blood between skull and brain."""
    rng = dice.stream("haematoma")
    side, thick = float(rng.choice([-1, 1])), float(rng.uniform(11, 20))
    inner = ellipse(frame, -side * thick, rng.uniform(-12, 12), 78, rng.uniform(84, 100))
    level = np.minimum(np.minimum(brain - 0.5, -inner), side * frame.x - 22)
    level = np.minimum(level, 72 - np.abs(frame.y - rng.uniform(-15, 15)))
    paint(image, level, signal[6] * np.float32(rng.uniform(0.9, 1.0)), 2)
    return locate(inside(level))


def draw(dice: Dice) -> Scene:
    """An axial brain slice with or without ventricles, tumour and haematoma."""
    rng = dice.stream("pose")
    frame = make_frame(rng, rotate=12, zoom=(0.88, 1.1), shift=8)
    signal = _SEQUENCES[str(rng.choice(["T1", "T1", "T2", "FLAIR"]))]
    image, head, brain = _head(dice, frame, signal)
    _nuclei(dice, frame, image, brain, signal)
    targets: dict[str, Target] = {}
    if dice.present("ventricles", 0.55):
        level = np.minimum(_ventricles(dice, frame), brain - 8)
        paint(image, level, signal[3], 2)
        targets["ventricles"] = Target(inside(level))
    if dice.present("haematoma", 0.3):
        targets["haematoma"] = _haematoma(dice, frame, image, brain, signal)
    if dice.present("brain tumour", 0.5):
        targets["brain tumour"] = _tumour(dice, frame, image, brain, signal)
        targets = hide(targets, "brain tumour")
    noise = dice.stream("noise")
    image *= np.clip(1 + 0.12 * smooth_noise(noise, 3), 0.6, 1.4)
    sigma = noise.uniform(0.01, 0.05)
    image = np.hypot(image + sigma * texture(noise, 0.5), sigma * texture(noise, 0.5))
    parts = parts_of(head=head, brain=brain)
    return Scene(finish(image, noise), targets, parts, ("ventricles", "haematoma", "brain tumour"))
