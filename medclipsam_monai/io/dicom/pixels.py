"""Stored pixels of a DICOM file as numbers: decoded, and mapped as its header says (PS3.3 C.7.6.3 and C.11.1).

Uncompressed and run-length encoded pixels are decoded by pydicom, the JPEG family by GDCM (through itk), each by
the other where it is refused. GDCM is handed a copy with a plain header: it would rescale and invert by itself, and mix
the byte planes of deep colours. MONOCHROME1 is recorded, not inverted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    RLELossless,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.dicom.header import (
    PLAIN_SYNTAXES,
    check_promise,
    frame_count,
    parse_with_pixels,
    pixel_bytes,
    transfer_syntax,
    uid_name,
)
from medclipsam_monai.io.dicom.saving import save_dicom
from medclipsam_monai.io.dicom.stated import check_cells, modality_number
from medclipsam_monai.io.dicom.streams import check_stream, stream_colours
from medclipsam_monai.io.guard import reading

try:
    from pydicom.pixels.processing import apply_color_lut, convert_color_space
except ImportError:  # pydicom 2, which MONAI Label needs
    from pydicom.pixel_data_handlers.util import apply_color_lut, convert_color_space  # type: ignore[no-redef]

ModalityMap = Callable[[np.ndarray, int], np.ndarray]
_NEW_PYDICOM = hasattr(Dataset, "pixel_array_options")
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_SHAPE = (
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PlanarConfiguration",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
)
_JPEG_FAMILY = (
    *pydicom.uid.JPEGTransferSyntaxes,
    *pydicom.uid.JPEGLSTransferSyntaxes,
    *pydicom.uid.JPEG2000TransferSyntaxes,
)
_YBR = ("YBR_FULL", "YBR_FULL_422")
_ITK_NUMBERS = {
    "char": "i1",
    "signed_char": "i1",
    "unsigned_char": "u1",
    "short": "i2",
    "unsigned_short": "u2",
    "int": "i4",
    "unsigned_int": "u4",
    "float": "f4",
    "double": "f8",
}
_ITK_GREYS = {"i1": "SS", "u1": "UC", "i2": "SS", "u2": "US", "i4": "SI", "u4": "UI", "f4": "F"}
_ITK_COLOURS = {"i1": "SS", "u1": "UC", "i2": "SS", "u2": "US", "f4": "F"}
"""Types of numbers -> the type of itk's images that holds them all; doubles hold the others."""


def read_pixels(path: Path) -> tuple[np.ndarray, bool]:
    """Reads a file's pixels.

    Returns:
        (frames, rows, columns, C), C = 1 or 3, modality values (rescaled, or through the Modality LUT); float32 where
        they are mapped, else as stored. And whether they are 8-bit display values, 0..255.

    Raises:
        InputError: damaged, too large, or a form that neither decoder knows.
    """
    with reading(path, "a DICOM file"), path.open("rb") as file:
        stored, header = decode_file(file, path)
    with reading(path, "a DICOM image"):
        to_modality = modality_map(header, path) if stored.shape[-1] == 1 else None
        if to_modality is None:
            return stored, stored.dtype == np.uint8
        return np.stack([to_modality(cells, frame) for frame, cells in enumerate(stored)]), False


def decode_file(file: BinaryIO, path: Path) -> tuple[np.ndarray, Dataset]:
    """Decodes a file that is open at its start.

    Returns:
        Its stored values (frames, rows, columns, C), palettes looked up and colours as RGB, and its header without the
        pixels.

    Raises:
        InputError: see `read_pixels`.
    """
    header = parse_with_pixels(file, path)
    if not header.get("Rows"):  # pydicom gives back nothing where the encoded pixels end early
        raise InputError(f"{path}: cannot be read as a DICOM image: cut short")
    check_promise(path, header)
    check_cells(header, path)
    with reading(path, "a DICOM image"):
        stored = _decode(header, path)
        for keyword in _PIXELS:
            header.pop(keyword, None)
        if header.get("PhotometricInterpretation") == "PALETTE COLOR":
            stored = apply_color_lut(stored[..., 0], header)[..., :3]
    return stored, header


def _decode(header: Dataset, path: Path) -> np.ndarray:
    """Stored values (frames, rows, columns, samples), colours as RGB."""
    plain = transfer_syntax(header) in (*PLAIN_SYNTAXES, RLELossless)
    shape = (frame_count(header), int(header.Rows), int(header.Columns), int(header.get("SamplesPerPixel") or 1))
    if transfer_syntax(header) in PLAIN_SYNTAXES:
        _check_length(header, shape, path)
    else:
        frame_bytes = pixel_bytes(header, (1, *shape[1:]))
        check_stream(header.get("PixelData"), shape, frame_bytes, path, jpeg=transfer_syntax(header) in _JPEG_FAMILY)
    decoders = [_by_pydicom, _by_gdcm] if plain else [_by_gdcm, _by_pydicom]
    problems = []
    for decoder in decoders:
        try:
            cells = decoder(header)
        except Exception as error:  # the decoders raise nearly every built-in exception on damaged files
            problems.append(error)
            continue
        if cells.size != np.prod(shape):
            raise InputError(f"{path}: promises {shape[0]} frames and holds another number of pixels")
        return _stored_values(cells.reshape(shape), header)
    syntax = uid_name(transfer_syntax(header), "an unknown transfer syntax")
    bits = f"{int(header.get('BitsStored') or 0)} of {int(header.get('BitsAllocated') or 0)} bits"
    raise InputError(
        f"{path}: its pixels cannot be decoded ({syntax}, {bits}): damaged, or a form that neither GDCM nor "
        "pydicom knows; save it uncompressed"
    ) from problems[0]


def _check_length(header: Dataset, shape: tuple[int, ...], path: Path) -> None:
    """Refuses uncompressed pixels that end early: GDCM would fill what is missing."""
    held = next((len(header[keyword].value or b"") for keyword in _PIXELS if keyword in header), 0)
    needed = pixel_bytes(header, shape)
    if held < needed:
        raise InputError(
            f"{path}: cannot be read as a DICOM image: cut short, holds {held:,} of {needed:,} bytes of pixels"
        )


def _plain_copy(header: Dataset, syntax: str) -> Dataset:
    """The pixels with what decoding them needs and nothing else."""
    copy = Dataset()
    copy.SOPClassUID, copy.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    for keyword in _SHAPE:
        if keyword in header:
            setattr(copy, keyword, header[keyword].value)
    for keyword in _PIXELS:
        if keyword in header:
            copy[keyword] = header[keyword]
    samples = int(header.get("SamplesPerPixel") or 1)
    copy.SamplesPerPixel = samples
    stated = str(header.get("PhotometricInterpretation", "RGB"))
    if samples == 3 and syntax in _JPEG_FAMILY:
        stated = stream_colours(header.get("PixelData"), stated)
    copy.PhotometricInterpretation = "MONOCHROME2" if samples == 1 else stated
    copy.file_meta = FileMetaDataset()
    copy.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    copy.file_meta.MediaStorageSOPClassUID = copy.SOPClassUID
    copy.file_meta.MediaStorageSOPInstanceUID = copy.SOPInstanceUID
    if not _NEW_PYDICOM:
        copy.is_little_endian = pydicom.uid.UID(syntax).is_little_endian
        copy.is_implicit_VR = pydicom.uid.UID(syntax).is_implicit_VR
    return copy


def _by_pydicom(header: Dataset) -> np.ndarray:
    syntax = transfer_syntax(header)
    deflated = syntax == DeflatedExplicitVRLittleEndian
    copy = _plain_copy(header, str(ExplicitVRLittleEndian) if deflated else syntax)
    native = syntax in (*PLAIN_SYNTAXES, RLELossless)
    if native and "BitsAllocated" in copy:  # the cells as they are; `_stored_values` takes the stored bits
        copy.BitsStored, copy.HighBit = copy.BitsAllocated, int(copy.BitsAllocated) - 1
    if _NEW_PYDICOM:
        copy.pixel_array_options(raw=native)
    cells = copy.pixel_array
    if native and copy.PhotometricInterpretation in _YBR and int(copy.SamplesPerPixel) == 3:
        return convert_color_space(cells, "YBR_FULL", "RGB")
    if not native and not _NEW_PYDICOM and copy.PhotometricInterpretation in _YBR:
        return convert_color_space(cells, copy.PhotometricInterpretation, "RGB")
    return cells


def _by_gdcm(header: Dataset) -> np.ndarray:
    copy = _plain_copy(header, transfer_syntax(header))
    with tempfile.TemporaryDirectory(prefix="medclipsam-") as folder:
        file = Path(folder, "image.dcm")
        save_dicom(copy, file)
        return _read_with_itk(file, colour=int(copy.SamplesPerPixel) > 1)


def _read_with_itk(file: Path, colour: bool) -> np.ndarray:
    """The cells that GDCM decodes, of its own type, which itk's Python classes hold in a wider one if need be."""
    import itk  # takes seconds

    decoder = itk.GDCMImageIO.New(FileName=str(file))
    decoder.ReadImageInformation()
    dtype = np.dtype(_ITK_NUMBERS[decoder.GetComponentTypeAsString(decoder.GetComponentType())])
    kinds = _ITK_COLOURS if colour else _ITK_GREYS
    pixel = getattr(itk, kinds.get(dtype.str[1:], "D"))
    image = (itk.VectorImage if colour else itk.Image)[pixel, 3]
    reader = itk.ImageFileReader[image].New(FileName=str(file), ImageIO=decoder)
    reader.Update()
    return itk.array_from_image(reader.GetOutput()).astype(dtype, copy=False)


def _stored_values(cells: np.ndarray, header: Dataset) -> np.ndarray:
    """The stored bits of pixel cells, which may hold overlays in the others, with their sign (PS3.5 8.1.1)."""
    stored, allocated = int(header.get("BitsStored") or 0), cells.dtype.itemsize * 8
    if cells.dtype.kind not in "iu" or not 0 < stored < allocated:
        return cells
    top = int(header.get("HighBit") or 0) + 1
    up = allocated - (top if stored <= top <= allocated else stored)
    cells = np.require(cells, requirements="W")  # in place, as a volume of many frames is large
    cells <<= up
    cells >>= allocated - stored  # arithmetic where signed
    return cells


def modality_map(header: Dataset, path: Path) -> ModalityMap | None:
    """What makes grey stored values of one frame, given its number, float32 modality values.

    None where there is neither a Modality LUT nor a slope and intercept: the values stay as they are, type and all.

    Raises:
        InputError: a slope, intercept or table is stated and is none.
    """
    if header.get("ModalityLUTSequence"):
        first, values, _ = lookup_table(header.ModalityLUTSequence[0], signed=bool(header.get("PixelRepresentation")))

        def look_up(cells: np.ndarray, frame: int) -> np.ndarray:
            index = np.clip(cells.astype(np.int64) - first, 0, len(values) - 1)
            return values[index].astype(np.float32)

        return look_up
    frames = range(frame_count(header))
    slopes = [modality_number(header, frame, "RescaleSlope", path) or 1.0 for frame in frames]
    intercepts = [modality_number(header, frame, "RescaleIntercept", path) or 0.0 for frame in frames]
    if set(slopes) == {1.0} and set(intercepts) == {0.0}:
        return None

    def rescale(cells: np.ndarray, frame: int) -> np.ndarray:
        return (cells.astype(np.float64) * slopes[frame] + intercepts[frame]).astype(np.float32)

    return rescale


def lookup_table(item: Dataset, signed: bool) -> tuple[int, np.ndarray, int]:
    """A Modality or VOI LUT.

    Args:
        item: of its sequence.
        signed: whether the values that go in are.

    Returns:
        The first value that is mapped, what it and the following ones become (N,), and the bits of an entry.

    Raises:
        InputError: fewer entries than promised.
    """
    count, first, bits = (int(number) for number in item.LUTDescriptor)
    count = count & 0xFFFF or 1 << 16
    if signed and first >= 1 << 15:
        first -= 1 << 16
    elif not signed:
        first &= 0xFFFF
    data: Any = item.LUTData
    if isinstance(data, bytes):
        entries = np.frombuffer(data, np.uint8 if len(data) in (count, count + 1) and bits <= 8 else "<u2")
    else:
        entries = np.asarray(data, np.int64).reshape(-1) & 0xFFFF
        if bits <= 8 and len(entries) < count:  # two in each word
            entries = entries.astype("<u2").view(np.uint8)
    if len(entries) < count:
        raise InputError(f"a lookup table has {len(entries)} entries, its header promises {count}")
    return first, entries[:count].astype(np.int64), bits
