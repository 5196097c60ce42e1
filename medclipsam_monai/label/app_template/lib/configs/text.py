from __future__ import annotations

from monailabel.interfaces.config import TaskConfig

from medclipsam_monai.label.tasks.text_task import TextSegmentation


class Text(TaskConfig):
    """Segmentation by a text, without training."""

    def infer(self) -> TextSegmentation:
        return TextSegmentation(self.kwargs["models"], self.conf["text"], self.conf["preset"])

    def trainer(self) -> None:
        return None
