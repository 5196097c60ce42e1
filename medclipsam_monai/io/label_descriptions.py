"""Names and colours of the classes as ITK-SNAP's label file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medclipsam_monai.base.colours import CLASS_COLOURS, Colour
from medclipsam_monai.base.files import write_text
from medclipsam_monai.io.formats.nrrd_writer import plain_name

_RULE = "#" * 48
_HEAD = f"""{_RULE}
# ITK-SnAP Label Description File
# File format:
# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
# Fields:
#    IDX:   Zero-based index
#    -R-:   Red color component (0..255)
#    -G-:   Green color component (0..255)
#    -B-:   Blue color component (0..255)
#    -A-:   Label transparency (0.00 .. 1.00)
#    VIS:   Label visibility (0 or 1)
#    MSH:   Label mesh visibility (0 or 1)
#  LABEL:   Label description
{_RULE}
    0     0    0    0        0  0  0    "Clear Label"
"""


def write_label_descriptions(path: str | Path, names: Sequence[str], colours: Sequence[Colour] = CLASS_COLOURS) -> Path:
    """Writes ITK-SNAP's label file (Segmentation > Import label descriptions).

    Args:
        path: the whole name, such as ``scan_labels.txt``.
        names: class ``names[i]`` has label i + 1. Line ends become spaces, and ``"`` becomes ``'``: ITK-SNAP reads a
            name up to the next quotation mark and knows no other way to write one.
        colours: of the classes, from the start again where there are fewer.

    Raises:
        InputError: the file cannot be written.
    """
    lines = [_HEAD]
    for index, name in enumerate(names):
        red, green, blue = colours[index % len(colours)]
        label = plain_name(name, index + 1).replace('"', "'")
        lines.append(f'{index + 1:5d} {red:5d}{green:5d}{blue:5d}        1  1  1    "{label}"\n')
    return write_text(Path(path), "".join(lines))
