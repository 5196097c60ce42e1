"""Writers of small DICOM files for the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.uid
from pydicom.dataset import Dataset, FileMetaDataset

from medclipsam_monai.io.dicom.saving import save_dicom


def write_dicom(path: Path, pixels: np.ndarray, colour: bool = False, **tags: Any) -> Path:
    """Writes (rows, columns[, 3]) or (frames, rows, columns[, 3]) as an uncompressed CT image; ``tags`` win."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = Dataset()
    header.SOPClassUID = tags.pop("SOPClassUID", pydicom.uid.CTImageStorage)
    header.SOPInstanceUID = pydicom.uid.generate_uid()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    header.StudyInstanceUID, header.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    header.Modality, header.SeriesNumber, header.PatientName = "CT", 1, "Somebody^Known"
    planes = pixels.shape[:-1] if colour else pixels.shape
    header.Rows, header.Columns = planes[-2:]
    if len(planes) == 3:
        header.NumberOfFrames = planes[0]
    header.SamplesPerPixel = 3 if colour else 1
    header.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        header.PlanarConfiguration = 0
    header.BitsAllocated = header.BitsStored = pixels.dtype.itemsize * 8
    header.PixelRepresentation = int(pixels.dtype.kind == "i")
    header.PixelData = pixels.tobytes()
    for name, value in tags.items():
        setattr(header, name, value)
    header.HighBit = header.BitsStored - 1
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
