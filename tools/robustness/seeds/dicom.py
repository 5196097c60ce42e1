"""Small valid DICOM files: pictures, slices, volumes in one file, and every way in which pixels are packed."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from medclipsam_monai.io.dicom.saving import save_dicom
from tools.robustness.seeds.dicom_header import UID, dataset
from tools.robustness.seeds.pictures import encoded
from tools.robustness.seeds.values import numbers


def _bytes(header: Dataset) -> bytes:
    file = io.BytesIO()
    save_dicom(header, file)
    return file.getvalue()


def _plane(index: int = 0) -> dict[str, Any]:
    return {
        "ImagePositionPatient": [-10.0, -20.0, 30.0 + 2.5 * index],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [0.5, 0.75],
        "SliceThickness": 2.5,
    }


def _enhanced() -> Dataset:
    header = dataset(numbers((9, 16, 20), np.int16), EnhancedCTImageStorage)
    frames = []
    for index in range(9):
        frame, position, content = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = _plane(index)["ImagePositionPatient"]
        content.StackID, content.InStackPositionNumber, content.DimensionIndexValues = "1", index + 1, [1, index + 1]
        frame.PlanePositionSequence, frame.FrameContentSequence = [position], [content]
        frames.append(frame)
    shared, orientation, measures, values, window = (Dataset() for _ in range(5))
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing, measures.SliceThickness = [0.5, 0.75], 2.5
    values.RescaleSlope, values.RescaleIntercept, values.RescaleType = 2, -100, "HU"
    window.WindowCenter, window.WindowWidth = 40, 400
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    shared.PixelValueTransformationSequence, shared.FrameVOILUTSequence = [values], [window]
    header.SharedFunctionalGroupsSequence, header.PerFrameFunctionalGroupsSequence = [shared], frames
    return header


def _palette() -> dict[str, Any]:
    """A palette of 256 colours of 16 bits."""
    names = ("Red", "Green", "Blue")
    tables = {f"{name}PaletteColorLookupTableDescriptor": [256, 0, 16] for name in names}
    entries = (np.arange(256, dtype="<u2") * 257).tobytes()
    return {**tables, **{f"{name}PaletteColorLookupTableData": entries for name in names}}


def _table(bits: int) -> Dataset:
    """A Modality or VOI lookup table of 128 entries, of which the first belongs to -64."""
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [128, 65536 - 64, bits], list(range(128))
    item["LUTDescriptor"].VR = item["LUTData"].VR = "US"
    item.ModalityLUTType = "HU"
    return item


def dicom_files() -> Iterator[bytes]:
    """Uncompressed, deflated and run-length encoded; grey and in colour; slices, frames and pictures."""
    grey, byte = numbers((16, 20), np.int16), numbers((16, 20), np.uint8)
    rescale: dict[str, Any] = {
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "WindowCenter": [40, 50],
        "WindowWidth": [400, 500],
    }
    yield _bytes(dataset(grey, **_plane(), **rescale))
    yield _bytes(dataset(grey, syntax=ImplicitVRLittleEndian, **_plane()))
    yield _bytes(dataset(byte, SecondaryCaptureImageStorage, Modality="OT"))
    yield _bytes(dataset(byte, PhotometricInterpretation="MONOCHROME1", Modality="CR"))
    yield _bytes(dataset(numbers((16, 20), np.uint16), BitsStored=12, Modality="DX", PixelSpacing=[0.2, 0.2]))
    yield _bytes(dataset(numbers((16, 20, 3), np.uint8), SecondaryCaptureImageStorage, Modality="US"))
    yield _bytes(dataset(numbers((9, 16, 20), np.uint8), Modality="US"))
    yield _bytes(_enhanced())
    for pixels in (grey, numbers((16, 20, 3), np.uint8)):
        header = dataset(pixels, **_plane())
        header.compress(RLELossless, generate_instance_uid=False)
        yield _bytes(header)
    yield _bytes(dataset(grey, syntax=DeflatedExplicitVRLittleEndian, **_plane()))
    yield _bytes(dataset(byte, PhotometricInterpretation="PALETTE COLOR", Modality="US", **_palette()))
    yield _bytes(dataset(numbers((16, 20, 3), np.uint8), PhotometricInterpretation="YBR_FULL", Modality="US"))
    tables: dict[str, Any] = {"ModalityLUTSequence": [_table(16)], "VOILUTSequence": [_table(8)]}
    yield _bytes(dataset(grey, **_plane(), **tables))


def _packed(pixels: np.ndarray, syntax: str, *streams: bytes | bytearray, **tags: Any) -> bytes:
    header = dataset(pixels, syntax=syntax, **_plane(), **tags)
    header.PixelData = encapsulate([bytes(stream) for stream in streams])
    header["PixelData"].is_undefined_length = True
    return _bytes(header)


def packed_dicom_files() -> Iterator[bytes]:
    """Pixels as streams of the JPEG family, which GDCM decodes."""
    byte, deep = numbers((16, 20), np.uint8), numbers((16, 20), np.uint16) * 30
    colour, frames = numbers((16, 20, 3), np.uint8), numbers((3, 16, 20), np.uint8)
    jpeg2000: dict[str, Any] = {"level": 0, "codecformat": "j2k", "reversible": True}
    yield _packed(byte, JPEGBaseline8Bit, encoded(Image.fromarray(byte), "JPEG"))
    yield _packed(colour, JPEGBaseline8Bit, encoded(Image.fromarray(colour), "JPEG"))
    yield _packed(deep, JPEG2000Lossless, imagecodecs.jpeg2k_encode(deep, **jpeg2000))
    yield _packed(colour, JPEG2000Lossless, imagecodecs.jpeg2k_encode(colour, **jpeg2000))
    yield _packed(byte, JPEGLSLossless, imagecodecs.jpegls_encode(byte))
    yield _packed(deep, JPEGLSLossless, imagecodecs.jpegls_encode(deep))
    yield _packed(deep, JPEGLosslessSV1, imagecodecs.ljpeg_encode(deep, bitspersample=16))
    yield _packed(byte, JPEGLosslessSV1, imagecodecs.ljpeg_encode(byte, bitspersample=8))
    twelve = imagecodecs.jpeg8_encode(deep % 4096, bitspersample=12)
    yield _packed(deep, JPEGExtended12Bit, twelve, BitsStored=12)
    streams = [encoded(Image.fromarray(frame), "JPEG") for frame in frames]
    yield _packed(frames, JPEGBaseline8Bit, *streams, Modality="US")
    streams = [bytes(imagecodecs.jpeg2k_encode(frame, **jpeg2000)) for frame in frames]
    yield _packed(frames, JPEG2000Lossless, *streams, Modality="US")


def series_files() -> Iterator[bytes]:
    """Five slices of one series."""
    for index in range(5):
        number: dict[str, Any] = {"SOPInstanceUID": f"{UID}.1.{index}", "InstanceNumber": index}
        yield _bytes(dataset(numbers((16, 20), np.int16) + index, **_plane(index), **number))
