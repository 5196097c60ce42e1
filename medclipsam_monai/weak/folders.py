"""Where everything of one weakly supervised run lies: the only place that spells these paths."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.json_files import read_object

DATASET_ID = 1
DATASET_NAME = "Dataset001_Weak"
TRAINER = "nnUNetTrainerCyclic"
PLANS = "nnUNetPlans"
FOLD = 0
CONFIGURATIONS = ("2d", "3d_fullres")


@dataclass(frozen=True)
class WorkFolders:
    """All paths of a run, beneath one root. Nothing is made by asking for a path.

    Args:
        root: the folder of the run, as a user gives it.
    """

    root: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root).expanduser().absolute())

    @property
    def pseudo_labels(self) -> Path:
        """Masks, overlays and records of the zero-shot segmentation."""
        return self.root / "pseudo_labels"

    @property
    def gate(self) -> Path:
        """What the quality gate kept and dropped: a table and pictures."""
        return self.root / "gate"

    @property
    def gate_table(self) -> Path:
        return self.gate / "gate.csv"

    @property
    def kept_picture(self) -> Path:
        return self.gate / "kept.png"

    @property
    def dropped_picture(self) -> Path:
        return self.gate / "dropped.png"

    @property
    def nnunet(self) -> Path:
        return self.root / "nnunet"

    @property
    def nnunet_raw(self) -> Path:
        """What nnU-Net calls ``nnUNet_raw``."""
        return self.nnunet / "raw"

    @property
    def nnunet_preprocessed(self) -> Path:
        """What nnU-Net calls ``nnUNet_preprocessed``."""
        return self.nnunet / "preprocessed"

    @property
    def nnunet_results(self) -> Path:
        """What nnU-Net calls ``nnUNet_results``."""
        return self.nnunet / "results"

    @property
    def logs(self) -> Path:
        """What nnU-Net's processes printed."""
        return self.nnunet / "logs"

    @property
    def raw(self) -> Path:
        """The raw data set."""
        return self.nnunet_raw / DATASET_NAME

    @property
    def images(self) -> Path:
        return self.raw / "imagesTr"

    @property
    def labels(self) -> Path:
        return self.raw / "labelsTr"

    @property
    def dataset_json(self) -> Path:
        return self.raw / "dataset.json"

    @property
    def cases_json(self) -> Path:
        """Which case came from where: [{"case", "source", "stem", "patient", "label", "split"}]."""
        return self.raw / "cases.json"

    @property
    def preprocessed(self) -> Path:
        """The preprocessed data set."""
        return self.nnunet_preprocessed / DATASET_NAME

    @property
    def splits_json(self) -> Path:
        """[{"train": [case], "val": [case]}]; fold 0 is used."""
        return self.preprocessed / "splits_final.json"

    @property
    def plans_json(self) -> Path:
        return self.preprocessed / f"{PLANS}.json"

    @property
    def planned_json(self) -> Path:
        """Written last by ``planning.plan``: what was planned, for which data. Without it the folder is half made."""
        return self.preprocessed / "planned.json"

    @property
    def configuration(self) -> str:
        """nnU-Net's configuration that was planned; "2d" before there is a plan."""
        try:
            planned = read_object(self.planned_json).get("configuration")
        except InputError:
            return CONFIGURATIONS[0]
        return planned if planned in CONFIGURATIONS else CONFIGURATIONS[0]  # it becomes a part of paths

    @property
    def results(self) -> Path:
        """The trained model: plans.json, dataset.json and the fold."""
        return self.nnunet_results / DATASET_NAME / f"{TRAINER}__{PLANS}__{self.configuration}"

    @property
    def fold(self) -> Path:
        """The one fold that is trained, with its checkpoints."""
        return self.results / f"fold_{FOLD}"

    @property
    def members_json(self) -> Path:
        """{"members": [{"file", "epoch", "cycle"}], "expected": how many in the end, "epochs": all of them}."""
        return self.fold / "members.json"

    @property
    def progress_csv(self) -> Path:
        """epoch,lr,train_loss,val_loss,pseudo_dice,seconds."""
        return self.fold / "progress.csv"

    @property
    def events(self) -> Path:
        """TensorBoard's event files."""
        return self.fold / "events"
