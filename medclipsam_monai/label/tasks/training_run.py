"""One training of the app: submitted labels and gated pseudo-labels in, a new served ensemble out.

Everything lies in one work folder and goes on where it was stopped, as long as nothing that decides the result has
changed. The served ensemble is replaced in the last step alone: until then, and if anything fails, the old one stays.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.json_files import read_object, write_json
from medclipsam_monai.io import ImageSource, find_inputs
from medclipsam_monai.label.models import ServedModels
from medclipsam_monai.label.served_classes import ServedClasses
from medclipsam_monai.label.tasks.submitted import Submitted
from medclipsam_monai.label.tasks.training_labels import weigh_given, write_given
from medclipsam_monai.prompts import TextTarget
from medclipsam_monai.weak.ensemble.checkpoint_ensemble import CheckpointEnsemble
from medclipsam_monai.weak.folders import WorkFolders
from medclipsam_monai.weak.nnunet.dataset import build_dataset
from medclipsam_monai.weak.nnunet.planning import plan, read_planned
from medclipsam_monai.weak.nnunet.raw_data import read_cases
from medclipsam_monai.weak.nnunet.schedule import CyclicSchedule
from medclipsam_monai.weak.nnunet.training import EpochFigures, NnUNetTraining
from medclipsam_monai.weak.pseudo.labels import Notify, write_pseudo_labels
from medclipsam_monai.weak.pseudo.quality_gate import Gate, apply_gate

_FEWEST_TO_SPLIT = 5
_VALIDATION = 0.2


@dataclass(frozen=True)
class TrainingSettings:
    """What a training is asked to do.

    Attributes:
        targets: the classes.
        preset: of the zero-shot segmentation that makes the pseudo-labels.
        window: see `DisplayRange`.
        slice_axis: "acquired", "axial", "coronal" or "sagittal".
        network_size: one of ``planning.SIZES``.
        configuration: "2d", or for volumes "3d_fullres".
        cyclic: the schedule.
        label_weight: how many pseudo-labels a submitted one counts as.
        patient: finds the patient in an image's name, see `patients_of`.
    """

    targets: tuple[TextTarget, ...]
    preset: str
    window: str | None
    slice_axis: str
    network_size: str
    configuration: str
    cyclic: CyclicSchedule
    label_weight: int
    patient: str | None = None


@dataclass(frozen=True)
class TrainingOutcome:
    """What a training did.

    Attributes:
        given: number of submitted labels learnt from.
        pseudo: number of pseudo-labels that passed the gate.
        dropped: number of images left out.
        figures: of every epoch.
        ensemble: file that is served now.
    """

    given: int
    pseudo: int
    dropped: int
    figures: list[EpochFigures]
    ensemble: Path


def train_ensemble(
    models: ServedModels,
    folders: WorkFolders,
    images: Sequence[str | Path],
    submitted: Sequence[Submitted],
    settings: TrainingSettings,
    notify: Notify = lambda kind, message: None,
    train_handlers: Sequence[Any] = (),
) -> TrainingOutcome:
    """Train on submitted labels and on pseudo-labels of the other images, and serve the result.

    A second call in the same folder, from this process or another, waits until the first has ended.

    Args:
        models: for the zero-shot masks, and where the result is served.
        folders: of the run.
        images: all images, the labelled ones among them.
        submitted: the labels.
        settings: what to do.
        notify: called with ("done" | "skipped" | "failed") and a line for each pseudo-label.
        train_handlers: see `NnUNetTraining`.

    Raises:
        InputError: no image or label can be used, no mask passes the gate and none is submitted, or nnU-Net failed.
    """
    folders.root.mkdir(parents=True, exist_ok=True)
    with FileLock(folders.root / "training.lock"):
        total, given = _prepare(models, folders, images, submitted, settings, notify)
        figures = NnUNetTraining(
            folders,
            device=models.device,
            resume=_goes_on(folders, given, settings),
            progress=False,
            tensorboard=False,
            train_handlers=train_handlers,
        ).run()
        exported = CheckpointEnsemble.from_training(folders, models.device).export(folders.root / "ensemble.pt")
        served = models.replace(exported)
        cases = read_cases(folders)
    return TrainingOutcome(len(given), len(cases) - len(given), total - len(cases), figures, served)


def _prepare(
    models: ServedModels,
    folders: WorkFolders,
    images: Sequence[str | Path],
    submitted: Sequence[Submitted],
    settings: TrainingSettings,
    notify: Notify,
) -> tuple[int, list[str]]:
    """Masks, gate, data set and plan; the number of images, and the stems of those with a submitted label."""
    sources = find_inputs(images)
    given = _write_submitted(sources, submitted, settings, folders, models.classes)
    segmenter = models.text_segmenter(settings.preset)
    labels = write_pseudo_labels(
        segmenter,
        images,
        settings.targets,
        folders,
        window=settings.window,
        slice_axis=settings.slice_axis,
        notify=notify,
    )
    kept = apply_gate(labels, Gate(), folders, given)
    names = [target.name for target in settings.targets]
    given = {label.stem: given[label.stem] for label in kept if label.stem in given}
    validation = _VALIDATION if len(kept) >= _FEWEST_TO_SPLIT else 0.0
    summary = build_dataset(
        kept,
        names,
        folders,
        given,
        validation,
        settings.patient,
        settings.cyclic.seed,
        settings.window,
        settings.slice_axis,
    )
    weigh_given(folders, summary.cases, settings.label_weight)
    plan(folders, settings.cyclic, settings.network_size, settings.configuration)
    return len(sources), sorted(given)


def _write_submitted(
    sources: Sequence[ImageSource],
    submitted: Sequence[Submitted],
    settings: TrainingSettings,
    folders: WorkFolders,
    classes: ServedClasses,
) -> dict[str, Path]:
    """The submitted labels in the classes' numbers, by the stem of their images."""
    target = folders.root / "given"
    shutil.rmtree(target, ignore_errors=True)
    stems = {path.resolve(): source.stem for source in sources for path in (source.paths[0], source.paths[0].parent)}
    stems |= {source.paths[0].resolve(): source.stem for source in sources}
    names = [one.name for one in settings.targets]
    written = {}
    for one in submitted:
        stem = stems[one.image.resolve()]
        written[stem] = write_given(
            one.label, one.image, one.label_info, names, target / stem, classes.names(), classes.first_names()
        )
    return written


def _goes_on(folders: WorkFolders, given: Sequence[str], settings: TrainingSettings) -> bool:
    """Whether a stopped training was of the very same data and settings; notes those of the one that begins now."""
    note = folders.root / "training.json"
    wanted = {"planned": read_planned(folders), "given": list(given), "settings": asdict(settings)}
    wanted = json.loads(json.dumps(wanted))
    try:
        before: dict[str, Any] | None = read_object(note)
    except InputError:
        before = None
    write_json(wanted, note)
    return bool(before == wanted)
