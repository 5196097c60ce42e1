"""Phantoms as DICOM files with true masks, for tests and the demo: no patient, and every file says so.

The same arguments give the same pixels and identifiers. All phantoms of one seed are one study of one "patient".
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom.uid
from PIL import Image, ImageDraw
from pydicom.dataset import Dataset, FileMetaDataset
from scipy.ndimage import affine_transform

from medclipsam_monai.base.files import write_atomically
from medclipsam_monai.io.dicom.saving import save_dicom
from medclipsam_monai.phantoms import Phantom, make_phantom
from medclipsam_monai.phantoms.seeds import DICOM

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
OBLIQUE = (0.96, 0.28, 0.0, -0.224, 0.768, 0.6)  # turned about two axes, still nearest to axial
_ORIGIN = (-190.5, -140.25, 1200.5)  # mm, of the first slice
_ORDERS = ("forward", "reversed", "shuffled")
_NAMES = uuid.UUID("6f2b0c1e-52d4-4b07-9d43-0a5f6f1f7c11")  # the namespace of the identifiers
_VOLUMES = {"CT": ("chest_ct", slice(32, 224), slice(0, 256)), "MR": ("brain_mri", slice(0, 256), slice(16, 240))}
_BODY_PARTS = {"CT": "CHEST", "MR": "HEAD", "CR": "CHEST", "US": "BREAST"}
_CT_BOTTOM, _CT_WIDTH = -1000, 1400  # HU that black stands for, and from there to white
_MR_WHITE = 1000
_XRAY_WHITE = 4095


@dataclass(frozen=True)
class PhantomSeries:
    """A series that was written.

    Attributes:
        files: one a slice, or the one file of a picture.
        masks: (F, rows, columns) bool by target, in the order of ``files`` (of the frames, for one multi-frame file).
    """

    files: tuple[Path, ...]
    masks: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class SliceGrid:
    """What all slices of a series share.

    Attributes:
        directions: ImageOrientationPatient.
        spacing: millimetres between rows, columns and slices.
        window: centre and width in HU in which a CT is shown; an MR is shown whole.
    """

    directions: tuple[float, ...]
    spacing: tuple[float, float, float]
    window: tuple[float, float]


def write_phantom_volume(
    folder: str | Path,
    modality: str = "CT",
    *,
    slices: int = 8,
    seed: int = DICOM.first,
    directions: tuple[float, ...] = AXIAL,
    spacing: tuple[float, float, float] = (1.5, 1.5, 5.0),
    order: str = "forward",
) -> PhantomSeries:
    """A CT of the chest or an MR of the head as a series of slices: 12 bits in 16, CT rescaled to HU.

    From slice to slice the phantom shrinks and moves, so that none is like another or like its mirror image.

    Args:
        folder: where to; the names of the files say nothing of the order.
        modality: "CT" or "MR".
        slices: how many.
        seed: which phantom; the first one from there on that shows a target.
        directions: ImageOrientationPatient: direction cosines of a row, then of a column.
        spacing: millimetres between rows, columns and slices.
        order: how files and InstanceNumber run along the normal: "forward", "reversed" or "shuffled".

    Raises:
        ValueError: an unknown modality or order, directions that are not at a right angle, no slice.
        InputError: the folder cannot be written.
    """
    axes = np.array(directions, float).reshape(2, 3)
    if modality not in _VOLUMES or order not in _ORDERS or slices < 1:
        raise ValueError(f"got {slices} slices of {modality!r} in {order!r} order; expected CT or MR, {_ORDERS}")
    if not np.allclose(axes @ axes.T, np.eye(2), atol=1e-6):
        raise ValueError(f"directions must be two unit vectors at a right angle, got {directions}")
    phantom = _phantom(_VOLUMES[modality][0], seed)
    places = list(range(slices))
    if order == "reversed":
        places.reverse()
    elif order == "shuffled":
        places = np.random.default_rng(slices).permutation(slices).tolist()
    key = f"{modality} {slices} {seed} {directions} {spacing} {order}"
    files = []
    for number, place in enumerate(places, start=1):
        position = np.array(_ORIGIN) + place * spacing[2] * np.cross(*axes)
        image = _at(phantom.image, place, slices, modality, order=1)
        values = image * _CT_WIDTH + _CT_BOTTOM if modality == "CT" else image
        grid = SliceGrid(directions, spacing, (_CT_BOTTOM + _CT_WIDTH / 2, _CT_WIDTH))
        files.append(write_slice(folder, modality, key, seed, number, values, position, grid))
    masks = {
        name: np.stack([_at(mask.astype(np.float32), place, slices, modality, order=0) > 0 for place in places])
        for name, mask in phantom.masks.items()
    }
    return PhantomSeries(tuple(files), masks)


def write_slice(
    folder: str | Path,
    modality: str,
    key: str,
    seed: int,
    number: int,
    image: np.ndarray,
    position: np.ndarray,
    grid: SliceGrid,
) -> Path:
    """One slice of a series.

    Args:
        folder: where to.
        modality: "CT" or "MR".
        key: what the series is, for its identifiers.
        seed: of the study.
        number: InstanceNumber.
        image: (rows, columns) in HU for a CT, in [0, 1] for an MR.
        position: (3,) mm of the first pixel, to the patient's left, back and head.
        grid: what all slices of the series share.

    Raises:
        InputError: the file cannot be written.
    """
    header = _header(key, seed, number, modality)
    header.FrameOfReferenceUID, header.PositionReferenceIndicator = _uid(f"frame {seed}"), ""
    header.ImageOrientationPatient = [*grid.directions]
    header.ImagePositionPatient = [f"{value:.8g}" for value in position]
    header.PixelSpacing, header.SliceThickness = [*grid.spacing[:2]], grid.spacing[2]
    _add_slice(header, modality, image, grid.window)
    return _save(header, Path(folder))


def write_phantom_xray(
    folder: str | Path, *, seed: int = DICOM.first, photometric: str = "MONOCHROME2"
) -> PhantomSeries:
    """A chest X-ray as one computed radiograph: 12 bits in 16, without a frame of reference.

    Args:
        folder: where to.
        seed: which phantom; the first one from there on that shows a target.
        photometric: "MONOCHROME2" or "MONOCHROME1".

    Raises:
        ValueError: another photometric interpretation.
        InputError: the folder cannot be written.
    """
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise ValueError(f"photometric must be MONOCHROME1 or MONOCHROME2, got {photometric!r}")
    phantom = _phantom("chest_xray", seed)
    image = 1 - phantom.image if photometric == "MONOCHROME1" else phantom.image
    header = _header(f"CR {seed} {photometric}", seed, 1, "CR")
    header.ViewPosition, header.PatientOrientation = "PA", ["L", "F"]
    header.ImagerPixelSpacing = [1.4, 1.4]
    header.WindowCenter, header.WindowWidth = _XRAY_WHITE / 2, _XRAY_WHITE
    _set_pixels(header, (image * _XRAY_WHITE).round().astype(np.uint16), photometric)
    return PhantomSeries((_save(header, Path(folder)),), _one_frame(phantom))


def write_phantom_ultrasound(folder: str | Path, *, seed: int = DICOM.first, frames: int = 1) -> PhantomSeries:
    """A breast ultrasound as RGB with text burned in, without a frame of reference; more frames are a grey cine.

    Args:
        folder: where to.
        seed: which phantom; the first one from there on that shows a target.
        frames: 1 for a picture.

    Raises:
        ValueError: no frame.
        InputError: the folder cannot be written.
    """
    if frames < 1:
        raise ValueError(f"frames must be 1 or more, got {frames}")
    phantom = _phantom("breast_ultrasound", seed)
    grey = (phantom.image * 255).round().astype(np.uint8)
    header = _header(f"US {seed} {frames}", seed, 1, "US", cine=frames > 1)
    header.PatientOrientation, header.BurnedInAnnotation = "", "NO" if frames > 1 else "YES"
    header.Laterality = "L"
    if frames == 1:
        picture = Image.fromarray(grey).convert("RGB")
        ImageDraw.Draw(picture).text((4, 2), "PHANTOM  12 MHz  5 cm", fill=(255, 220, 0))
        _set_pixels(header, np.array(picture), "RGB")
        return PhantomSeries((_save(header, Path(folder)),), _one_frame(phantom))
    header.NumberOfFrames, header.FrameTime, header.FrameIncrementPointer = frames, 40, 0x00181063
    _set_pixels(header, np.stack([np.roll(grey, frame, axis=1) for frame in range(frames)]), "MONOCHROME2")
    masks = {
        name: np.stack([np.roll(mask, frame, axis=1) for frame in range(frames)])
        for name, mask in phantom.masks.items()
    }
    return PhantomSeries((_save(header, Path(folder)),), masks)


def _phantom(task: str, seed: int) -> Phantom:
    while not (phantom := make_phantom(task, seed, captions=0)).masks:
        seed += 1
    return phantom


def _one_frame(phantom: Phantom) -> dict[str, np.ndarray]:
    return {name: mask[None].copy() for name, mask in phantom.masks.items()}


def _at(picture: np.ndarray, place: int, slices: int, modality: str, order: int) -> np.ndarray:
    """The phantom's cross-section: from the first slice to the last it shrinks by a fifth and moves to the right."""
    depth = place / max(slices - 1, 1)
    scale = 1 / (1 - 0.2 * depth)
    middle = (np.array(picture.shape) - 1) / 2
    offset = middle - scale * (middle + np.array([0.0, 12.0]) * depth)
    moved = affine_transform(picture, np.array([scale, scale]), offset=offset, order=order)
    _, rows, columns = _VOLUMES[modality]
    return moved[rows, columns]


def _uid(text: str) -> str:
    return f"2.25.{uuid.uuid5(_NAMES, text).int}"


def _header(key: str, seed: int, number: int, modality: str, cine: bool = False) -> Dataset:
    """What every image states: no patient, a phantom, and its identifiers."""
    classes = {
        "CT": pydicom.uid.CTImageStorage,
        "MR": pydicom.uid.MRImageStorage,
        "CR": pydicom.uid.ComputedRadiographyImageStorage,
        "US": pydicom.uid.UltrasoundMultiFrameImageStorage if cine else pydicom.uid.UltrasoundImageStorage,
    }
    header = Dataset()
    header.SOPClassUID, header.SOPInstanceUID = classes[modality], _uid(f"image {key} {number}")
    header.StudyInstanceUID, header.SeriesInstanceUID = _uid(f"study {seed}"), _uid(f"series {key}")
    header.PatientName, header.PatientID = "Phantom^No Patient", f"PHANTOM-{seed}"
    header.PatientBirthDate, header.PatientSex, header.ReferringPhysicianName = "", "O", ""
    header.StudyDate, header.StudyTime, header.StudyID = "20240102", "030405", str(seed)
    header.AccessionNumber, header.SeriesDescription = "", f"Phantom {modality}, computed, no patient"
    header.Modality, header.SeriesNumber, header.InstanceNumber = modality, 1, number
    header.Manufacturer, header.PatientPosition, header.AcquisitionNumber = "medclipsam-monai phantom", "HFS", 1
    header.ImageType, header.ContentDate, header.ContentTime = ["ORIGINAL", "PRIMARY"], "20240102", "030405"
    header.BodyPartExamined = _BODY_PARTS[modality]
    return header


def _add_slice(header: Dataset, modality: str, image: np.ndarray, window: tuple[float, float]) -> None:
    if modality == "CT":
        header.ImageType, header.KVP = ["ORIGINAL", "PRIMARY", "AXIAL"], 120
        header.RescaleIntercept, header.RescaleSlope, header.RescaleType = -1024, 1, "HU"
        header.WindowCenter, header.WindowWidth = window
        stored = image + 1024
    else:
        header.ImageType, header.ScanningSequence = ["ORIGINAL", "PRIMARY", "OTHER"], "SE"
        header.SequenceVariant, header.ScanOptions = "NONE", ""
        header.MRAcquisitionType, header.EchoTime, header.RepetitionTime, header.EchoTrainLength = "2D", 10, 500, 1
        header.WindowCenter, header.WindowWidth = _MR_WHITE / 2, _MR_WHITE
        stored = image * _MR_WHITE
    _set_pixels(header, stored.round().astype(np.uint16), "MONOCHROME2")


def _set_pixels(header: Dataset, pixels: np.ndarray, photometric: str) -> None:
    colour = photometric == "RGB"
    header.SamplesPerPixel, header.PhotometricInterpretation = 3 if colour else 1, photometric
    if colour:
        header.PlanarConfiguration = 0
    header.Rows, header.Columns = pixels.shape[:2] if colour else pixels.shape[-2:]
    header.BitsAllocated = pixels.dtype.itemsize * 8
    header.BitsStored = 12 if header.BitsAllocated == 16 else 8
    header.HighBit, header.PixelRepresentation = header.BitsStored - 1, 0
    header.PixelData = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()


def _save(header: Dataset, folder: Path) -> Path:
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    path = folder / f"{uuid.uuid5(_NAMES, header.SOPInstanceUID).hex[:12]}.dcm"
    return write_atomically(path, lambda part: save_dicom(header, part))
