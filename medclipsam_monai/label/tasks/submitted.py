"""The labels that annotators submitted, as a datastore has them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from monailabel.interfaces.datastore import Datastore


@dataclass(frozen=True)
class Submitted:
    """A label that an annotator submitted.

    Attributes:
        image: file of the image, or the folder of its DICOM series.
        label: file of the label.
        label_info: see `class_numbers`.
        when: it was submitted, in seconds of the epoch; 0 where the datastore does not say.
    """

    image: Path
    label: Path
    label_info: Sequence[Mapping[str, Any]] | None = None
    when: int = 0


def submitted_labels(datastore: Datastore) -> list[Submitted]:
    """The final labels of a datastore."""
    from monailabel.interfaces.datastore import DefaultLabelTag  # here, for the networks are served without it, too

    listed = datastore.datalist()  # before all else: an archive fetches its newest labels now
    said = {}
    for image in datastore.list_images():
        label = datastore.get_label_uri(image, DefaultLabelTag.FINAL)
        if label:
            said[os.path.realpath(label)] = datastore.get_label_info(image, DefaultLabelTag.FINAL) or {}
    found = []
    for pair in listed:
        image, label = Path(pair["image"]), Path(pair["label"])
        info = said.get(os.path.realpath(label), {})
        found.append(Submitted(image, label, info.get("label_info"), int(info.get("ts", 0))))
    return found
