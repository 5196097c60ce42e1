"""Small valid NIfTI, MetaImage and NRRD files."""

from __future__ import annotations

import bz2
import gzip
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from tools.robustness.seeds.values import OBLIQUE, numbers


def nifti_files() -> Iterator[bytes]:
    rgb = np.zeros((14, 12, 9), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    rgb["R"], rgb["B"] = numbers((14, 12, 9), np.uint8), 90
    for kind in (np.int16, np.uint8, np.float32, np.float64, np.uint16):
        image = nib.Nifti1Image(numbers((14, 12, 9), kind), OBLIQUE)
        image.header.set_xyzt_units("mm")
        yield image.to_bytes()
    yield nib.Nifti1Image(rgb, np.diag([1.5, 2, 3, 1])).to_bytes()
    yield nib.Nifti1Image(numbers((20, 16), np.int16), np.diag([-1, -1, 2.0, 1])).to_bytes()
    yield nib.Nifti2Image(numbers((14, 12, 9), np.int32), OBLIQUE).to_bytes()
    big = nib.Nifti1Header(endianness=">")
    big.set_data_dtype(np.dtype(">i2"))
    yield nib.Nifti1Image(numbers((14, 12, 9), np.int16), OBLIQUE, big).to_bytes()
    scaled = nib.Nifti1Image(numbers((14, 12, 9), np.int16), None)
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
            image = sitk.GetImageFromArray(numbers(shape, kind))
            image.SetSpacing((1.5, 2.0, 3.0)[: len(shape)])
            image.SetOrigin((30.0, -20.0, 5.0)[: len(shape)])
            if len(shape) == 3:
                image.SetDirection((0, 1, 0, 0, 0, -1, -1, 0, 0))
            sitk.WriteImage(image, str(path), useCompression=packed)
            yield path.read_bytes()
        for shape in ((16, 20, 3), (9, 12, 14, 3)):
            image = sitk.GetImageFromArray(numbers(shape, np.uint8), isVector=True)
            sitk.WriteImage(image, str(path), useCompression=False)
            yield path.read_bytes()


def mha_files() -> Iterator[bytes]:
    yield from _itk_files(".mha")
    words = " ".join(map(str, range(120)))
    yield (
        "ObjectType = Image\nNDims = 2\nBinaryData = False\nElementSpacing = 1 2\nDimSize = 12 10\n"
        f"ElementType = MET_SHORT\nElementDataFile = LOCAL\n{words}\n"
    ).encode()


def nrrd_files() -> Iterator[bytes]:
    yield from _itk_files(".nrrd")
    words = " ".join(map(str, range(120)))
    yield f"NRRD0004\n# made by hand\ntype: short\ndimension: 2\nsizes: 12 10\nencoding: ascii\n\n{words}\n".encode()
    voxels = numbers((12, 10), np.int16).astype(">i2").tobytes()
    packed = {"bzip2": bz2.compress(voxels), "gzip": gzip.compress(voxels, mtime=0), "hex": voxels.hex().encode()}
    for encoding, data in packed.items():
        head = f"type: int16\ndimension: 2\nsizes: 10 12\nspacings: 1.5 2\nendian: big\nencoding: {encoding}\n"
        yield f"NRRD0005\n{head}byte skip: 0\n\n".encode() + data
