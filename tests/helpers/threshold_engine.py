"""An engine of the deploy application whose answer anyone can work out: what is bright is the target."""

from __future__ import annotations

import time
from typing import Any

from monai.utils import convert_to_tensor

from medclipsam_monai.deploy.engines import EngineResult, EnsembleRequest, Wish
from medclipsam_monai.io import ImageSource, build_record, class_sizes, hash_files, read_image
from medclipsam_monai.io.dicom_seg.algorithm import Algorithm
from medclipsam_monai.transforms import DisplayRange


class ThresholdEngine:
    """Finds the pixels above a grey level in [0, 1]; a text that is a number is that level."""

    def __init__(self) -> None:
        self.algorithm = Algorithm("none", {"weights": "00" * 32}, "threshold")

    def request(self, wish: Wish) -> EnsembleRequest:
        parameters = {"level": wish.text, "window": wish.window, "axis": wish.slice_axis, "pictures": wish.pictures}
        return EnsembleRequest(("lungs",), "none", self.algorithm.weights, parameters)

    def find(self, source: ImageSource, request: Any) -> EngineResult:
        start = time.perf_counter()
        image = read_image(source, request.parameters["axis"])
        display = convert_to_tensor(DisplayRange(request.parameters["window"])(image), track_meta=False)
        labels = (display[0] > float(request.parameters["level"])).byte()
        sizes = class_sizes(labels, image.meta["spacing"], request.names)
        record = build_record(
            input_name=source.stem,
            input_sha256=hash_files(source.files),
            texts=request.texts,
            preset=request.preset,
            weights=request.weights,
            parameters=request.parameters,
            classes=sizes,
            outputs={},
            seconds=time.perf_counter() - start,
        )
        return EngineResult(request.names, labels, display, image.meta["geometry"], record)
