"""Files appear whole or not at all, and pictures of labels hold the labels."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import imagecodecs
import matplotlib.image
import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import skimage.io
import torch
from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO
from PIL import Image

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.json_files import write_json
from medclipsam_monai.io import Geometry, read_image, write_float_map, write_mask, write_picture

LABELS = np.random.default_rng(0).integers(0, 4, (300, 400), dtype=np.uint8)


@pytest.fixture
def picture(tmp_path: Path) -> Geometry:
    Image.fromarray(LABELS).save(tmp_path / "in.png")
    return read_image(tmp_path / "in.png").meta["geometry"]


@pytest.fixture
def nifti(tmp_path: Path) -> Geometry:
    nib.save(nib.Nifti1Image(LABELS[..., None], np.diag([-1.0, -1, 1, 1])), tmp_path / "in.nii.gz")
    return read_image(tmp_path / "in.nii.gz").meta["geometry"]


@pytest.fixture
def nrrd(tmp_path: Path) -> Geometry:
    sitk.WriteImage(sitk.GetImageFromArray(LABELS), str(tmp_path / "in.nrrd"))
    return read_image(tmp_path / "in.nrrd").meta["geometry"]


READERS: dict[str, Callable[[Path], np.ndarray]] = {
    "Pillow": lambda path: np.array(Image.open(path)),
    "SimpleITK": lambda path: sitk.GetArrayFromImage(sitk.ReadImage(str(path))),
    "scikit-image": skimage.io.imread,
    "nnU-Net": lambda path: NaturalImage2DIO().read_seg(str(path))[0][0, 0],
}


@pytest.mark.parametrize("reader", READERS)
def test_every_tool_reads_labels_from_a_mask_png(tmp_path: Path, picture: Geometry, reader: str) -> None:
    path = write_mask(torch.from_numpy(LABELS)[None], picture, tmp_path / "new" / "scan.v2_mask")
    assert path == tmp_path / "new" / "scan.v2_mask.png"
    np.testing.assert_array_equal(READERS[reader](path), LABELS)
    assert Image.open(path).mode == "L"


def test_matplotlib_reads_one_channel_from_a_mask_png(tmp_path: Path, picture: Geometry) -> None:
    values = matplotlib.image.imread(write_mask(LABELS, picture, tmp_path / "m"))
    np.testing.assert_array_equal(np.rint(values * 255), LABELS)  # it gives 8-bit grey as fractions of 255


def test_labels_over_255_are_kept(tmp_path: Path, picture: Geometry, nifti: Geometry) -> None:
    many = LABELS.astype(np.int64) * 200
    np.testing.assert_array_equal(np.array(Image.open(write_mask(many, picture, tmp_path / "m"))), many)
    volume = nib.load(write_mask(many.T, nifti, tmp_path / "m"))
    assert volume.get_data_dtype() == np.uint16
    np.testing.assert_array_equal(np.asarray(volume.dataobj)[..., 0], many)


def test_a_map_of_a_picture_is_a_16_bit_png(tmp_path: Path, picture: Geometry) -> None:
    values = LABELS / 3
    written = imagecodecs.png_decode(write_float_map(values, picture, tmp_path / "s").read_bytes())
    assert written.dtype == np.uint16
    np.testing.assert_allclose(written / 65535, values, atol=1e-5)


def test_a_map_of_a_nifti_is_float32(tmp_path: Path, nifti: Geometry) -> None:
    values = (LABELS.T / 3).astype(np.float32)
    written = nib.load(write_float_map(values, nifti, tmp_path / "s"))
    assert written.get_data_dtype() == np.float32 and written.shape == (300, 400, 1)
    np.testing.assert_array_equal(np.asarray(written.dataobj)[..., 0], values.T)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.full((300, 400), -1), r"labels must lie in 0..65535, got -1..-1"),
        (np.zeros((2, 300, 400)), r"label_map must be one map like its image, got 2 channels"),
        (np.zeros((400, 300)), r"mask must be \(300, 400\)"),
    ],
)
def test_wrong_label_maps_are_refused(tmp_path: Path, picture: Geometry, labels: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_mask(labels, picture, tmp_path / "m")


def test_maps_outside_zero_and_one_and_wrong_pictures_are_refused(tmp_path: Path, picture: Geometry) -> None:
    for value in (1.5, -0.1, np.nan):
        with pytest.raises(ValueError, match=r"values must lie in \[0, 1\]"):
            write_float_map(np.full((300, 400), value), picture, tmp_path / "s")
    with pytest.raises(ValueError, match=r"picture must be \(H, W, 3\) uint8, got \(4, 4\) float64"):
        write_picture(np.zeros((4, 4)), tmp_path / "p.png")
    with pytest.raises(ValueError):
        write_json({"size": float("nan")}, tmp_path / "r.json")
    assert not list(tmp_path.glob("r*"))


def test_pictures_and_records_are_written(tmp_path: Path) -> None:
    colours = np.stack([LABELS, LABELS, 255 - LABELS], axis=-1)
    for picture in (colours, colours[::-1, ::2], colours[:1, :1]):
        np.testing.assert_array_equal(np.array(Image.open(write_picture(picture, tmp_path / "o.png"))), picture)
    assert Image.open(write_picture(colours, tmp_path / "o.jpg")).format == "JPEG"
    assert json.loads(write_json({"Text": "Lunge für"}, tmp_path / "r.json").read_text("utf-8")) == {
        "Text": "Lunge für"
    }


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Lets no file grow beyond ``size`` bytes: the system refuses further writes as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


Write = Callable[[Path, Geometry], Path]
WRITERS: dict[str, tuple[str, Write]] = {
    "png": ("picture", lambda folder, geometry: write_mask(LABELS, geometry, folder / "m")),
    "map png": ("picture", lambda folder, geometry: write_float_map(LABELS / 3, geometry, folder / "m")),
    "nifti": ("nifti", lambda folder, geometry: write_mask(LABELS.T, geometry, folder / "m")),
    "nrrd": ("nrrd", lambda folder, geometry: write_mask(LABELS, geometry, folder / "m")),
    "picture": ("picture", lambda folder, _: write_picture(np.dstack([LABELS] * 3), folder / "m.png")),
    "json": ("picture", lambda folder, _: write_json({"x": "y" * 9000}, folder / "m.json")),
}


@pytest.mark.parametrize("name", WRITERS)
def test_on_a_full_disk_the_old_file_stays_and_nothing_is_left_behind(
    tmp_path: Path, request: pytest.FixtureRequest, name: str
) -> None:
    fixture, write = WRITERS[name]
    geometry = request.getfixturevalue(fixture)
    folder = tmp_path / "out"
    path = write(folder, geometry)
    before = path.read_bytes()
    with largest_file(1000), pytest.raises(InputError) as caught:
        write(folder, geometry)
    assert str(caught.value).startswith(f"cannot write {path.name} in {folder}: ") and "\n" not in str(caught.value)
    assert path.read_bytes() == before and os.listdir(folder) == [path.name]


@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path, request: pytest.FixtureRequest, name: str) -> None:
    fixture, write = WRITERS[name]
    geometry = request.getfixturevalue(fixture)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"^cannot write m\.[a-z.]+ in .*: (Not a directory|File exists)$"):
        write(tmp_path / "file" / "out", geometry)


def test_a_folder_without_permission_is_one_line(
    tmp_path: Path, picture: Geometry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Image.Image, "save", refuse)
    with pytest.raises(InputError, match=r"^cannot write m.png in .*: Permission denied$"):
        write_mask(LABELS, picture, tmp_path / "m")


def test_an_interrupted_write_leaves_nothing(
    tmp_path: Path, picture: Geometry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(_: Image.Image, path: Path, **__: object) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        write_mask(LABELS, picture, tmp_path / "out" / "m")
    assert not os.listdir(tmp_path / "out")


def test_the_same_mask_gives_the_same_bytes(tmp_path: Path, nifti: Geometry, nrrd: Geometry, picture: Geometry) -> None:
    for geometry, labels in ((nifti, LABELS.T), (nrrd, LABELS), (picture, LABELS)):
        first = write_mask(labels, geometry, tmp_path / "first").read_bytes()
        assert write_mask(labels, geometry, tmp_path / "second").read_bytes() == first
