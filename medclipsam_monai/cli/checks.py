"""What a command line can be told at once: mistakes that need no image, no weights and no model code to be seen."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medclipsam_monai.base.devices import check_device_name
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.presets import Preset, load_preset

if TYPE_CHECKING:
    from medclipsam_monai.io import ImageSource

SLICE_AXES = ("acquired", "axial", "coronal", "sagittal")
FORMATS = ("nrrd",)


def targets(
    text: Sequence[str] | None, prompts: str | None, opposites: Sequence[str] | None, examples: Path | None = None
) -> Any:
    """What to segment, as `segment_files` takes it; None where examples alone say it.

    Raises:
        InputError: no text and no examples, two texts, one that is none, a prompt set that is not there, or an opposite
            of no text.
    """
    from medclipsam_monai.prompts import parse_targets, read_prompts

    if examples is not None and prompts is None and not text:
        if opposites:
            raise InputError("--opposite is that of a text; give --text, too, or leave it out")
        return None
    if (prompts is None) == (not text):
        also = ", or show it by --examples" if prompts is None else ""
        raise InputError(f"give what to segment as --text or as --prompts, one of the two{also}")
    wanted = text if prompts is None else read_prompts(prompts)
    parse_targets(wanted, opposites)
    return wanted


def examples(folder: Path | None) -> list[Path]:
    """The files of labelled examples, nothing of no folder.

    Raises:
        InputError: see `find_examples`.
    """
    if folder is None:
        return []
    from medclipsam_monai.io.examples import find_examples

    return [file for source, mask in find_examples(folder) for file in (*source.files, mask)]


def encoder(folder: Path | None, shown: Path | None) -> None:
    """Refuse an encoder for examples where there are none.

    Raises:
        InputError: with what is missing.
    """
    if folder is not None and shown is None:
        raise InputError("--example-encoder compares with examples; give --examples, too")


def preset(name: str, task: str | None, changes: Sequence[str], always: bool, seed: int | None) -> Preset:
    """A preset with what the options --task, --set, --always and --seed make of it.

    Raises:
        InputError: there is no such preset, task or parameter, or one cannot have such a value.
    """
    changed = settings(changes) | ({"presence_threshold": 0.0} if always else {})
    chosen = load_preset(name).for_task(task)
    seeds = {} if seed is None else chosen.with_settings(changed).settings.seeds(seed)
    return chosen.with_settings({**seeds, **changed})


def reading(window: str | None, slice_axis: str, max_voxels: int | None) -> None:
    """Refuse what no image is read by.

    Raises:
        InputError: with the first of it.
    """
    from medclipsam_monai.base.windows import parse_window

    if window is not None:
        parse_window(window)
    one_of("--slice-axis", slice_axis, (*SLICE_AXES, "all"))
    positive("--max-voxels", max_voxels)


def writing(format_: str | None, dicom_seg: bool) -> None:
    """Refuse what no mask is written as.

    Raises:
        InputError: with the first of it.
    """
    from medclipsam_monai.io.dicom_seg.algorithm import require_highdicom

    one_of("--format", format_, FORMATS)
    if dicom_seg:
        require_highdicom()


def some_dicom(dicom_seg: bool, sources: Sequence[ImageSource]) -> None:
    """Refuse DICOM SEGs of images none of which is DICOM.

    Raises:
        InputError: with the first image.
    """
    if dicom_seg and sources and all(source.kind != "dicom" for source in sources):
        from medclipsam_monai.io.dicom_seg.segmentation import not_dicom

        raise not_dicom(sources[0].label)


def files(*named: str | None) -> list[Path]:
    """Those of some options' values that are files."""
    return [Path(file) for file in named if file and Path(file).is_file()]


def settings(items: Sequence[str], option: str = "--set", example: str = "saliency.gamma=2") -> dict[str, Any]:
    """Values by name from "NAME=VALUE" of an option; a value that is no JSON is a word.

    Raises:
        InputError: one without a value.
    """
    found: dict[str, Any] = {}
    for item in items:
        key, separator, value = item.partition("=")
        if not separator:
            raise InputError(f"{option} {item!r} has no value; write it as {example}")
        try:
            found[key] = json.loads(value)
        except (ValueError, RecursionError):
            found[key] = value
    return found


def one_of(option: str, value: str | None, choices: Sequence[str]) -> None:
    """Refuse a value that an option does not take.

    Raises:
        InputError: with those that it takes.
    """
    if value is not None and value not in choices:
        raise InputError(f"{option} must be {_either(choices)}, got {value!r}")


def _either(choices: Sequence[str]) -> str:
    return choices[0] if len(choices) == 1 else f"{', '.join(choices[:-1])} or {choices[-1]}"


def device(name: str) -> None:
    """Refuse a name that no device has, see `check_device_name`."""
    check_device_name(name)


def weights(*names: str) -> None:
    """Refuse weights that are not here.

    Raises:
        InputError: with the command that gets them, where they are known.
    """
    from medclipsam_monai.weights.registry import resolve

    for name in names:
        resolve(name)


def positive(option: str, number: int | None) -> None:
    """Refuse zero and less.

    Raises:
        InputError: with the number.
    """
    if number is not None and number < 1:
        raise InputError(f"{option} must be a positive whole number, got {number}")


def folder(option: str, path: Path | None) -> None:
    """Refuse a folder that is not there.

    Raises:
        InputError: with the path.
    """
    if path is not None and not path.is_dir():
        raise InputError(f"{option} {path}: no such folder")
