"""A folder of unlabelled images and a text, as a data set to train on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from monai.data import Dataset

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.windows import WindowLike
from medclipsam_monai.io import find_inputs
from medclipsam_monai.io.label_maps import find_given
from medclipsam_monai.prompts import OppositesLike, TextLike, parse_targets
from medclipsam_monai.weak.folders import WorkFolders
from medclipsam_monai.weak.nnunet.dataset import build_dataset
from medclipsam_monai.weak.pseudo.archived import read_archive
from medclipsam_monai.weak.pseudo.labels import Notify, PseudoLabel, write_pseudo_labels
from medclipsam_monai.weak.pseudo.quality_gate import Gate, apply_gate
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter

_FEWEST_TO_SPLIT = 5  # submitted labels; fewer all train, and validate


def image_folder(dataset_dir: str | Path) -> Path:
    """Where a data set's images lie: in its folder ``images``, or else in the folder itself."""
    inside = Path(dataset_dir) / "images"
    return inside if inside.is_dir() else Path(dataset_dir)


class PseudoLabelledDataset(Dataset):
    """Images with the masks that a text gave them, in nnU-Net's raw folder; made on creation, and resumable.

    An item is {"image": file, "label": file, "case": name, "split": "train" or "validation"}.

    Args:
        folders: of the run.
        dataset_dir: folder of unlabelled images, or one that has them in ``images``; a file or a glob. Empty where
            ``archive_dir`` is given.
        text: see `parse_targets`.
        segmenter: loaded networks for the zero-shot masks.
        gate: which masks are good enough.
        opposites: see `parse_targets`.
        window: see `DisplayRange`.
        slice_axis: "acquired", "axial", "coronal" or "sagittal".
        given_dir: folder of masks of some of the images, under the images' names; they win over pseudo-labels.
        validation: part of the cases that validate, 0 for none.
        patient: finds the patient in a name, see `patients_of`; None takes an archive's column ``patient``.
        seed: of the split.
        notify: called with ("done" | "skipped" | "failed") and a line for each image.
        data: images with labels that somebody made, {"image": file, "label": file}, as MONAI Label gives those that
            were submitted; they alone are learnt from, and ``dataset_dir`` and the text's masks are left out.
        validation_data: some more, as many of all as shall validate; None for the share ``validation``.
        archive_dir: output folder of `medclipsam archive`, whose masks are taken; none is made.
        where: which of them, an expression over the archive's table in place of the gate, see `rows_where`.
        image_root: where relative paths in that table begin; None for the folder that ``archive_dir`` lies in.

    Raises:
        InputError: no image or mask can be used, no mask passes the gate, or the archive's table cannot be used.
    """

    def __init__(
        self,
        folders: WorkFolders,
        dataset_dir: str | Path,
        text: TextLike,
        segmenter: TextSegmenter,
        gate: Gate,
        opposites: OppositesLike | None = None,
        window: WindowLike | None = None,
        slice_axis: str = "acquired",
        given_dir: str | Path | None = None,
        validation: float = 0.2,
        patient: str | None = None,
        seed: int = 0,
        notify: Notify = lambda kind, message: None,
        data: Sequence[Mapping[str, str]] | None = None,
        validation_data: Sequence[Mapping[str, str]] | None = None,
        archive_dir: str | Path | None = None,
        where: str | None = None,
        image_root: str | Path | None = None,
    ) -> None:
        names = [target.name for target in parse_targets(text, opposites)]
        _refuse_both(dataset_dir, archive_dir, where)
        if data is None and archive_dir:
            archive = read_archive(archive_dir, names, where, image_root, notify)
            found = find_given(given_dir, {label.stem for label in archive.labels}) if given_dir else {}
            labels = archive.kept(gate, folders, found, notify)
            given = {label.stem: found[label.stem] for label in labels if label.stem in found}
        elif data is None:
            images = [image_folder(dataset_dir)]
            found = find_given(given_dir, {source.stem for source in find_inputs(images)}) if given_dir else {}
            made = write_pseudo_labels(segmenter, images, text, folders, opposites, window, slice_axis, notify=notify)
            labels = apply_gate(made, gate, folders, found)
            given = {label.stem: found[label.stem] for label in labels if label.stem in found}
        else:
            labels = _submitted([*data, *(validation_data or [])])
            given = {label.stem: label.mask for label in labels}
            validation = validation if validation_data is None else len(validation_data) / len(labels)
            validation = validation if len(labels) >= _FEWEST_TO_SPLIT else 0.0
        self.built = build_dataset(
            labels, names, folders, given, validation, patient, seed, window=window, slice_axis=slice_axis
        )
        suffix = self.built.suffix
        super().__init__(
            [
                {
                    "image": str(folders.images / f"{case.case}_0000{suffix}"),
                    "label": str(folders.labels / f"{case.case}{suffix}"),
                    "case": case.case,
                    "split": case.split,
                }
                for case in self.built.cases
            ]
        )


def _refuse_both(dataset_dir: str | Path, archive_dir: str | Path | None, where: str | None) -> None:
    if archive_dir and dataset_dir:
        raise InputError(f"give dataset_dir or archive_dir, not both, got {dataset_dir} and {archive_dir}")
    if where is not None and not archive_dir:
        raise InputError(f"where={where!r} chooses from an archive's table; give its folder as archive_dir")


def _submitted(items: Sequence[Mapping[str, str]]) -> list[PseudoLabel]:
    """Images with the labels that were made for them.

    Raises:
        InputError: there is none, or an item that is none.
    """
    if not items:
        raise InputError("no label was submitted yet; submit the labels of some images, then train")
    try:
        masks = {Path(one["image"]).resolve(): Path(one["label"]) for one in items}
    except (KeyError, TypeError) as error:
        raise InputError('an item to train on must be {"image": file, "label": file}') from error
    labels = []
    for source in find_inputs(list(masks)):
        first = source.paths[0].resolve()
        mask = masks.get(first) or masks[first.parent]
        files = source.paths if len(source.paths) > 1 else ()
        labels.append(PseudoLabel(source.stem, first.parent if files else first, mask, {}, files))
    return labels
