"""What a segment shows, as DICOM codes: SNOMED CT for the field's common targets, a private code for any other text."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Coded:
    """A coded concept.

    Attributes:
        value: the code, at most 16 characters.
        scheme: its coding scheme, such as "SCT".
        meaning: what it says in words, at most 64 characters.
    """

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True)
class SegmentCodes:
    """The codes of one segment.

    Attributes:
        category: what kind of thing it is (an anatomical structure, a morphologically abnormal structure ...).
        type: the thing.
        laterality: the side, or None.
        region: where in the body, or None.
    """

    category: Coded
    type: Coded
    laterality: Coded | None = None
    region: Coded | None = None


def segment_codes(name: str) -> SegmentCodes:
    """The codes of a class by its name ("lungs", "left kidney", "malignant breast tumour").

    Args:
        name: the class, in any case and spelling the table knows; other names get a code of the project's own scheme.

    Raises:
        InputError: the name is empty.
    """
    raise NotImplementedError
