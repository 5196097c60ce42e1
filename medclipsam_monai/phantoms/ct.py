"""Axial CT of chest and abdomen: lungs, heart, liver, kidneys, masses, at levels where each may be missing."""

from __future__ import annotations

import numpy as np

from medclipsam_monai.phantoms.scene import Dice, Scene, Target, finish, hide, locate, parts_of
from medclipsam_monai.phantoms.shapes import (
    SIZE,
    Frame,
    Picture,
    blob,
    ellipse,
    inside,
    make_frame,
    paint,
    smooth_noise,
    soft,
    texture,
    wobble,
)

TASK = "chest_ct"
_LARGE = 900.0
# Level of the slice: how often, and which organs it usually shows.
_LEVELS: dict[str, tuple[float, frozenset[str]]] = {
    "apex": (0.14, frozenset({"lungs"})),
    "mid": (0.26, frozenset({"lungs", "heart"})),
    "collapsed": (0.1, frozenset({"heart"})),
    "dome": (0.16, frozenset({"lungs", "liver"})),
    "upper abdomen": (0.14, frozenset({"liver", "kidneys"})),
    "lower abdomen": (0.12, frozenset({"kidneys"})),
    "pelvis": (0.08, frozenset()),
}
_CHEST = ("apex", "mid", "collapsed", "dome")
_TOGGLES = {
    "apex": ("heart", "lungs"),
    "mid": ("heart", "lungs"),
    "collapsed": ("lungs", "heart"),
    "dome": ("liver", "lungs"),
    "upper abdomen": ("liver", "kidneys"),
    "lower abdomen": ("liver", "kidneys"),
    "pelvis": ("kidneys",),
}


def _body(dice: Dice, frame: Frame) -> tuple[Picture, Picture, Picture, dict[str, Picture]]:
    """Skin, fat, muscle, spine, ribs and table; returns the picture, the levels of body and cavity, and more levels."""
    rng = dice.stream("body")
    rx, ry = rng.uniform(92, 108), rng.uniform(66, 82)
    body = blob(frame, 0, 0, rx, ry, wobble(rng, 0.03, 2, 4))
    image = np.full((SIZE, SIZE), 0.01, np.float32)
    if rng.random() < 0.6:
        table = 2.0 - np.abs(frame.y - ry - rng.uniform(4, 12) + 0.0015 * frame.x**2)
        paint(image, table, 0.4, 2)
    fat = rng.uniform(4, 11)
    paint(image, body, 0.33, 2)
    paint(image, body - fat, 0.5 + 0.03 * smooth_noise(rng, 12), 3)
    cavity = body - fat - rng.uniform(7, 11)
    spine = np.maximum(ellipse(frame, 0, ry - 30, 14, 11), ellipse(frame, 0, ry - 14, 5, 12))
    cavity = np.minimum(cavity, -ellipse(frame, 0, ry - 22, 21, 22))
    for angle in np.deg2rad(np.arange(-60, 240, rng.uniform(24, 32))):
        x, y = (rx - fat - 6) * np.cos(angle), (ry - fat - 6) * np.sin(angle)
        paint(image, ellipse(frame, x, y, rng.uniform(6, 10), 2.6, np.rad2deg(angle) + 90), 0.92, 2)
    paint(image, spine, 0.85 + 0.05 * smooth_noise(rng, 40), 2)
    paint(image, ellipse(frame, 0, ry - 19, 4.5, 4), 0.5, 2)
    return image, body, cavity, {"spine": spine}


def _lungs(dice: Dice, frame: Frame, cavity: Picture, level: str) -> Picture:
    rng = dice.stream("lungs")
    gap = rng.uniform(15, 22)
    shrink = {"apex": rng.uniform(6, 16), "dome": rng.uniform(0, 5)}.get(level, 0.0)
    bow = gap + 8 * np.cos(frame.y * np.float32(np.pi / 110))
    return np.minimum(cavity - np.float32(shrink), np.abs(frame.x) - bow + 2 * smooth_noise(rng, 8))


def _heart(dice: Dice, frame: Frame, cavity: Picture) -> Picture:
    rng = dice.stream("heart")
    size = rng.uniform(0.9, 1.2)
    level = blob(frame, 12, -12, 42 * size, 31 * size, wobble(rng, 0.06, 2, 4), rng.uniform(15, 35))
    return np.minimum(level, cavity - 3)


def _liver(dice: Dice, frame: Frame, cavity: Picture, level: str) -> Picture:
    """The right lobe fills the left of the picture and tapers across the midline; under the lung it is a dome."""
    rng = dice.stream("liver")
    if level == "dome":
        dome = blob(frame, -46, rng.uniform(-4, 10), rng.uniform(30, 38), rng.uniform(30, 40), wobble(rng, 0.08, 2, 4))
        return np.minimum(dome, cavity - 2)
    edge = rng.uniform(-4, 18) - frame.x - 0.3 * np.clip(frame.y, -60, 60) + 4 * smooth_noise(rng, 6)
    tail = rng.uniform(18, 34) - frame.y
    return np.minimum(np.minimum(cavity - 2, 0.8 * edge), tail)


def _kidneys(dice: Dice, frame: Frame, cavity: Picture) -> tuple[Picture, Picture]:
    """Levels of both kidneys and of the fat at their hilum."""
    rng = dice.stream("kidneys")
    levels, hilum = [], []
    for side in (-1, 1):
        x, y = side * rng.uniform(42, 52), rng.uniform(22, 32)
        r = rng.uniform(16, 21)
        levels.append(blob(frame, x, y, r, 1.15 * r, wobble(rng, 0.08, 2, 4), side * 20))
        hilum.append(ellipse(frame, x - side * 0.7 * r, y - 2, 0.5 * r, 0.4 * r, side * 20))
    return np.minimum(np.maximum(*levels), cavity + 3), np.maximum(*hilum)


def _viscera(dice: Dice, frame: Frame, image: Picture, cavity: Picture) -> Picture:
    """Fat, bowel loops with and without gas, stomach or spleen, aorta: what fills an abdomen; returns the aorta."""
    rng = dice.stream("viscera")
    paint(image, cavity, 0.36, 3)
    for _ in range(rng.integers(6, 14)):
        x, y, r = rng.uniform(-70, 75), rng.uniform(-50, 25), rng.uniform(7, 15)
        loop = blob(frame, x, y, r * rng.uniform(1, 1.6), r, wobble(rng, 0.2), rng.uniform(0, 180))
        paint(image, np.minimum(loop, cavity - 1), rng.uniform(0.5, 0.6), 2)
        if rng.random() < 0.3:
            paint(image, np.minimum(loop - 4, -frame.y + y), 0.05, 2)
    if rng.random() < 0.6:
        spleen = blob(frame, 68, 5, 16, 34, wobble(rng, 0.12, 2, 4), -15)
        paint(image, np.minimum(spleen, cavity - 1), 0.62, 2)
    return ellipse(frame, 8, 26, 8, 8)


def _mediastinum(dice: Dice, frame: Frame, image: Picture, cavity: Picture) -> Picture:
    """Fat and great vessels between the lungs; returns the aorta."""
    rng = dice.stream("mediastinum")
    paint(image, cavity, 0.42 + 0.03 * smooth_noise(rng, 14), 3)
    for _ in range(rng.integers(2, 5)):
        vessel = ellipse(frame, rng.uniform(-14, 14), rng.uniform(-35, 10), rng.uniform(5, 8), rng.uniform(5, 8))
        paint(image, vessel, rng.uniform(0.56, 0.72), 2)
    return ellipse(frame, 13, 24, rng.uniform(7, 10), rng.uniform(7, 10))


def _air(dice: Dice, frame: Frame, image: Picture, lungs: Picture) -> None:
    """Aerated lung with its vessels."""
    rng = dice.stream("lung texture")
    value = rng.uniform(0.06, 0.2)
    paint(image, lungs, value + 0.02 * smooth_noise(rng, 20), 2.5)
    bright = np.clip(smooth_noise(rng, 36) - 1.1, 0, 1.2) * np.exp(-np.abs(frame.x) / 90)
    image += np.float32(0.35 * rng.uniform(0.3, 1)) * bright * soft(lungs - 3, 4)


def _mass(dice: Dice, frame: Frame, image: Picture, lungs: Picture) -> Target | None:
    """A soft-tissue mass inside an aerated lung; None where it would be all but hidden."""
    rng = dice.stream("lung mass")
    side, r = float(rng.choice([-1, 1])), float(rng.uniform(10, 19))
    x, y = side * rng.uniform(50, 66), rng.uniform(-24, 24)
    level = np.minimum(blob(frame, x, y, r, r * rng.uniform(0.85, 1.15), wobble(rng, 0.2)), lungs + 3)
    mask = inside(level)
    if mask.sum() < 150:
        return None
    paint(image, level, rng.uniform(0.52, 0.66), 2)
    return locate(mask, _LARGE)


def draw(dice: Dice) -> Scene:
    """An axial CT slice of one of the seven levels."""
    rng = dice.stream("pose")
    frame = make_frame(rng, rotate=6, zoom=(1.0, 1.22), shift=6)
    chances = [chance for chance, _ in _LEVELS.values()]
    level = str(rng.choice(list(_LEVELS), p=np.array(chances) / sum(chances)))
    flip = {dice.toggle} if dice.toggle in _TOGGLES[level] else set()
    organs = set(_LEVELS[level][1]) ^ flip
    image, body, cavity, more = _body(dice, frame)
    targets: dict[str, Target] = {}
    chest = level in _CHEST
    more["aorta"] = (_mediastinum if chest else _viscera)(dice, frame, image, cavity)
    if chest:
        _draw_chest(dice, frame, image, cavity, level, organs, targets)
    paint(image, more["aorta"], 0.7, 2)
    if "liver" in organs:
        liver = _liver(dice, frame, cavity, level)
        paint(image, liver, 0.63 + 0.02 * smooth_noise(dice.stream("liver texture"), 16), 2)
        targets = hide({**targets, "liver": Target(inside(liver))}, "liver")
    if "kidneys" in organs:
        kidneys, hilum = _kidneys(dice, frame, cavity)
        paint(image, kidneys + 3, 0.34, 3)
        paint(image, kidneys, 0.74, 2)
        paint(image, hilum, 0.4, 3)
        targets = hide({**targets, "kidneys": Target(inside(kidneys))}, "kidneys")
    noise = dice.stream("noise")
    image = image + np.float32(noise.uniform(0.005, 0.04)) * texture(noise, 0.8)
    mass = ("lung mass",) if "lungs" in organs and chest else ()
    return Scene(finish(image, noise), targets, parts_of(body=body, **more), _TOGGLES[level] + mass)


def _draw_chest(
    dice: Dice,
    frame: Frame,
    image: Picture,
    cavity: Picture,
    level: str,
    organs: set[str],
    targets: dict[str, Target],
) -> None:
    """Lungs or the fluid in their place, heart, mass; into `image` and `targets`."""
    lungs = _lungs(dice, frame, cavity, level)
    if "lungs" in organs:
        _air(dice, frame, image, lungs)
    else:
        paint(image, lungs, 0.5 + 0.02 * smooth_noise(dice.stream("fluid"), 10), 3)
    if "heart" in organs:
        heart = _heart(dice, frame, cavity)
        paint(image, heart + 2.5, 0.36, 2)
        paint(image, heart, 0.64 + 0.03 * smooth_noise(dice.stream("heart texture"), 8), 3)
        targets["heart"] = Target(inside(heart))
        lungs = np.minimum(lungs, -heart - 2.5)
    if "lungs" in organs:
        if dice.present("lung mass", 0.4):
            mass = _mass(dice, frame, image, lungs)
            if mass is not None:
                targets["lung mass"] = mass
                lungs = np.where(mass.mask, -1, lungs).astype(np.float32)
        targets["lungs"] = Target(inside(lungs))
