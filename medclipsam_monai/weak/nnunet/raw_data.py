"""What a raw data set of nnU-Net holds, read back from its files: description, split, and where each case came from."""

from __future__ import annotations

from dataclasses import dataclass, fields

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.json_files import read_list, read_object
from medclipsam_monai.base.value_checks import NAME
from medclipsam_monai.weak.folders import FOLD, WorkFolders


@dataclass(frozen=True)
class Case:
    """One case of a data set: an entry of ``cases.json``.

    Attributes:
        case: its name in nnU-Net's folders.
        source: the image's file or folder.
        stem: the image's name in the run.
        patient: whose it is.
        label: "pseudo", or "given" by the user.
        split: "train" or "validation".
    """

    case: str
    source: str
    stem: str
    patient: str
    label: str
    split: str


@dataclass(frozen=True)
class RawDataset:
    """``dataset.json`` and the fold of ``splits_final.json``.

    Attributes:
        names: the classes with labels 1, 2, ...
        channels: of an image.
        ending: of the files, such as ".png" or ".nii.gz".
        train: the cases that are trained on.
        validation: those that validate.
    """

    names: tuple[str, ...]
    channels: int
    ending: str
    train: tuple[str, ...]
    validation: tuple[str, ...]


def read_dataset(folders: WorkFolders) -> RawDataset:
    """The raw data set of a run, as `build_dataset` left it.

    Raises:
        InputError: there is none, or only a part of it.
    """
    try:
        description = read_object(folders.dataset_json)
        split = read_list(folders.splits_json)[FOLD]
        labels, ending = description["labels"], description["file_ending"]
        names = tuple(sorted(set(labels) - {"background"}, key=lambda name: int(labels[name])))
        train, validation = tuple(split["train"]), tuple(split["val"])
        if not all(map(NAME.holds, (ending[1:], *train, *validation))):
            raise ValueError("names of cases and the ending of files must be plain names")
        return RawDataset(names, len(description["channel_names"]), ending, train, validation)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(
            f"no whole data set in {folders.raw}: build it first (dataset.json and splits_final.json are read)"
        ) from error


def read_cases(folders: WorkFolders) -> tuple[Case, ...]:
    """The cases of a run's data set, with where they came from.

    Raises:
        InputError: there is no whole data set.
    """
    names = [field.name for field in fields(Case)]
    try:
        entries = [[entry[name] for name in names] for entry in read_list(folders.cases_json)]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"no whole data set in {folders.raw}: build it first (cases.json is read)") from error
    if not all(isinstance(value, str) for entry in entries for value in entry):
        raise InputError(f"no whole data set in {folders.raw}: cases.json must hold texts; build it again")
    return tuple(Case(*entry) for entry in entries)
