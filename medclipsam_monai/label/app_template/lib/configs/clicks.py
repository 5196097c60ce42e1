from __future__ import annotations

from monailabel.interfaces.config import TaskConfig

from medclipsam_monai.label.tasks.click_task import ClickSegmentation


class Clicks(TaskConfig):
    """Correction by clicks and boxes."""

    def infer(self) -> ClickSegmentation:
        return ClickSegmentation(self.kwargs["models"], self.conf["preset"])

    def trainer(self) -> None:
        return None
