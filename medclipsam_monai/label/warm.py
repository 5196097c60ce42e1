"""What a started server has done before it listens, so that its first answer comes as fast as the next ones."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.interfaces.tasks.infer_v2 import InferTask
from PIL import Image

from medclipsam_monai.base.errors import InputError

logger = logging.getLogger(__name__)

_SIDE = 64


def warm_up(task: InferTask) -> None:
    """Answer one request about a small picture, in the form that viewers ask for: reads, loads and imports it all.

    Weights that are missing are no reason not to start: who asks for them is told how to get them.

    Args:
        task: by text.
    """
    ramp = np.add.outer(np.arange(_SIDE), np.arange(_SIDE)).astype(np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "picture.png"
        Image.fromarray(ramp).save(picture)
        form = {"result_extension": ".nrrd", "result_dtype": "uint8"}
        request: dict[str, Any] = {"image": str(picture), "examples": False, **form}
        try:
            file, _ = task(request)
        except InputError as error:
            logger.warning("the first answer will not come at once: %s", error)
            return
        os.unlink(file)
