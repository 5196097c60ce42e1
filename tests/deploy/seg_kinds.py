"""Kinds of DICOM images, by table: what each states of its pixels and of its place. The pixels are the answer.

Every kind's stored values are three: 0, 1 and 2 times something, which stand for background and two segments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom.uid as uids
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import generate_uid

ROWS, COLUMNS = 24, 32
OBLIQUE = [0.96, 0.28, 0.0, -0.224, 0.768, 0.6]
CORONAL = [1, 0, 0, 0, 0, -1]
SPACING = [0.75, 0.5]
POSITION = [-10.5, 20.25, 300.125]
THICKNESS = 2.5
REFERENCE, STUDY = generate_uid(), generate_uid()


@dataclass(frozen=True)
class Kind:
    """One kind of image.

    Attributes:
        storage: its SOP class.
        modality: of its header.
        where: name of the `Where` that its SEG must have; "cine" for one that no SEG can refer to.
        tags: what it states besides.
        form: MONOCHROME1, MONOCHROME2, RGB, YBR_FULL or PALETTE COLOR.
        frames: of a multi-frame image, in places in mm along the normal; a number of them without places; or None.
        slices: files of a series.
        size: rows and columns.
    """

    storage: str
    modality: str
    where: str
    tags: Mapping[str, Any] = field(default_factory=dict)
    form: str = "MONOCHROME2"
    frames: tuple[float, ...] | int | None = None
    slices: int = 1
    size: tuple[int, int] = (ROWS, COLUMNS)


def pixel_size(keyword: str = "PixelSpacing") -> dict[str, Any]:
    return {keyword: SPACING}


def placed(directions: list[float] = OBLIQUE, **others: Any) -> dict[str, Any]:
    """All of a slice's place; a value of None leaves one out."""
    place = {
        "ImagePositionPatient": POSITION,
        "ImageOrientationPatient": directions,
        "PixelSpacing": SPACING,
        "SliceThickness": THICKNESS,
        "FrameOfReferenceUID": REFERENCE,
    }
    return {name: value for name, value in {**place, **others}.items() if value is not None}


def regions() -> dict[str, Any]:
    """An ultrasound's calibrated region: its size is that of a region, not of the picture."""
    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = 1, 1, 0
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 2, 2
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = 20, 20
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX = region.PhysicalDeltaY = 0.01
    return {"SequenceOfUltrasoundRegions": [region]}


def reconstruction() -> dict[str, Any]:
    """A tomography of nuclear medicine, whose slices are placed by their detector."""
    detector = Dataset()
    detector.ImagePositionPatient, detector.ImageOrientationPatient = POSITION, OBLIQUE
    return {
        "ImageType": ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"],
        "DetectorInformationSequence": [detector],
        "SliceVector": [1, 2, 3],
        "SpacingBetweenSlices": THICKNESS,
        "SliceThickness": THICKNESS,
        "PixelSpacing": SPACING,
        "FrameOfReferenceUID": REFERENCE,
    }


IMAGER, NOMINAL = pixel_size("ImagerPixelSpacing"), pixel_size("NominalScannedPixelSpacing")
PLAIN, BOTH = pixel_size(), pixel_size() | pixel_size("ImagerPixelSpacing")
FRAME = {"FrameOfReferenceUID": REFERENCE}
DX, DX_RAW = uids.DigitalXRayImageStorageForPresentation, uids.DigitalXRayImageStorageForProcessing
MG, IO = uids.DigitalMammographyXRayImageStorageForPresentation, uids.DigitalIntraOralXRayImageStorageForPresentation
CR, XA, RF = (
    uids.ComputedRadiographyImageStorage,
    uids.XRayAngiographicImageStorage,
    uids.XRayRadiofluoroscopicImageStorage,
)
NM, PT, RT = uids.NuclearMedicineImageStorage, uids.PositronEmissionTomographyImageStorage, uids.RTImageStorage
US, US_MULTI, SC = uids.UltrasoundImageStorage, uids.UltrasoundMultiFrameImageStorage, uids.SecondaryCaptureImageStorage
SC_BYTES = uids.MultiFrameGrayscaleByteSecondaryCaptureImageStorage
SC_WORDS = uids.MultiFrameGrayscaleWordSecondaryCaptureImageStorage
SC_COLOUR = uids.MultiFrameTrueColorSecondaryCaptureImageStorage
IVOCT = uids.IntravascularOpticalCoherenceTomographyImageStorageForPresentation
CT, MR = uids.CTImageStorage, uids.MRImageStorage
OP8, OP16 = uids.OphthalmicPhotography8BitImageStorage, uids.OphthalmicPhotography16BitImageStorage
UNRELATED = placed(FrameOfReferenceUID=None)
THREE, UNEVEN = (0.0, 2.5, 5.0), (5.0, 0.0, 2.5)

KINDS: dict[str, Kind] = {
    "DX, nothing stated": Kind(DX, "DX", "PIXELS"),
    "DX, detector's pixels": Kind(DX, "DX", "PIXELS", IMAGER, "MONOCHROME1"),
    "DX, pixel size": Kind(DX, "DX", "PIXEL_GRID", BOTH, "MONOCHROME1"),
    "DX, frame of reference alone": Kind(DX, "DX", "PIXELS", {**FRAME, **IMAGER}),
    "DX, frame of reference and pixel size": Kind(DX, "DX", "PIXEL_GRID", {**FRAME, **BOTH}),
    "DX for processing": Kind(DX_RAW, "DX", "PIXEL_GRID", BOTH),
    "panoramic X-ray": Kind(DX, "PX", "PIXEL_GRID", PLAIN),
    "intra-oral X-ray": Kind(IO, "IO", "PIXEL_GRID", BOTH, "MONOCHROME1"),
    "CR, detector's pixels": Kind(CR, "CR", "PIXELS", {**IMAGER, "PatientOrientation": ["L", "F"]}),
    "CR, pixel size": Kind(CR, "CR", "PIXEL_GRID", {**BOTH, "PatientOrientation": ["L", "F"]}),
    "CR, MONOCHROME1, pixel size": Kind(CR, "CR", "PIXEL_GRID", PLAIN, "MONOCHROME1"),
    "CR, scanned film": Kind(CR, "CR", "PIXELS", NOMINAL),
    "MG, detector's pixels": Kind(MG, "MG", "PIXELS", IMAGER),
    "MG, pixel size": Kind(MG, "MG", "PIXEL_GRID", BOTH),
    "MG, frame of reference alone": Kind(MG, "MG", "PIXELS", {**FRAME, **IMAGER}, "MONOCHROME1"),
    "MG, tomosynthesis": Kind(uids.BreastTomosynthesisImageStorage, "MG", "PATIENT", FRAME, frames=THREE),
    "XA, nothing stated": Kind(XA, "XA", "PIXELS"),
    "XA, pixel size": Kind(XA, "XA", "PIXEL_GRID", BOTH),
    "XA, one frame": Kind(XA, "XA", "PIXEL_GRID", BOTH, frames=1),
    "XA, cine": Kind(XA, "XA", "cine", IMAGER, frames=3),
    "XA, enhanced, one frame": Kind(uids.EnhancedXAImageStorage, "XA", "PIXELS", frames=1),
    "XA, reconstructed volume": Kind(uids.XRay3DAngiographicImageStorage, "XA", "PATIENT", FRAME, frames=THREE),
    "RF, nothing stated": Kind(RF, "RF", "PIXELS"),
    "RF, pixel size": Kind(RF, "RF", "PIXEL_GRID", PLAIN),
    "RF, cine": Kind(RF, "RF", "cine", PLAIN, frames=4),
    "RT image": Kind(RT, "RTIMAGE", "PIXELS", {"ImagePlanePixelSpacing": SPACING}),
    "NM, nothing stated": Kind(NM, "NM", "PIXELS", frames=1),
    "NM, pixel size": Kind(NM, "NM", "PIXEL_GRID", PLAIN, frames=1),
    "NM, pixel size and frame of reference": Kind(NM, "NM", "PIXEL_GRID", {**PLAIN, **FRAME}, frames=1),
    "NM, palette": Kind(NM, "NM", "PIXEL_GRID", PLAIN, "PALETTE COLOR"),
    "NM, several views": Kind(NM, "NM", "cine", PLAIN, frames=3),
    "NM, tomography": Kind(NM, "NM", "PATIENT", reconstruction(), frames=3),
    "NM, tomography without frame of reference": Kind(
        NM, "NM", "OWN_REFERENCE", {key: value for key, value in reconstruction().items() if key not in FRAME}, frames=3
    ),
    "NM, retired class": Kind("1.2.840.10008.5.1.4.1.1.5", "NM", "PIXEL_GRID", PLAIN),
    "PT, slice": Kind(PT, "PT", "PATIENT", placed()),
    "PT, series": Kind(PT, "PT", "PATIENT", placed(CORONAL), slices=3),
    "PT, without frame of reference": Kind(PT, "PT", "OWN_REFERENCE", UNRELATED, slices=3),
    "PT, pixel size alone": Kind(PT, "PT", "PIXEL_GRID", PLAIN),
    "PT, enhanced": Kind(uids.EnhancedPETImageStorage, "PT", "PATIENT", FRAME, frames=UNEVEN),
    "US, grey": Kind(US, "US", "PIXELS"),
    "US, grey, odd size": Kind(US, "US", "PIXELS", size=(25, 33)),
    "US, colour": Kind(US, "US", "PIXELS", {}, "RGB"),
    "US, colour with regions": Kind(US, "US", "PIXELS", regions(), "RGB"),
    "US, pixel size": Kind(US, "US", "PIXEL_GRID", PLAIN | regions()),
    "US, YBR, pixel size": Kind(US, "US", "PIXEL_GRID", PLAIN, "YBR_FULL"),
    "US, palette": Kind(US, "US", "PIXELS", {}, "PALETTE COLOR"),
    "US, multi-frame of one": Kind(US_MULTI, "US", "PIXELS", regions(), frames=1),
    "US, cine": Kind(US_MULTI, "US", "cine", regions(), frames=5),
    "US, retired class": Kind("1.2.840.10008.5.1.4.1.1.6", "US", "PIXELS", {}, "RGB"),
    "US, enhanced volume": Kind(uids.EnhancedUSVolumeStorage, "US", "PATIENT", FRAME, frames=THREE),
    "IVUS, picture": Kind(US, "IVUS", "PIXEL_GRID", PLAIN),
    "IVUS, pullback": Kind(US_MULTI, "IVUS", "cine", regions(), frames=3),
    "IVOCT, picture": Kind(IVOCT, "IVOCT", "PIXELS", frames=1),
    "SC, colour": Kind(SC, "OT", "PIXELS", {}, "RGB"),
    "SC, grey": Kind(SC, "SC", "PIXELS"),
    "SC, scanned film": Kind(SC, "CR", "PIXELS", NOMINAL),
    "SC, pixel size": Kind(SC, "OT", "PIXEL_GRID", NOMINAL | PLAIN),
    "SC, colour, pixel size": Kind(SC, "OT", "PIXEL_GRID", PLAIN, "RGB"),
    "SC, palette": Kind(SC, "OT", "PIXELS", {}, "PALETTE COLOR"),
    "SC, placed": Kind(SC, "OT", "PATIENT", placed()),
    "SC, grey bytes, one frame": Kind(SC_BYTES, "OT", "PIXEL_GRID", PLAIN, frames=1),
    "SC, grey words, one frame": Kind(SC_WORDS, "OT", "PIXELS", frames=1),
    "SC, true colour, one frame": Kind(SC_COLOUR, "OT", "PIXEL_GRID", PLAIN, "RGB", 1),
    "SC, grey bytes, several frames": Kind(SC_BYTES, "OT", "cine", PLAIN, frames=2),
    "CT, slice": Kind(CT, "CT", "PATIENT", placed()),
    "CT, slice of unstated thickness": Kind(CT, "CT", "PATIENT", placed(SliceThickness=None)),
    "CT, series": Kind(CT, "CT", "PATIENT", placed(), slices=3),
    "CT, series without frame of reference": Kind(CT, "CT", "OWN_REFERENCE", UNRELATED, slices=3),
    "CT, slice without frame of reference": Kind(CT, "CT", "OWN_REFERENCE", UNRELATED),
    "CT, slice without position": Kind(CT, "CT", "PIXEL_GRID", placed(ImagePositionPatient=None)),
    "CT, slice without directions": Kind(CT, "CT", "PIXEL_GRID", placed(ImageOrientationPatient=None)),
    "CT, slice without pixel size": Kind(CT, "CT", "PIXELS", placed(PixelSpacing=None)),
    "CT, slice that states nothing": Kind(CT, "CT", "PIXELS"),
    "CT, enhanced": Kind(uids.EnhancedCTImageStorage, "CT", "PATIENT", FRAME, frames=THREE),
    "CT, enhanced, without frame of reference": Kind(uids.EnhancedCTImageStorage, "CT", "OWN_REFERENCE", frames=UNEVEN),
    "CT, legacy converted": Kind(uids.LegacyConvertedEnhancedCTImageStorage, "CT", "PATIENT", FRAME, frames=UNEVEN),
    "MR, slice": Kind(MR, "MR", "PATIENT", placed(CORONAL), "MONOCHROME1"),
    "MR, series": Kind(MR, "MR", "PATIENT", placed(), slices=4),
    "MR, slice that states nothing": Kind(MR, "MR", "PIXELS"),
    "MR, enhanced": Kind(uids.EnhancedMRImageStorage, "MR", "PATIENT", FRAME, frames=UNEVEN),
    "MR, enhanced, one frame": Kind(uids.EnhancedMRImageStorage, "MR", "PATIENT", FRAME, frames=(2.5,)),
    "MR, enhanced, one frame, nothing stated": Kind(uids.EnhancedMRImageStorage, "MR", "PIXELS", frames=1),
    "ES": Kind(uids.VLEndoscopicImageStorage, "ES", "PIXELS", {}, "RGB"),
    "XC": Kind(uids.VLPhotographicImageStorage, "XC", "PIXELS", {}, "RGB"),
    "XC, pixel size": Kind(uids.VLPhotographicImageStorage, "XC", "PIXEL_GRID", PLAIN, "RGB"),
    "GM": Kind(uids.VLMicroscopicImageStorage, "GM", "PIXELS", {}, "YBR_FULL"),
    "ES, video": Kind(uids.VideoEndoscopicImageStorage, "ES", "cine", frames=3),
    "OP, 8 bits": Kind(OP8, "OP", "PIXELS", {}, "RGB", 1),
    "OP, 8 bits, pixel size": Kind(OP8, "OP", "PIXEL_GRID", PLAIN, "RGB", 1),
    "OP, 16 bits": Kind(OP16, "OP", "PIXEL_GRID", PLAIN, frames=1),
    "OPT, volume": Kind(uids.OphthalmicTomographyImageStorage, "OPT", "PATIENT", FRAME, frames=THREE),
}  # fmt: skip


def write(kind: Kind, folder: Path) -> tuple[list[Dataset], np.ndarray]:
    """The files of a kind: their headers in order, and the label of every stored pixel, (F, rows, columns)."""
    count = kind.slices if kind.frames is None else kind.frames if isinstance(kind.frames, int) else len(kind.frames)
    labels = np.random.default_rng(count).integers(0, 3, (count, *kind.size), np.uint8)
    series, headers = generate_uid(), []
    for number in range(kind.slices):
        header = _header(kind, series, number)
        _set_pixels(header, kind, labels if kind.frames is not None else labels[number])
        header.save_as(folder / f"{number}.dcm", enforce_file_format=True)
        headers.append(header)
    return headers, labels


def normal_of(directions: list[float]) -> np.ndarray:
    return np.cross(directions[:3], directions[3:])


def _header(kind: Kind, series: str, number: int) -> Dataset:
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = uids.ExplicitVRLittleEndian
    header.SOPClassUID, header.SOPInstanceUID, header.StudyInstanceUID = kind.storage, generate_uid(), generate_uid()
    header.SeriesInstanceUID, header.Modality, header.InstanceNumber = series, kind.modality, number + 1
    if kind.slices > 1:
        header.StudyInstanceUID = STUDY
    header.PatientName, header.PatientID, header.StudyDate = "Kind^Phantom", "KIND", "20240102"
    for keyword, value in kind.tags.items():
        setattr(header, keyword, value)
    if kind.slices > 1:
        place = np.array(POSITION) + number * THICKNESS * normal_of(header.ImageOrientationPatient)
        header.ImagePositionPatient = [f"{value:.9g}" for value in place]
    if isinstance(kind.frames, tuple):
        _set_groups(header, kind.frames)
    return header


def _set_groups(header: Dataset, places: tuple[float, ...]) -> None:
    shared, plane, measures = Dataset(), Dataset(), Dataset()
    plane.ImageOrientationPatient, measures.PixelSpacing, measures.SliceThickness = OBLIQUE, SPACING, THICKNESS
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [plane], [measures]
    groups = []
    for place in places:
        position, group = Dataset(), Dataset()
        where = np.array(POSITION) + place * normal_of(OBLIQUE)
        position.ImagePositionPatient = [f"{value:.9g}" for value in where]
        group.PlanePositionSequence = [position]
        groups.append(group)
    header.SharedFunctionalGroupsSequence, header.PerFrameFunctionalGroupsSequence = [shared], groups


def _set_pixels(header: Dataset, kind: Kind, labels: np.ndarray) -> None:
    form, colour = kind.form, kind.form in ("RGB", "YBR_FULL")
    deep = form.startswith("MONOCHROME") and kind.modality in ("CT", "MR", "PT", "NM", "DX", "MG")
    pixels = labels.astype(np.uint16) * 1000 if deep else labels * (1 if form == "PALETTE COLOR" else 100)
    if form == "RGB":
        pixels = np.stack([pixels] * 3, axis=-1)
    elif form == "YBR_FULL":
        pixels = np.stack([pixels, np.full_like(pixels, 128), np.full_like(pixels, 128)], axis=-1)
    elif form == "PALETTE COLOR":
        for name in ("Red", "Green", "Blue"):
            setattr(header, f"{name}PaletteColorLookupTableDescriptor", [3, 0, 16])
            entries = np.array([0, 20000, 60000], "<u2").tobytes()
            setattr(header, f"{name}PaletteColorLookupTableData", entries)
    header.SamplesPerPixel, header.PhotometricInterpretation = 3 if colour else 1, form
    if colour:
        header.PlanarConfiguration = 0
    if kind.frames is not None:
        header.NumberOfFrames = len(labels)
    header.Rows, header.Columns, header.PixelRepresentation = *kind.size, 0
    header.BitsAllocated = header.BitsStored = 16 if deep else 8
    header.HighBit, header.PixelData = header.BitsStored - 1, pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
