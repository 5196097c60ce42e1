"""The colours of the classes, one palette for overlays, masks and reports.

They are Okabe and Ito's, which people with the common kinds of colour blindness can tell apart
(https://jfly.uni-koeln.de/color).
"""

from __future__ import annotations

Colour = tuple[int, int, int]
"""Red, green and blue, 0..255."""

CLASS_COLOURS: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (204, 121, 167),
    (213, 94, 0),
    (0, 114, 178),
)
"""One colour a class, see `COLOUR_NAMES`; then from the start again."""

COLOUR_NAMES = ("orange", "sky blue", "green", "yellow", "purple", "vermilion", "blue")
"""What the `CLASS_COLOURS` are called."""
