"""A MONAI Label app: annotate by text, most uncertain first. Tasks are added and taken away in lib/configs."""

from __future__ import annotations

from lib.configs import CONFIGS
from monailabel.interfaces.app import MONAILabelApp

from medclipsam_monai.label.server.app import TextLabelApp


class MyApp(TextLabelApp, MONAILabelApp):  # MONAI Label looks for a class with this very base
    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        super().__init__(app_dir, studies, conf, {name: config() for name, config in CONFIGS.items()})
