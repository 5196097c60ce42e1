from __future__ import annotations

from pathlib import Path

from monailabel.interfaces.config import TaskConfig

from medclipsam_monai.label.tasks.train_task import WeakTraining
from medclipsam_monai.label.tasks.weak_task import WeakSegmentation


class Weak(TaskConfig):
    """The nnU-Net ensemble, and its training on submitted labels and pseudo-labels."""

    def infer(self) -> WeakSegmentation:
        return WeakSegmentation(self.kwargs["models"])

    def trainer(self) -> WeakTraining:
        folder = Path(self.model_dir) / "training"
        return WeakTraining(self.kwargs["models"], folder, self.conf["text"], self.conf["preset"])
