"""Phantom volumes by task and seed: the same patient on any grid, drawn one section after another."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.geometry import SMALLEST_SIDE
from medclipsam_monai.phantoms.dicom import AXIAL, OBLIQUE
from medclipsam_monai.phantoms.scene import Dice
from medclipsam_monai.phantoms.shapes import Frame
from medclipsam_monai.phantoms.volumes import head, torso
from medclipsam_monai.phantoms.volumes.solids import Drawn, Section

Mask = NDArray[np.bool_]
Spacing = tuple[float, float, float]
_MIDDLE = (12.5, -30.25, 40.75)  # mm, RAS, of the middle of a grid
_LPS = np.diag([-1.0, -1.0, 1.0])


class Patient(Protocol):
    """What can be drawn section by section."""

    def draw(self, section: Section, index: int) -> Drawn:
        """Draw section number `index`."""
        ...


@dataclass(frozen=True)
class _Task:
    patient: Callable[[Dice, Collection[str]], Patient]
    targets: tuple[str, ...]
    parts: tuple[str, ...]
    unit: float
    extent: Spacing
    dtype: type


_TASKS = {
    torso.TASK: _Task(torso.Torso, torso.TARGETS, torso.PARTS, torso.UNIT, torso.EXTENT, torso.DTYPE),
    head.TASK: _Task(head.Head, head.TARGETS, head.PARTS, head.UNIT, head.EXTENT, head.DTYPE),
}

VOLUME_TASKS: tuple[str, ...] = tuple(_TASKS)

VOLUME_TARGETS: Mapping[str, tuple[str, ...]] = {name: task.targets for name, task in _TASKS.items()}
"""What has a mask, by task; the first has label 1."""


@dataclass(frozen=True)
class PhantomVolume:
    """A volume with everything known about it.

    Attributes:
        image: (X, Y, Z), X to the patient's right, Y to the front and Z to the head, but for an oblique affine: int16
            in HU of a CT, float32 in [0, 1] of an MR.
        masks: (X, Y, Z) bool of each target, no two of which share a voxel; an absent target has no entry.
        parts: (X, Y, Z) bool of further structures.
        affine: 4 x 4, index to RAS millimetres.
        task: one of VOLUME_TASKS.
        seed: its index.
    """

    image: NDArray[Any]
    masks: Mapping[str, Mask]
    parts: Mapping[str, Mask]
    affine: NDArray[np.float64]
    task: str
    seed: int


def make_phantom_volume(
    task: str,
    seed: int,
    shape: Sequence[int] = (256, 256, 60),
    spacing: Sequence[float] | None = None,
    oblique: bool = False,
    without: Collection[str] = (),
) -> PhantomVolume:
    """Draw a volume.

    A seed is a patient of one size in millimetres; the grid says which part is seen how finely. One section is drawn at
    a time, and the volume takes at most 12 bytes a voxel.

    Args:
        task: one of VOLUME_TASKS.
        seed: zero or positive; the same arguments give the same volume.
        shape: voxels from left to right, back to front, foot to head.
        spacing: millimetres of a voxel along the same axes; None: such that the grid just holds the whole patient.
        oblique: the grid is turned in space by an angle about two axes, the patient with it.
        without: names of targets that are left out.

    Raises:
        InputError: an unknown task or target, a negative seed, a shape or spacing that cannot be drawn.

    Examples:
        >>> volume = make_phantom_volume("chest_abdomen_ct", 9_000_000, (64, 64, 24), without=["spleen"])
        >>> volume.image.shape, volume.image.dtype, list(volume.masks)
        ((64, 64, 24), dtype('int16'), ['lungs', 'heart', 'liver', 'kidneys', 'aorta'])
    """
    sides, steps = _check(task, seed, shape, spacing, without)
    drawing = _TASKS[task]
    dice = Dice(task, seed)
    patient = drawing.patient(dice, without)
    image: NDArray[Any] = np.zeros(sides, drawing.dtype, order="F")
    wanted = [name for name in drawing.targets if name not in without]
    masks, parts = ({name: np.zeros(sides, bool, order="F") for name in names} for names in (wanted, drawing.parts))
    for k, section in enumerate(_sections(dice, sides, [step / drawing.unit for step in steps])):
        drawn = patient.draw(section, k)
        image[..., k] = _laid(drawn.image.round() if drawing.dtype is np.int16 else drawn.image)
        for stored, found in ((masks, drawn.masks), (parts, drawn.parts)):
            for name, mask in found.items():
                stored[name][..., k] = _laid(mask)
    masks, parts = ({name: mask for name, mask in some.items() if mask.any()} for some in (masks, parts))
    return PhantomVolume(image, masks, parts, _affine(sides, steps, oblique), task, seed)


def _laid(picture: NDArray[Any]) -> NDArray[Any]:
    """(rows, columns) as it is looked at -> (X, Y): columns run to the patient's left, rows to the back."""
    return picture[::-1, ::-1].T


def _sections(dice: Dice, shape: Sequence[int], steps: Sequence[float]) -> list[Section]:
    """The sections from the foot to the head; `steps` in units."""
    rng = dice.stream("pose")
    zoom, (dx, dy) = rng.uniform(0.97, 1.08), rng.uniform(-3, 3, 2)
    lines = [(np.arange(n) - (n - 1) / 2) * step / zoom for n, step in zip(shape, steps, strict=True)]
    frame = Frame((lines[0] + dx)[None].astype(np.float32), (lines[1] + dy)[:, None].astype(np.float32))
    return [Section(frame, float(z), max(2.0, steps[0], steps[1])) for z in lines[2]]


def _affine(shape: Sequence[int], spacing: Sequence[float], oblique: bool) -> NDArray[np.float64]:
    row, column = np.array(OBLIQUE if oblique else AXIAL).reshape(2, 3)
    axes = _LPS @ np.stack([-row, -column, np.cross(row, column)], axis=1)
    affine = np.eye(4)
    affine[:3, :3] = axes * np.array(spacing)
    affine[:3, 3] = np.array(_MIDDLE) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def _check(
    task: str, seed: int, shape: Sequence[int], spacing: Sequence[float] | None, without: Collection[str]
) -> tuple[tuple[int, int, int], Spacing]:
    """Shape and spacing as they are to be drawn."""
    if task not in _TASKS:
        raise InputError(f"task must be one of {', '.join(VOLUME_TASKS)}, got {task!r}")
    if seed < 0:
        raise InputError(f"seed must be zero or positive, got {seed}")
    targets = VOLUME_TARGETS[task]
    if isinstance(without, str) or not set(without) <= set(targets):
        raise InputError(f"without must list some of {', '.join(targets)}, got {without!r}")
    if len(shape) != 3 or not all(isinstance(n, int | np.integer) and n >= SMALLEST_SIDE for n in shape):
        raise InputError(f"shape must be three whole numbers of at least {SMALLEST_SIDE}, got {tuple(shape)}")
    if spacing is None:
        spacing = [extent / n for extent, n in zip(_TASKS[task].extent, shape, strict=True)]
    if len(spacing) != 3 or not all(math.isfinite(step) and step > 0 for step in spacing):
        raise InputError(f"spacing must be three positive numbers of millimetres, got {tuple(spacing)}")
    x, y, z = shape
    return (int(x), int(y), int(z)), (float(spacing[0]), float(spacing[1]), float(spacing[2]))
