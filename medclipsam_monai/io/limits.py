"""How large an image may be: checked from its header, before memory is taken for its pixels.

A file of a few kilobytes can promise billions of voxels. The limit is stated in the error, and raised by the option
``--max-voxels`` or the environment variable ``MEDCLIPSAM_MAX_VOXELS``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from medclipsam_monai.base.errors import InputError

MAX_VOXELS = 2**29
"""536,870,912: 2,048 slices of 512 x 512; as float32 two gigabytes."""
VARIABLE = "MEDCLIPSAM_MAX_VOXELS"


_allowed: ContextVar[int | None] = ContextVar("largest image", default=None)


@contextmanager
def largest_allowed(voxels: int | None) -> Iterator[None]:
    """A block in which images of up to so many voxels are read, in this thread; None changes nothing."""
    before = _allowed.set(_allowed.get() if voxels is None else voxels)
    try:
        yield
    finally:
        _allowed.reset(before)


def largest_image() -> int:
    """How many voxels an image may have.

    Raises:
        InputError: the environment variable holds no positive whole number.
    """
    allowed = _allowed.get()
    if allowed is not None:
        return allowed
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return MAX_VOXELS
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise InputError(f"{VARIABLE} must be a positive whole number, got {text!r}")
    return int(text)


def check_size(sides: Iterable[int], name: object) -> None:
    """Refuse an image that is larger than the limit.

    Args:
        sides: pixels along each of its axes, frames and colours too, as its header promises.
        name: the file, for the message.

    Raises:
        InputError: it has more voxels than `largest_image`.
    """
    sides = tuple(int(side) for side in sides)
    voxels, most = math.prod(sides), largest_image()
    if voxels > most:
        shape = " x ".join(f"{side:,}" for side in sides)
        raise InputError(
            f"{name}: promises {shape} = {voxels:,} voxels, the limit is {most:,}; if that is right, raise it by "
            f"--max-voxels {voxels} or {VARIABLE}={voxels}"
        )
