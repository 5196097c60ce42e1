"""A folder of unlabelled images and a text, as a data set to train on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.data import Dataset

from medclipsam_monai.data.phantom_folder import draw_phantom_folder
from medclipsam_monai.io import find_inputs
from medclipsam_monai.prompts import parse_targets
from medclipsam_monai.text_segmenter import TextSegmenter
from medclipsam_monai.weak.folders import WorkFolders
from medclipsam_monai.weak.label_files import find_given
from medclipsam_monai.weak.nnunet_dataset import build_dataset
from medclipsam_monai.weak.pseudo_labels import Notify, write_pseudo_labels
from medclipsam_monai.weak.quality_gate import Gate, apply_gate

PHANTOMS = "phantoms"


def image_folder(dataset_dir: str | Path, folders: WorkFolders, phantoms: Mapping[str, Any]) -> Path:
    """Where the images lie: ``images`` of the data set's folder, or that folder itself.

    Args:
        dataset_dir: a folder, or "phantoms", which are drawn into the work folder.
        folders: of the run.
        phantoms: what `draw_phantom_folder` draws, but the folder.

    Raises:
        InputError: see `draw_phantom_folder`.
    """
    if str(dataset_dir) == PHANTOMS:
        dataset_dir = draw_phantom_folder(folders.root / f"phantoms_{phantoms.get('set_number', 0)}", **phantoms)
    inside = Path(dataset_dir) / "images"
    return inside if inside.is_dir() else Path(dataset_dir)


class PseudoLabelledDataset(Dataset):
    """Images with the masks that a text gave them, in nnU-Net's raw folder; made on creation, and resumable.

    An item is {"image": file, "label": file, "case": name, "split": "train" or "validation"}.

    Args:
        folders: of the run.
        images: folder, file or glob of unlabelled images.
        text: see `parse_targets`.
        segmenter: loaded networks for the zero-shot masks.
        gate: which masks are good enough.
        opposites: see `parse_targets`.
        window: see `DisplayRange`.
        slice_axis: "axial", "coronal" or "sagittal".
        given_dir: folder of masks of some of the images, under the images' names; they win over pseudo-labels.
        validation: part of the cases that validate, 0 for none.
        patient: finds the patient in a name, see `patients_of`.
        seed: of the split.
        notify: called with ("done" | "skipped" | "failed") and a line for each image.

    Raises:
        InputError: no image or mask can be used, or no mask passes the gate.
    """

    def __init__(
        self,
        folders: WorkFolders,
        images: str | Path,
        text: Any,
        segmenter: TextSegmenter,
        gate: Gate,
        opposites: Any = None,
        window: Any = None,
        slice_axis: str = "axial",
        given_dir: str | Path | None = None,
        validation: float = 0.2,
        patient: str | None = None,
        seed: int = 0,
        notify: Notify = lambda kind, message: None,
    ) -> None:
        names = [target.name for target in parse_targets(text, opposites)]
        stems = {source.stem for source in find_inputs([images])}
        given = find_given(given_dir, stems) if given_dir is not None else {}
        labels = write_pseudo_labels(segmenter, [images], text, folders, opposites, window, slice_axis, notify=notify)
        kept = apply_gate(labels, gate, folders, given)
        self.summary = build_dataset(
            kept, names, folders, given, validation, patient, seed, window=window, slice_axis=slice_axis
        )
        suffix = self.summary.suffix
        super().__init__(
            [
                {
                    "image": str(folders.images / f"{case.case}_0000{suffix}"),
                    "label": str(folders.labels / f"{case.case}{suffix}"),
                    "case": case.case,
                    "split": case.split,
                }
                for case in self.summary.cases
            ]
        )
