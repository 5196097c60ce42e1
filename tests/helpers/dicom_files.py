"""Writers of small DICOM files for the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.uid
from pydicom.dataset import Dataset

from medclipsam_monai.io.dicom.saving import save_dicom
from tools.robustness.seeds.dicom_header import dataset

_OWN = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.4", "PatientName": "Somebody^Known"}


def write_dicom(path: Path, pixels: np.ndarray, colour: bool = False, **tags: Any) -> Path:
    """Writes (rows, columns[, 3]) or (frames, rows, columns[, 3]) as an uncompressed CT image; ``tags`` win."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sop = tags.pop("SOPClassUID", pydicom.uid.CTImageStorage)
    header = dataset(pixels, sop, colour=colour, **{**_OWN, "SOPInstanceUID": pydicom.uid.generate_uid(), **tags})
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    save_dicom(header, path)
    return path


def write_series(
    folder: Path,
    volume: np.ndarray,
    *,
    directions: tuple[float, ...] = (1, 0, 0, 0, 1, 0),
    step: float = 2.0,
    **tags: Any,
) -> list[Path]:
    """Writes (slices, rows, columns) as one series along the normal, 0.5 mm between rows and 0.75 between columns."""
    normal = np.cross(directions[:3], directions[3:])
    return [
        write_dicom(
            folder / f"{index:02d}.dcm",
            plane,
            **{
                "ImagePositionPatient": list(np.array([10.0, 20.0, 30.0]) + index * step * normal),
                "ImageOrientationPatient": list(directions),
                "PixelSpacing": [0.5, 0.75],
                "InstanceNumber": index,
                **tags,
            },
        )
        for index, plane in enumerate(volume)
    ]


def functional_groups(places: list[float]) -> dict[str, Any]:
    """Functional groups of an enhanced image whose frames lie at ``places`` millimetres, 0.5 x 0.75 mm a pixel."""
    orientation, measures, shared = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing, measures.SliceThickness = [0.5, 0.75], 1
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    frames = []
    for place in places:
        position, frame = Dataset(), Dataset()
        position.ImagePositionPatient = [10, 20, place]
        frame.PlanePositionSequence = [position]
        frames.append(frame)
    return {"SharedFunctionalGroupsSequence": [shared], "PerFrameFunctionalGroupsSequence": frames}
