"""Frontal X-rays: lungs, heart, ribs, effusions, masses and pacemakers; also views in which lungs or heart are missing.

Five views, so that nothing follows from the modality: the whole chest; the apices alone (lungs, no heart); lungs
opaque on both sides (heart, no aerated lung); one side opaque (one lung, the heart hidden); the abdomen (neither).
"""

from __future__ import annotations

import numpy as np

from medclipsam_monai.phantoms.scene import Dice, Scene, Target, finish, locate, parts_of
from medclipsam_monai.phantoms.shapes import (
    SIZE,
    Frame,
    Mask,
    Picture,
    blob,
    ellipse,
    inside,
    make_frame,
    paint,
    smooth_noise,
    soft,
    stamp_letter,
    texture,
    wobble,
)

TASK = "chest_xray"
_VIEWS = {"chest": 0.5, "apices": 0.12, "white": 0.1, "one side": 0.12, "abdomen": 0.16}
_LARGE = 1200.0


def _lung(rng: np.random.Generator, frame: Frame, side: int) -> tuple[Picture, Picture]:
    """Level of one lung (side -1 left in the picture, 1 right) and of its diaphragm (positive above it)."""
    cx, rx = side * rng.uniform(42, 48), rng.uniform(33, 40)
    top, base = rng.uniform(-92, -80), rng.uniform(48, 72) + (6 if side > 0 else 0)
    dome = base + 0.011 * (frame.x - 0.9 * cx) ** 2 - 8
    # Narrow at the top: the half width grows with the square root of the depth below the apex.
    depth = np.clip((frame.y - top) / (base - top), 0, 1.2)
    half = rx * np.sqrt(np.sqrt(depth)) * np.float32(1.0)
    middle = cx - side * 6 * (1 - depth)
    wall = half - np.abs(frame.x - middle) + 1.5 * smooth_noise(rng, 8)
    return np.minimum(np.minimum(wall, frame.y - top), dome - frame.y), dome - frame.y


def _heart(rng: np.random.Generator, frame: Frame) -> Picture:
    size = rng.uniform(0.85, 1.25)
    body = ellipse(frame, 13 * size, 36, 43 * size, 31 * size, rng.uniform(15, 32))
    return np.maximum(body, ellipse(frame, 3, 4, 17 * size, 34))


def _bones(dice: Dice, frame: Frame, image: Picture, torso: Picture) -> None:
    """Spine, ribs and clavicles."""
    rng = dice.stream("bones")
    spine = rng.uniform(8, 11) - np.abs(frame.x)
    image += 0.13 * soft(spine, 5) * (0.8 + 0.2 * np.sin(frame.y * np.float32(2 * np.pi / rng.uniform(17, 22))))
    spacing, slope = rng.uniform(19, 24), rng.uniform(0.0035, 0.006)
    for bow, strength in ((slope, rng.uniform(0.05, 0.12)), (-0.6 * slope, rng.uniform(0.02, 0.05))):
        phase = (frame.y - bow * (np.abs(frame.x) - 20) ** 2 + rng.uniform(0, 20)) % spacing
        band = soft(3.0 - np.abs(phase - spacing / 2), 2.5)
        image += strength * band * soft(torso - 6, 6) * soft(np.abs(frame.x) - 10, 6) * soft(75 - frame.y, 20)
    for side in (-1, 1):
        line = frame.y + 82 + side * 0.18 * (frame.x - side * 40) + 3 * np.sin(frame.x / 18)
        image += 0.14 * soft(4.5 - np.abs(line), 2.5) * soft(side * frame.x - 10, 4) * soft(88 - side * frame.x, 4)


def _effusion(dice: Dice, frame: Frame, lungs: dict[int, tuple[Picture, Picture]]) -> tuple[int, Picture]:
    """Side and level of fluid at a lung's base, its surface rising towards the chest wall."""
    rng = dice.stream("pleural effusion")
    side = int(rng.choice([-1, 1]))
    lung, _ = lungs[side]
    rise = np.clip(side * frame.x - 30, 0, 60)
    surface = rng.uniform(14, 38) - 0.009 * rise**2
    return side, np.minimum(lung + 4, frame.y - surface)


def _mass(dice: Dice, frame: Frame) -> tuple[Picture, np.random.Generator]:
    rng = dice.stream("lung mass")
    side, r = int(rng.choice([-1, 1])), float(rng.uniform(12, 23))
    x, y = side * rng.uniform(38, 54), rng.uniform(-55, 12)
    return blob(frame, x, y, r, r * rng.uniform(0.85, 1.15), wobble(rng, 0.18)), rng


def _pacemaker(dice: Dice, frame: Frame, image: Picture) -> Mask:
    """A generator below one clavicle with its lead to the heart; the mask is the generator's."""
    rng = dice.stream("pacemaker")
    side = int(rng.choice([-1, 1]))
    x, y = side * rng.uniform(50, 66), rng.uniform(-66, -48)
    level = ellipse(frame, x, y, rng.uniform(15, 20), rng.uniform(13, 17), rng.uniform(-30, 30), 3.0)
    t = np.clip((frame.y - y) / (40 - y), 0, 1)
    path = x + (14 - x) * t**0.5 + side * 10 * np.sin(np.pi * t)
    wire = np.minimum(1.1 - 0.7 * np.abs(frame.x - path), np.minimum(frame.y - y, 40 - frame.y))
    paint(image, wire, 0.95, 1.2)
    paint(image, level, 0.97, 1.5)
    paint(image, level - 7, 0.88, 2)
    return inside(level)


def _abdomen(dice: Dice, frame: Frame, image: Picture, torso: Picture) -> None:
    """Bowel gas, pelvis and flank fat: dark and bright shapes that are neither lung nor heart."""
    rng = dice.stream("abdomen")
    for _ in range(rng.integers(3, 9)):
        x, y, r = rng.uniform(-60, 60), rng.uniform(-70, 50), rng.uniform(7, 16)
        level = blob(frame, x, y, r * rng.uniform(1, 1.8), r, wobble(rng, 0.3), rng.uniform(0, 180))
        paint(image, np.minimum(level, torso - 8), rng.uniform(0.2, 0.35), 5, 0.8)
    for side in (-1, 1):
        wing = blob(frame, side * 58, 92, 40, 34, wobble(rng, 0.1), side * 30)
        paint(image, wing, 0.75, 4, 0.7)


def _marker(dice: Dice, image: Picture) -> None:
    rng = dice.stream("marker")
    if rng.random() < 0.5:
        letter = str(rng.choice(["R", "L"]))
        column = int(rng.integers(6, 30)) if letter == "R" else int(rng.integers(SIZE - 40, SIZE - 16))
        stamp_letter(image, letter, int(rng.integers(4, 40)), column, 2, float(rng.uniform(0.8, 1.0)))


def _fill_lungs(
    dice: Dice, frame: Frame, image: Picture, lungs: dict[int, tuple[Picture, Picture]], white: set[int]
) -> Picture:
    """Paint each lung aerated or opaque; returns the level of what is aerated."""
    rng = dice.stream("lung fields")
    air = np.full((SIZE, SIZE), -10.0, np.float32)
    vessels = 0.05 * np.clip(smooth_noise(rng, 40), 0, 3) + 0.03 * smooth_noise(rng, 12)
    darkness, haze = rng.uniform(0.12, 0.28), rng.uniform(0.6, 0.72)
    for side, (level, _) in lungs.items():
        hilum = np.exp(-((np.hypot(frame.x - side * 22, frame.y + 5) / 28) ** 2)).astype(np.float32)
        if side in white:
            paint(image, level + 2, haze + 0.04 * smooth_noise(rng, 9), 6)
        else:
            paint(image, level, darkness + vessels + 0.15 * hilum, 5)
            air = np.maximum(air, level)
    return air


def draw(dice: Dice) -> Scene:
    """A frontal X-ray of one of the five views."""
    rng = dice.stream("pose")
    view = str(rng.choice(list(_VIEWS), p=list(_VIEWS.values())))
    has_lungs = (view in ("chest", "apices", "one side")) != (dice.toggle == "lungs" and view in ("chest", "white"))
    has_heart = (view in ("chest", "white")) != (dice.toggle == "heart" and view in ("chest", "one side"))
    hidden_side = int(rng.choice([-1, 1]))
    if view == "apices":
        frame = make_frame(rng, 5, (1.5, 1.8), 8, (0, -62))
    else:
        frame = make_frame(rng, 5, (0.92, 1.12), 8)

    image = np.full((SIZE, SIZE), rng.uniform(0.02, 0.1), np.float32)
    torso = np.minimum(ellipse(frame, 0, 40, rng.uniform(95, 112), 175, 0, 3.0), frame.y + 135)
    paint(image, torso, rng.uniform(0.48, 0.6) + 0.03 * smooth_noise(rng, 5), 10)
    _bones(dice, frame, image, torso)
    targets: dict[str, Target] = {}
    parts: dict[str, Mask] = {}
    toggles: tuple[str, ...] = ()
    if view == "abdomen":
        _abdomen(dice, frame, image, torso)
    else:
        toggles = _draw_chest(dice, frame, image, view, has_lungs, has_heart, hidden_side, targets, parts)
    _marker(dice, image)
    noise = dice.stream("noise")
    image += 0.02 * texture(noise, float(noise.choice([0.6, 1.0]))) + 0.04 * smooth_noise(noise, 3)
    return Scene(finish(image, noise), targets, parts, toggles)


def _draw_chest(
    dice: Dice,
    frame: Frame,
    image: Picture,
    view: str,
    has_lungs: bool,
    has_heart: bool,
    hidden_side: int,
    targets: dict[str, Target],
    parts: dict[str, Mask],
) -> tuple[str, ...]:
    """Everything inside the chest, into `image`, `targets` and `parts`; returns what can be flipped alone."""
    rng = dice.stream("chest")
    lungs = {side: _lung(rng, frame, side) for side in (-1, 1)}
    heart = _heart(rng, frame)
    one_side = view == "one side" or (view == "chest" and has_lungs and not has_heart)
    # One opaque side hides the heart; flipped back, the heart lies between two aerated lungs.
    one_side = one_side and not has_heart
    white = {-1, 1} if not has_lungs else ({1, hidden_side} if one_side else set())
    if one_side and hidden_side == -1:
        white = {1}
    air = _fill_lungs(dice, frame, image, lungs, white)
    apical = view == "apices"
    if has_heart:
        paint(image, heart, 0.66 if has_lungs else 0.86, 4, 0.95)
        air = np.minimum(air, -heart)
        targets["heart"] = Target(inside(heart))
    elif has_lungs and not apical:
        mediastinum = 16 - np.abs(frame.x)
        paint(image, np.minimum(mediastinum, 60 - frame.y), 0.62, 5)
        air = np.minimum(air, -mediastinum)
    toggles = ["pacemaker"] + (["lungs"] if view in ("chest", "white") and has_heart else [])
    toggles += ["heart"] if view in ("chest", "one side") and has_lungs else []
    if has_lungs and not apical:
        toggles += ["pleural effusion", "lung mass"]
        air = _draw_findings(dice, frame, image, lungs, air, white, targets)
    if has_lungs:
        targets["lungs"] = Target(inside(air))
        parts.update(parts_of(left=np.minimum(air, -frame.x), right=np.minimum(air, frame.x)))
    if dice.present("pacemaker", 0.35):
        mask = _pacemaker(dice, frame, image)
        if mask.sum() > 80:
            targets["pacemaker"] = locate(mask)
    return tuple(toggles)


def _draw_findings(
    dice: Dice,
    frame: Frame,
    image: Picture,
    lungs: dict[int, tuple[Picture, Picture]],
    air: Picture,
    white: set[int],
    targets: dict[str, Target],
) -> Picture:
    """Effusion and mass in the aerated lungs; returns what is left of the air."""
    if dice.present("pleural effusion", 0.35):
        side, level = _effusion(dice, frame, lungs)
        if side not in white:
            paint(image, level, 0.7, 5, 0.95)
            mask = inside(level)
            if "heart" in targets:
                mask &= ~targets["heart"].mask
            targets["pleural effusion"] = locate(mask)
            air = np.minimum(air, -level)
    if dice.present("lung mass", 0.35):
        level, rng = _mass(dice, frame)
        visible = np.minimum(level, air + 6)
        if inside(visible).sum() > 150:
            paint(image, visible, rng.uniform(0.58, 0.72), 3, 0.92)
            targets["lung mass"] = locate(inside(visible), _LARGE)
    return air
