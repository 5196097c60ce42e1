"""What the deploy tests share: independent readers of a DICOM SEG, the checker dciodvfy, and answers in millimetres."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from highdicom.seg import segread
from pydicom.dataset import Dataset
from scipy.ndimage import gaussian_filter

from medclipsam_monai.io.dicom_seg.algorithm import Algorithm
from medclipsam_monai.phantoms.dicom import PhantomSeries

SHARED_DICOM = Path(__file__).parents[3] / "shared" / "data" / "dicom"
ALGORITHM = Algorithm("demo", {"clip": "c" * 64, "sam": "5" * 64}, "MedCLIP-SAMv2", "0.1.0")

DCIODVFY = os.environ.get("DCIODVFY") or shutil.which("dciodvfy")
needs_dciodvfy = pytest.mark.skipif(
    DCIODVFY is None, reason="needs dciodvfy of Debian's dicom3tools: DCIODVFY=$(scripts/fetch_dciodvfy.sh)"
)


def dciodvfy_errors(path: Path) -> list[str]:
    """The lines in which dciodvfy reports an error."""
    result = subprocess.run([str(DCIODVFY), str(path)], capture_output=True, text=True, timeout=60)
    lines = (result.stdout + result.stderr).splitlines()
    assert len(lines) > 0, "dciodvfy says at least what kind of object it is"
    return [line for line in lines if line.startswith("Error")]


def save(dataset: Dataset, path: Path) -> Path:
    dataset.save_as(path, enforce_file_format=True)
    return path


def headers(series: PhantomSeries) -> list[Dataset]:
    return [pydicom.dcmread(path, stop_before_pixels=True) for path in series.files]


def real_series(name: str) -> list[Dataset]:
    """Headers of a real series, without the segmentation that lies beside one of them."""
    if not SHARED_DICOM.is_dir():
        pytest.skip("needs real DICOM images, which are no part of the project")
    found = [pydicom.dcmread(path, stop_before_pixels=True) for path in sorted((SHARED_DICOM / name).glob("*.dcm"))]
    return [header for header in found if header.Modality != "SEG"]


def blobs(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """A random mask (F, rows, columns) that is like none of its mirror images, with voxels in every frame."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=shape), (0.6, 4, 6))
    return noise > np.quantile(noise, 0.9)


def apart(masks: Sequence[np.ndarray]) -> np.ndarray:
    """Masks (K, F, rows, columns) without what overlaps an earlier one."""
    masks = np.stack(list(masks))
    return masks & (np.cumsum(masks, axis=0) == 1)


def as_labels(masks: np.ndarray) -> np.ndarray:
    """(F, rows, columns) uint8 of masks (K, F, rows, columns) that lie apart."""
    assert masks.sum(axis=0).max() <= 1, "masks overlap"
    return sum(number * mask.astype(np.uint8) for number, mask in enumerate(masks, start=1))


def points_of(mask: np.ndarray, sources: Sequence[Dataset]) -> np.ndarray:
    """(N, 3) mm: where the mask's voxels lie in the patient by the sources' headers (PS3.3 C.7.6.2.1-1)."""
    points = []
    for plane, source in zip(mask, sources, strict=True):
        row, column = np.array(source.ImageOrientationPatient, float).reshape(2, 3)
        rows, columns = np.nonzero(plane)
        down, right = map(float, source.PixelSpacing)
        origin = np.array(source.ImagePositionPatient, float)
        points.append(origin + columns[:, None] * right * row + rows[:, None] * down * column)
    return np.concatenate(points)


def dice(found: np.ndarray, to_index: np.ndarray, points: np.ndarray) -> float:
    """DSC of a volume and an answer given as points.

    Args:
        found: bool (I, J, K).
        to_index: 4 x 4, millimetres to the index of ``found``.
        points: (N, 3) mm.
    """
    index = points @ to_index[:3, :3].T + to_index[:3, 3]
    nearest = np.rint(index).astype(int)
    assert np.abs(index - nearest).max() < 1e-3, "the volume's grid is the sources' grid"
    inside = ((nearest >= 0) & (nearest < found.shape)).all(axis=1)
    hits = found[tuple(nearest[inside].T)].sum()
    return 2 * hits / (len(points) + found.sum())


def dice_by_highdicom(path: Path, segment: int, points: np.ndarray) -> float:
    volume = segread(path).get_volume(segment_numbers=[segment], allow_missing_positions=True)
    return dice(volume.array[..., 0] > 0, np.linalg.inv(volume.affine), points)


def by_dcmqi(path: Path, segment: int) -> sitk.Image:
    """A segment as dcmqi's own program converts it; it runs once, beside the file."""
    folder = path.with_suffix("")
    if not folder.is_dir():
        folder.mkdir()
        program = Path(sys.executable).with_name("segimage2itkimage")
        command = [str(program), "--inputDICOM", str(path), "--outputDirectory", str(folder)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert result.returncode == 0, result.stderr
    return sitk.ReadImage(str(folder / f"{segment}.nrrd"))


def dice_by_dcmqi(path: Path, segment: int, points: np.ndarray) -> float:
    image = by_dcmqi(path, segment)
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return dice(sitk.GetArrayFromImage(image).transpose(2, 1, 0) > 0, np.linalg.inv(affine), points)
