"""Images and masks as a raw data set of nnU-Net v2.

``imagesTr/case_0001_0000.png``, ``labelsTr/case_0001.png`` (``.nii.gz`` for volumes), ``dataset.json``, a split by
patient, and ``cases.json``, which says where each case came from. ``cases.json`` is written last: a folder without it
is half made and is built anew; one that holds just what is asked for is left as it is.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medclipsam_monai.base.errors import InputError, InputWarning
from medclipsam_monai.base.files import write_text
from medclipsam_monai.base.json_files import read_object, write_json
from medclipsam_monai.base.windows import WindowLike
from medclipsam_monai.io import hash_files
from medclipsam_monai.io.label_maps import read_label_map
from medclipsam_monai.transforms import CT_WINDOWS
from medclipsam_monai.weak.folders import WorkFolders
from medclipsam_monai.weak.nnunet.case_image import CaseImage, read_case_image
from medclipsam_monai.weak.nnunet.raw_data import Case, read_cases
from medclipsam_monai.weak.nnunet.splits import patients_of, split_by_patient
from medclipsam_monai.weak.pseudo.labels import PseudoLabel

_READERS = {".png": "NaturalImage2DIO", ".nii.gz": "SimpleITKIO"}
OWN_KEY = "medclipsam"
"""Key in dataset.json under which stands what reading an image for this data set needs, and its fingerprint."""


@dataclass(frozen=True)
class BuiltDataset:
    """A raw data set that was written, or was there.

    Attributes:
        folder: the raw data set.
        cases: its cases.
        names: the classes, label 1 on.
        suffix: ".png", or ".nii.gz" for volumes.
        channels: 1 for grey, 3 for RGB.
        absent: classes that occur in no case.
        reused: the folder held all this already and was left alone.
    """

    folder: Path
    cases: tuple[Case, ...]
    names: tuple[str, ...]
    suffix: str
    channels: int
    absent: tuple[str, ...]
    reused: bool


@dataclass(frozen=True)
class _LabelledCase:
    """A case and its files."""

    case: Case
    label: PseudoLabel
    mask: Path


@dataclass(frozen=True)
class _Form:
    """What the images have in common.

    Attributes:
        suffix: ".png", or ".nii.gz" for volumes.
        channels: 1, or 3 as soon as one image is truly in colour.
        is_ct: their numbers are Hounsfield units.
        absent: classes that no mask holds.
        hashes: of each case's image files and of its mask.
    """

    suffix: str
    channels: int
    is_ct: bool
    absent: tuple[str, ...]
    hashes: tuple[tuple[str, str], ...]

    @property
    def channel_names(self) -> dict[str, str]:
        """By these nnU-Net chooses how to normalise: all but "CT" by mean and deviation of each image."""
        if self.channels == 3:
            return {"0": "R", "1": "G", "2": "B"}
        return {"0": "CT" if self.is_ct and self.suffix == ".nii.gz" else "grey"}


@dataclass(frozen=True)
class _Reading:
    """How the files are read, the same for all."""

    names: tuple[str, ...]
    window: WindowLike | None
    slice_axis: str

    def image(self, one: _LabelledCase) -> CaseImage:
        return read_case_image(one.label.image, self.window, self.slice_axis)

    def labels(self, one: _LabelledCase, image: CaseImage) -> np.ndarray:
        return read_label_map(one.mask, image.geometry, self.names)


def build_dataset(
    labels: Sequence[PseudoLabel],
    names: Sequence[str],
    folders: WorkFolders,
    given: Mapping[str, str | Path] | None = None,
    validation: float = 0.2,
    patient: str | Path | None = None,
    seed: int = 0,
    window: WindowLike | None = None,
    slice_axis: str = "acquired",
) -> BuiltDataset:
    """Write the raw data set and its split.

    Everything is read and checked before the first file is written.

    Args:
        labels: the images with their masks.
        names: the classes in the order of the labels.
        folders: of the run.
        given: masks by stem, see `find_given`, that take the place of the images' own.
        validation: fraction of the cases that validate; 0 to train and validate on all.
        patient: whose the images are, see `patients_of`; None takes what the labels say.
        seed: of the split.
        window: how 2-D images become grey levels, see `DisplayRange`.
        slice_axis: which way volumes are turned, see `read_image`.

    Raises:
        InputError: no image, too few patients, pictures and volumes together, masks that do not fit their images or
            are all empty, a folder that cannot be written.
    """
    _check_names(names)
    labelled = _labelled_cases(labels, given or {}, validation, patient, seed)
    reading = _Reading(tuple(names), window, slice_axis)
    form = _survey(labelled, reading)
    if form.absent:
        message = f"{', '.join(form.absent)}: in none of the {len(labelled)} masks, so the network will never find it"
        warnings.warn(message, InputWarning, stacklevel=2)
    if validation == 0:
        message = "validation is 0: the training images validate, so scores in training say nothing about new images"
        warnings.warn(message, InputWarning, stacklevel=2)
    cases = tuple(one.case for one in labelled)
    description = _description(labelled, reading, form)
    reused = _is_finished(folders, description, cases)
    if not reused:
        _write(labelled, reading, form, folders)
        write_json(description, folders.dataset_json)
    _write_split(cases, folders)
    _write_list([asdict(case) for case in cases], folders.cases_json)
    return BuiltDataset(folders.raw, cases, reading.names, form.suffix, form.channels, form.absent, reused)


def _check_names(names: Sequence[str]) -> None:
    """nnU-Net gives two names a meaning of their own."""
    taken = sorted({"background", "ignore"} & set(names))
    if taken or not names:
        raise InputError(f"a class may not be called {taken[0]!r}" if taken else "there is no class to learn")


def _labelled_cases(
    labels: Sequence[PseudoLabel],
    given: Mapping[str, str | Path],
    validation: float,
    patient: str | Path | None,
    seed: int,
) -> list[_LabelledCase]:
    """Cases in the order of their stems."""
    if not labels:
        raise InputError("there is no image to train on")
    unknown = sorted(given.keys() - {label.stem for label in labels})
    if unknown:
        raise InputError(f"a mask is given for {unknown[0]!r}, which is none of the {len(labels)} images")
    labels = sorted(labels, key=lambda label: label.stem)
    patients = _patients(labels, patient)
    validates = split_by_patient(patients, validation, seed)
    labelled = []
    for number, (label, whose, held_out) in enumerate(zip(labels, patients, validates, strict=True), start=1):
        kind = "given" if label.stem in given else "pseudo"
        split = "validation" if held_out else "train"
        case = Case(f"case_{number:04d}", str(label.source.absolute()), label.stem, whose, kind, split)
        labelled.append(_LabelledCase(case, label, Path(given.get(label.stem, label.mask))))
    return labelled


def _patients(labels: Sequence[PseudoLabel], patient: str | Path | None) -> list[str]:
    known = [label.patient for label in labels if label.patient is not None]
    if patient is not None or not known:
        return patients_of([label.stem for label in labels], patient)
    if len(known) < len(labels):
        lacking = next(label.stem for label in labels if label.patient is None)
        raise InputError(
            f"{lacking} has no patient in its table ({len(labels) - len(known)} of {len(labels)} images have none); "
            "fill the column patient, or find them in the names by patient"
        )
    return known


def _survey(labelled: Sequence[_LabelledCase], reading: _Reading) -> _Form:
    """Read everything once."""
    first_of: dict[bool, _LabelledCase] = {}
    hashes = []
    channels, is_ct, found = 1, True, np.zeros(len(reading.names) + 1, dtype=bool)
    for one in labelled:
        image = reading.image(one)
        first_of.setdefault(image.is_volume, one)
        channels = max(channels, image.channels)
        is_ct &= image.modality == "CT"
        found[np.unique(reading.labels(one, image))] = True
        hashes.append((hash_files(image.source.files), hash_files([one.mask])))
    if len(first_of) > 1:
        raise InputError(
            f"{first_of[False].case.source} is a 2-D picture and {first_of[True].case.source} a volume; one network "
            "learns from one kind: give them apart"
        )
    absent = tuple(name for name, there in zip(reading.names, found[1:], strict=True) if not there)
    if len(absent) == len(reading.names):
        raise InputError(f"all {len(labelled)} masks are empty: no pixel is {' or '.join(absent)}; try other texts")
    suffix = ".nii.gz" if True in first_of else ".png"
    return _Form(suffix, channels, is_ct or _is_ct_window(reading.window), absent, tuple(hashes))


def _description(labelled: Sequence[_LabelledCase], reading: _Reading, form: _Form) -> dict[str, Any]:
    """dataset.json; its fingerprint changes with everything that decides the files."""
    own = {"window": reading.window, "slice_axis": reading.slice_axis}
    cases = [{**asdict(one.case), "source": ""} for one in labelled]  # where an image lies does not matter
    decisive = json.dumps([cases, form.hashes, reading.names, own], sort_keys=True)
    return {
        "channel_names": form.channel_names,
        "labels": {"background": 0, **{name: number for number, name in enumerate(reading.names, start=1)}},
        "numTraining": len(labelled),
        "file_ending": form.suffix,
        "overwrite_image_reader_writer": _READERS[form.suffix],
        OWN_KEY: {**own, "fingerprint": hashlib.sha256(decisive.encode()).hexdigest()},
    }


def _is_ct_window(window: WindowLike | None) -> bool:
    """Whether a window is one of the named ones of CT, so that the numbers are Hounsfield units."""
    return isinstance(window, str) and window.strip().lower().replace("-", "_").replace(" ", "_") in CT_WINDOWS


def _write(labelled: Sequence[_LabelledCase], reading: _Reading, form: _Form, folders: WorkFolders) -> None:
    """Images and labels, in place of an earlier or half-made data set's; what else lies in the folder stays."""
    try:
        for file in (folders.cases_json, folders.dataset_json):  # first, for without them the rest is half made
            file.unlink(missing_ok=True)
        for folder in (folders.images, folders.labels):
            if folder.is_dir():
                shutil.rmtree(folder)
    except OSError as error:
        raise InputError(f"cannot clear the data set of an earlier run in {folders.raw}: {error}") from error
    for one in labelled:
        image = reading.image(one)
        image.with_channels(form.channels).write(folders.images, one.case.case)
        image.write_labels(reading.labels(one, image), folders.labels, one.case.case)


def _is_finished(folders: WorkFolders, description: Mapping[str, Any], cases: Sequence[Case]) -> bool:
    """Whether the folder holds the whole of this very data set."""
    try:
        stored = read_object(folders.dataset_json)
        names = [case.case for case in read_cases(folders)]
    except InputError:
        return False
    suffix = description["file_ending"]
    channels = len(description["channel_names"]) if suffix == ".nii.gz" else 1
    files = [folders.labels / f"{name}{suffix}" for name in names]
    files += [folders.images / f"{name}_{channel:04d}{suffix}" for name in names for channel in range(channels)]
    is_same = stored == json.loads(json.dumps(description)) and names == [case.case for case in cases]
    return is_same and all(file.is_file() for file in files)


def _write_split(cases: Sequence[Case], folders: WorkFolders) -> None:
    """nnU-Net's split of one fold; without validation cases the training cases validate."""
    train = [case.case for case in cases if case.split == "train"]
    validate = [case.case for case in cases if case.split == "validation"]
    _write_list([{"train": train, "val": validate or train}], folders.splits_json)


def _write_list(content: list[Any], path: Path) -> Path:
    return write_text(path, json.dumps(content, indent=4, ensure_ascii=False) + "\n")
