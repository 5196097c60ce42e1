"""The header of a small valid DICOM image, for damaged files and for the tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

UID = "1.2.826.0.1.3680043.8.498"


def dataset(
    pixels: np.ndarray,
    sop: str = CTImageStorage,
    syntax: str = ExplicitVRLittleEndian,
    colour: bool | None = None,
    **tags: Any,
) -> Dataset:
    """An image with its header.

    Args:
        pixels: (rows, columns), (frames, rows, columns), or in colour with a last axis of 3.
        sop: UID of its class.
        syntax: UID of its transfer syntax.
        colour: None to go by the last axis.
        tags: keyword -> value, before what stands there otherwise.
    """
    colour = pixels.shape[-1] == 3 if colour is None else colour
    planes = pixels.shape[:-1] if colour else pixels.shape
    header: Any = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = syntax
    header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = sop
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = f"{UID}.1"
    header.StudyInstanceUID, header.SeriesInstanceUID = f"{UID}.2", f"{UID}.3"
    header.Modality, header.SeriesNumber, header.PatientName = "CT", 1, "Phantom"
    header.Rows, header.Columns = planes[-2:]
    if len(planes) == 3:
        header.NumberOfFrames = planes[0]
    header.SamplesPerPixel = 3 if colour else 1
    header.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        header.PlanarConfiguration = 0
    header.BitsAllocated = header.BitsStored = pixels.itemsize * 8
    header.PixelRepresentation = int(pixels.dtype.kind == "i")
    header.PixelData = pixels.tobytes()
    for name, value in tags.items():
        setattr(header, name, value)
    header.HighBit = header.BitsStored - 1
    return header
