"""The annotators' labels as training wants them: numbered by the text's classes, and weighing more than the rest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import write_text
from medclipsam_monai.io import write_mask
from medclipsam_monai.label.label_files import read_submitted
from medclipsam_monai.label.label_names import check_label_info, numbers_of
from medclipsam_monai.label.served_classes import plain_name
from medclipsam_monai.weak.folders import WorkFolders
from medclipsam_monai.weak.nnunet.raw_data import Case

_NAME_IT = "start the server with --conf text for what it holds, or submit it with label_info"


def class_numbers(
    labels: np.ndarray,
    label_info: Sequence[Mapping[str, Any]] | None,
    names: Sequence[str],
    served: Sequence[str] = (),
    first: Sequence[str] = (),
) -> np.ndarray:
    """A label map in the numbers of the classes.

    Args:
        labels: whole numbers, 0 background.
        label_info: what a viewer said of the numbers, [{"name": "heart", "idx": 2}, ...]; a name that is no class is
            background, and an entry without a number has its place in the list, from 1 on. None: see `_unnamed`; where
            the only class of all is learned, all but 0 is it.
        names: class ``names[i]`` gets i + 1.
        served: the server's classes, in the order of their numbers.
        first: those of them that the server was started with.

    Raises:
        InputError: a number that stands for no class, names of which none is a class, or a list of another form.
    """
    present = [int(number) for number in np.unique(labels) if number]
    only = len(names) == 1 and {plain_name(name) for name in (*first, *names)} == {plain_name(names[0])}
    if not label_info and only and (len(served) <= 1 or len(present) == 1):
        return (labels > 0).astype(labels.dtype)
    if not label_info and present:
        label_info = _unnamed(present, names, served, first)
    if label_info:
        check_label_info(label_info)
        wanted = {plain_name(name): number for number, name in enumerate(names, start=1)}
        said = [str(entry["name"]) for entry in label_info]
        table = {n: wanted.get(plain_name(name), 0) for n, name in zip(numbers_of(label_info), said, strict=True)}
        if not any(table.values()):
            raise InputError(f"its segments ({', '.join(said)}) are none of the classes to learn ({', '.join(names)})")
        out = np.zeros_like(labels)
        for number, target in table.items():
            out[labels == number] = target
        return out
    return labels


def _unnamed(
    present: Sequence[int], names: Sequence[str], served: Sequence[str], first: Sequence[str]
) -> list[dict[str, Any]]:
    """What the numbers of a label stand for that came without names, such as a file that was put into the folder.

    They are those of the classes that the server was started with. What comes after these was typed by somebody at
    some time: there the training's own text must say the same.

    Raises:
        InputError: a number that stands for no class, or for two.
    """
    entries = []
    for number in present:
        name = first[number - 1] if number <= len(first) else None
        if name is None:
            by_text = names[number - 1] if number <= len(names) else None
            by_list = served[number - 1] if number <= len(served) else by_text
            if by_text is None or by_list is None or plain_name(by_text) != plain_name(by_list):
                raise InputError(
                    f"it came without names and holds the number {number}, the classes are {len(names)} "
                    f"({', '.join(names)}), those of the server {len(served)} ({', '.join(served)}); {_NAME_IT}"
                )
            name = by_text
        entries.append({"name": name, "idx": number})
    if not {plain_name(str(entry["name"])) for entry in entries} & {plain_name(name) for name in names}:
        said = ", ".join(f"{entry['idx']} {entry['name']}" for entry in entries)
        raise InputError(
            f"it came without names, so that its numbers are those of the server's own text: {said}; none of the "
            f"classes to learn ({', '.join(names)}) is among them; {_NAME_IT}"
        )
    return entries


def write_given(
    label: Path,
    image: Path,
    label_info: Sequence[Mapping[str, Any]] | None,
    names: Sequence[str],
    target: Path,
    served: Sequence[str] = (),
    first: Sequence[str] = (),
) -> Path:
    """Write a submitted label as a mask to train on.

    Args:
        label: the submitted file.
        image: its image.
        label_info: see `class_numbers`.
        names: the classes.
        target: where to write, without a suffix.
        served: see `class_numbers`.
        first: see `class_numbers`.

    Raises:
        InputError: a label that does not fit its image or the classes.
    """
    labels, geometry = read_submitted(label, image)
    try:
        numbered = class_numbers(labels, label_info, names, served, first)
    except InputError as error:
        raise InputError(f"the label of {image.name} cannot be learnt from: {error}") from error
    return write_mask(numbered, geometry, target)


def weigh_given(folders: WorkFolders, cases: Sequence[Case], weight: int) -> dict[str, int]:
    """Let the given labels all train, each ``weight`` times as often as a pseudo-label; the others' split stays.

    nnU-Net draws its batches from the list of training cases, so a case that stands in it several times is seen as
    many times as often.

    Args:
        folders: of the run, after `build_dataset`.
        cases: of the data set.
        weight: how much a given label counts, from 1 on.

    Returns:
        How often each training case stands in the list.

    Raises:
        InputError: a weight below 1, or the split cannot be written.
    """
    if weight < 1:
        raise InputError(f"label_weight must be a whole number from 1 on, got {weight}")
    counts = {case.case: weight for case in cases if case.label == "given"}
    pseudo = [case for case in cases if case.label == "pseudo"]
    counts |= {case.case: 1 for case in pseudo if case.split == "train"}
    validate = [case.case for case in pseudo if case.split == "validation"]
    if not counts:  # two pseudo-labels may both validate only where nothing is given, and then one of them trains
        raise InputError("there is no case to train on")
    train = [case for case in sorted(counts) for _ in range(counts[case])]
    split = [{"train": train, "val": validate or sorted(counts)}]
    write_text(folders.splits_json, json.dumps(split, indent=4) + "\n")
    return counts
