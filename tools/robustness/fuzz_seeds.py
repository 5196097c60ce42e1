"""Small valid files of every kind that is read: what the fuzzing damages. The same bytes on every run."""

from __future__ import annotations

import gzip
import io
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from medclipsam_monai.io.dicom.saving import save_dicom

_OBLIQUE = np.array([[-1.4, 0.2, 0.1, 30], [0.2, 1.9, -0.3, -20], [0.15, 0.28, 2.9, 5], [0, 0, 0, 1]])
_UID = "1.2.826.0.1.3680043.8.498"


def _numbers(shape: tuple[int, ...], kind: Any) -> np.ndarray:
    """Smooth values with noise, negative ones too where the type has them."""
    rng = np.random.default_rng(7)
    ramp = np.add.outer(np.linspace(0, 60, shape[0]), np.linspace(0, 40, shape[1]))
    ramp = ramp.reshape(*shape[:2], *[1] * (len(shape) - 2)) + rng.integers(0, 20, shape)
    return (ramp - (50 if np.issubdtype(kind, np.signedinteger) else 0)).astype(kind)


def _nifti_files() -> Iterator[bytes]:
    rgb = np.zeros((14, 12, 9), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    rgb["R"], rgb["B"] = _numbers((14, 12, 9), np.uint8), 90
    for kind in (np.int16, np.uint8, np.float32, np.float64, np.uint16):
        image = nib.Nifti1Image(_numbers((14, 12, 9), kind), _OBLIQUE)
        image.header.set_xyzt_units("mm")
        yield image.to_bytes()
    yield nib.Nifti1Image(rgb, np.diag([1.5, 2, 3, 1])).to_bytes()
    yield nib.Nifti1Image(_numbers((20, 16), np.int16), np.diag([-1, -1, 2.0, 1])).to_bytes()
    yield nib.Nifti2Image(_numbers((14, 12, 9), np.int32), _OBLIQUE).to_bytes()
    big = nib.Nifti1Header(endianness=">")
    big.set_data_dtype(np.dtype(">i2"))
    yield nib.Nifti1Image(_numbers((14, 12, 9), np.int16), _OBLIQUE, big).to_bytes()
    scaled = nib.Nifti1Image(_numbers((14, 12, 9), np.int16), None)
    scaled.header.set_slope_inter(0.5, -100)
    scaled.set_qform(np.diag([2.0, -2, 2, 1]), code="scanner")
    scaled.set_sform(None, code="unknown")
    yield scaled.to_bytes()


def _itk_files(suffix: str) -> Iterator[bytes]:
    import SimpleITK as sitk

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"seed{suffix}")
        shapes: list[tuple[tuple[int, ...], Any, bool]] = [
            ((9, 12, 14), np.int16, False),
            ((9, 12, 14), np.uint8, True),
            ((9, 12, 14), np.float32, False),
            ((9, 12, 14), np.uint16, True),
            ((9, 12, 14), np.float64, True),
            ((9, 12, 14), np.int32, False),
            ((16, 20), np.int16, False),
            ((16, 20), np.uint8, True),
        ]
        for shape, kind, packed in shapes:
            image = sitk.GetImageFromArray(_numbers(shape, kind))
            image.SetSpacing((1.5, 2.0, 3.0)[: len(shape)])
            image.SetOrigin((30.0, -20.0, 5.0)[: len(shape)])
            if len(shape) == 3:
                image.SetDirection((0, 1, 0, 0, 0, -1, -1, 0, 0))
            sitk.WriteImage(image, str(path), useCompression=packed)
            yield path.read_bytes()
        for shape in ((16, 20, 3), (9, 12, 14, 3)):
            image = sitk.GetImageFromArray(_numbers(shape, np.uint8), isVector=True)
            sitk.WriteImage(image, str(path), useCompression=False)
            yield path.read_bytes()


def _mha_files() -> Iterator[bytes]:
    yield from _itk_files(".mha")
    words = " ".join(map(str, range(120)))
    yield (
        "ObjectType = Image\nNDims = 2\nBinaryData = False\nElementSpacing = 1 2\nDimSize = 12 10\n"
        f"ElementType = MET_SHORT\nElementDataFile = LOCAL\n{words}\n"
    ).encode()


def _nrrd_files() -> Iterator[bytes]:
    yield from _itk_files(".nrrd")
    words = " ".join(map(str, range(120)))
    yield f"NRRD0004\n# made by hand\ntype: short\ndimension: 2\nsizes: 12 10\nencoding: ascii\n\n{words}\n".encode()


def _dataset(
    pixels: np.ndarray, sop: str = CTImageStorage, syntax: str = ExplicitVRLittleEndian, **tags: Any
) -> Dataset:
    """(rows, columns), (frames, rows, columns), or with a last axis of 3 a colour image."""
    colour = pixels.shape[-1] == 3
    planes = pixels.shape[:-1] if colour else pixels.shape
    header: Any = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = syntax
    header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = sop
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = f"{_UID}.1"
    header.StudyInstanceUID, header.SeriesInstanceUID = f"{_UID}.2", f"{_UID}.3"
    header.Modality, header.SeriesNumber, header.InstanceNumber = "CT", 1, 1
    header.PatientName, header.PatientID = "Phantom", "0"
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
    header = _dataset(_numbers((9, 16, 20), np.int16), EnhancedCTImageStorage)
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


def _dicom_files() -> Iterator[bytes]:
    grey, byte = _numbers((16, 20), np.int16), _numbers((16, 20), np.uint8)
    rescale: dict[str, Any] = {
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "WindowCenter": [40, 50],
        "WindowWidth": [400, 500],
    }
    yield _bytes(_dataset(grey, **_plane(), **rescale))
    yield _bytes(_dataset(grey, syntax=ImplicitVRLittleEndian, **_plane()))
    yield _bytes(_dataset(byte, SecondaryCaptureImageStorage, Modality="OT"))
    yield _bytes(_dataset(byte, PhotometricInterpretation="MONOCHROME1", Modality="CR"))
    yield _bytes(_dataset(_numbers((16, 20), np.uint16), BitsStored=12, Modality="DX", PixelSpacing=[0.2, 0.2]))
    yield _bytes(_dataset(_numbers((16, 20, 3), np.uint8), SecondaryCaptureImageStorage, Modality="US"))
    yield _bytes(_dataset(_numbers((9, 16, 20), np.uint8), Modality="US"))
    yield _bytes(_enhanced())
    for pixels in (grey, _numbers((16, 20, 3), np.uint8)):
        header = _dataset(pixels, **_plane())
        header.compress(RLELossless, generate_instance_uid=False)
        yield _bytes(header)
    lossy = _dataset(byte, syntax=JPEGBaseline8Bit, **_plane())
    lossy.PixelData = encapsulate([_picture(Image.fromarray(byte), "JPEG")])
    lossy["PixelData"].is_undefined_length = True
    yield _bytes(lossy)


def _picture(picture: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, format=form, **options)
    return file.getvalue()


def _grey() -> Image.Image:
    return Image.fromarray(_numbers((16, 20), np.uint8))


def _png_files() -> Iterator[bytes]:
    for mode in ("L", "RGB", "P", "LA", "RGBA", "1"):
        yield _picture(_grey().convert(mode), "PNG")
    yield _picture(Image.fromarray(_numbers((16, 20), np.uint16) * 300), "PNG")


def _tiff_files() -> Iterator[bytes]:
    for mode in ("L", "RGB", "P", "CMYK", "1", "F", "I"):
        yield _picture(_grey().convert(mode), "TIFF")
    deep = Image.fromarray(_numbers((16, 20), np.uint16) * 300)
    for packing in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"):
        yield _picture(deep, "TIFF", compression=packing)
    yield _picture(_grey().convert("RGB"), "TIFF", compression="jpeg")


def _jpeg_files() -> Iterator[bytes]:
    for mode in ("L", "RGB", "CMYK"):
        yield _picture(_grey().convert(mode), "JPEG")
    yield _picture(_grey().convert("RGB"), "JPEG", progressive=True)
    turned = Image.Exif()
    turned[0x0112] = 6
    yield _picture(_grey(), "JPEG", exif=turned)


SEEDS: dict[str, Callable[[], Iterator[bytes]]] = {
    "nii": _nifti_files,
    "nii.gz": lambda: (gzip.compress(data, mtime=0) for data in _nifti_files()),
    "mha": _mha_files,
    "nrrd": _nrrd_files,
    "dcm": _dicom_files,
    "png": _png_files,
    "tiff": _tiff_files,
    "jpg": _jpeg_files,
}
"""Makes the valid files of a kind; the kinds are the files' suffixes."""
