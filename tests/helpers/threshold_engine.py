"""An engine of the deploy application whose answer anyone can work out: what is bright is the target."""

from __future__ import annotations

import time
from typing import Any

from monai.utils import convert_to_tensor

from medclipsam_monai.deploy.engines import EnsembleAsk, Found, Wish
from medclipsam_monai.io import ImageSource, build_record, class_sizes, hash_files, read_image
from medclipsam_monai.io.dicom_seg.seg_writer import Algorithm
from medclipsam_monai.transforms import DisplayRange
from medclipsam_monai.version import __version__


class ThresholdEngine:
    """Finds the pixels above a grey level in [0, 1]; a text that is a number is that level."""

    def __init__(self) -> None:
        self.algorithm = Algorithm("threshold", __version__, "none", {"weights": "00" * 32})

    def ask(self, wish: Wish) -> EnsembleAsk:
        parameters = {"level": wish.text, "window": wish.window, "axis": wish.slice_axis, "pictures": wish.pictures}
        return EnsembleAsk(("lungs",), "none", self.algorithm.weights, parameters)

    def find(self, source: ImageSource, ask: Any) -> Found:
        start = time.perf_counter()
        image = read_image(source, ask.parameters["axis"])
        display = convert_to_tensor(DisplayRange(ask.parameters["window"])(image), track_meta=False)
        labels = (display[0] > float(ask.parameters["level"])).byte()
        sizes = class_sizes(labels, image.meta["spacing"], ask.names)
        record = build_record(
            input_name=source.stem,
            input_sha256=hash_files(source.files),
            texts=ask.texts,
            preset=ask.preset,
            weights=ask.weights,
            parameters=ask.parameters,
            classes=sizes,
            outputs={},
            seconds=time.perf_counter() - start,
        )
        return Found(ask.names, labels, display, image.meta["geometry"], record)
