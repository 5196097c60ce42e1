"""What MONAI's own post-processing writes lies where our writer puts it, and no file is read twice."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from dicom_files import write_series
from monai.data import CacheDataset, DataLoader, Dataset, MetaTensor, PersistentDataset, decollate_batch
from monai.engines import SupervisedEvaluator
from monai.transforms import AsDiscreted, Compose, Invertd, RandFlipd, SaveImaged
from PIL import Image

from medclipsam_monai.io import read_image, readers, restore_geometry
from medclipsam_monai.io.image_meta import geometry_and_source
from medclipsam_monai.io.transforms import ReadImage, ReadImaged, ReadLabeld, WriteMaskd
from medclipsam_monai.presets.settings import Settings
from medclipsam_monai.transforms import DisplayRanged
from medclipsam_monai.zero_shot.inferer import TextPromptedInferer
from medclipsam_monai.zero_shot.network import ZeroShotSegmenter

pytestmark = pytest.mark.filterwarnings("ignore:.*turned by its EXIF tag", "ignore:.*a saliency map is constant")
NUMBERS = np.random.default_rng(0).integers(0, 900, (16, 14, 12)).astype(np.int16)
TILT = np.array([[np.cos(0.4), 0, np.sin(0.4)], [0, 1, 0], [-np.sin(0.4), 0, np.cos(0.4)]])


def write_nifti(path: Path, shape: tuple[int, ...], affine: np.ndarray, kind: type = nib.Nifti1Image) -> Path:
    nib.save(kind(NUMBERS[tuple(map(slice, shape))], affine), path)
    return path


def rotated() -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = TILT @ np.array([[0, -2.0, 0], [1.5, 0, 0], [0, 0, -3.0]])
    affine[:3, 3] = 5, -4, 7
    return affine


def write_nrrd(path: Path) -> Path:
    image = sitk.GetImageFromArray(NUMBERS[..., :9].T)
    image.SetSpacing((2, 3, 4))
    image.SetOrigin((3, 4, 5))
    image.SetDirection(TILT.ravel().tolist())
    sitk.WriteImage(image, str(path))
    return path


def write_jpeg(path: Path) -> Path:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray((NUMBERS[..., 0] // 4).astype(np.uint8)).save(path, exif=exif)
    return path


def write_series_in(folder: Path, **tags: Any) -> Path:
    write_series(folder, NUMBERS.transpose(2, 1, 0)[:9].copy(), directions=(0, 1, 0, 0, 0, -1), **tags)
    return folder


FORMS: dict[str, tuple[Callable[[Path], Path], str, str]] = {
    "axial": (lambda at: write_nifti(at / "axial.nii.gz", (16, 14, 8), np.diag([-1.0, -1, 3, 1])), ".nii.gz", "axial"),
    "oblique": (lambda at: write_nifti(at / "oblique.nii", (16, 14, 9), rotated()), ".nii.gz", "oblique"),
    "sagittal": (
        lambda at: write_nifti(at / "sagittal.nii", (8, 14, 12), np.diag([4.0, 1, 1, 1])),
        ".nii.gz",
        "sagittal",
    ),
    "one slice": (lambda at: write_nifti(at / "flat.nii", (16, 1, 12), np.diag([1.0, 5, 1, 1])), ".nii.gz", "flat"),
    "NRRD": (lambda at: write_nrrd(at / "n.nrrd"), ".nrrd", "n"),
    "DICOM": (lambda at: write_series_in(at / "series"), ".nii.gz", "00"),
    "EXIF": (lambda at: write_jpeg(at / "turned.jpg"), ".png", "turned"),
}


@pytest.fixture(scope="module")
def network(encoder, segmenter) -> ZeroShotSegmenter:
    quick = {"method": "m2ib", "layer": 3, "steps": 1, "samples": 1}
    every = {"threshold": "otsu", "components": None}  # a random network's are hardly ever confident ones
    return ZeroShotSegmenter(encoder, segmenter, Settings(saliency=quick, coarse=every, threshold=0.0), text="lungs")


class AboveMediand(AsDiscreted):
    """Foreground above the median of a prediction, for what random networks find has no fixed range."""

    def __call__(self, data: Any) -> Any:
        self.converter.threshold = float(data["pred"].median()) + 1e-9
        return super().__call__(data)


@pytest.fixture(scope="module")
def written(tmp_path_factory, network) -> Callable[[str], tuple[Path, Path, Path]]:
    """Runs MONAI's evaluator once a form; gives the file, what SaveImaged wrote and what WriteMaskd did."""
    done: dict[str, tuple[Path, Path, Path]] = {}

    def run(form: str) -> tuple[Path, Path, Path]:
        if form not in done:
            at = tmp_path_factory.mktemp("form")
            make, ending, stem = FORMS[form]
            path = make(at)
            pre = Compose([ReadImaged("image"), DisplayRanged("image")])
            post = Compose(
                [
                    AboveMediand("pred", threshold=0.5),
                    WriteMaskd("pred", output_dir=at / "ours", overlay=False),
                    Invertd("pred", transform=pre, orig_keys="image"),
                    SaveImaged(
                        "pred",
                        output_dir=at / "monai",
                        output_ext=ending,
                        separate_folder=False,
                        output_dtype=np.uint8,
                        print_log=False,
                    ),
                ]
            )
            data = CacheDataset([{"image": str(path)}] * 2, pre, progress=False)
            loader = DataLoader(data, batch_size=1, num_workers=2)
            inferer = TextPromptedInferer("lungs", slice_batch=16)
            SupervisedEvaluator("cpu", loader, network, inferer=inferer, postprocessing=post).run()
            (ours,) = (at / "ours").iterdir()
            done[form] = path, at / "monai" / f"{stem}_trans{ending}", ours
        return done[form]

    return run


@pytest.mark.parametrize("form", [form for form in FORMS if form != "EXIF"])
def test_monai_writes_a_volume_where_our_writer_does(written, form):
    path, monai, ours = written(form)
    theirs, own = sitk.ReadImage(str(monai)), sitk.ReadImage(str(ours))
    np.testing.assert_array_equal(np.squeeze(sitk.GetArrayFromImage(theirs)), np.squeeze(sitk.GetArrayFromImage(own)))
    assert 0.01 < sitk.GetArrayFromImage(own).mean() < 0.8
    if theirs.GetDimension() == own.GetDimension():
        for name in ("GetSize", "GetOrigin", "GetSpacing", "GetDirection"):
            np.testing.assert_allclose(getattr(theirs, name)(), getattr(own, name)(), atol=1e-5)
    if monai.name.endswith(".nii.gz"):
        theirs, own = nib.load(monai), nib.load(ours)
        np.testing.assert_allclose(theirs.affine, own.affine, atol=1e-5)
        np.testing.assert_array_equal(np.squeeze(theirs.dataobj), np.squeeze(own.dataobj))
    if path.suffix == ".nii":
        np.testing.assert_allclose(nib.load(monai).affine, nib.load(path).affine, atol=1e-5)


def test_monai_writes_a_picture_that_exif_turns_on_its_own_pixels(written):
    path, monai, ours = written("EXIF")
    theirs, own = (np.array(Image.open(file)) for file in (monai, ours))
    assert theirs.shape == own.shape == np.asarray(Image.open(path)).shape == (16, 14)
    np.testing.assert_array_equal(theirs > 0, own > 0)
    assert 0.01 < own.mean() < 0.8


@pytest.mark.parametrize("form", FORMS)
def test_the_inverse_gives_the_numbers_and_the_affine_of_the_file(tmp_path, form):
    path = FORMS[form][0](tmp_path)
    read = ReadImage()
    image, file = read(path), read_image(path)
    geometry = file.meta["geometry"]
    back = read.inverse(image)
    stored = restore_geometry(file, geometry)
    np.testing.assert_array_equal(back[0].numpy(), stored.T if geometry.kind == "picture" else stored)
    np.testing.assert_array_equal(back.affine, np.eye(4) if geometry.affine is None else geometry.affine)
    assert back.applied_operations == [] and "geometry" not in back.meta
    classes = torch.stack([image.as_tensor()[0]] * 3)
    assert read.inverse(MetaTensor(classes, applied_operations=image.applied_operations)).shape == (3, *back.shape[1:])
    assert image.applied_operations, "the image that came is left alone"


@pytest.mark.parametrize("form", FORMS)
def test_geometry_and_source_are_in_the_meta_data_without_reading_again(tmp_path, form, monkeypatch):
    path = FORMS[form][0](tmp_path)
    image, file = ReadImage()(path), read_image(path)
    monkeypatch.setattr(readers, "show_upright", None)
    geometry, source = geometry_and_source(pickle.loads(pickle.dumps(image)).meta)
    assert (geometry, source) == (file.meta["geometry"], file.meta["source"])
    np.testing.assert_array_equal(geometry.affine, file.meta["geometry"].affine)
    assert geometry.header == file.meta["geometry"].header
    assert image.meta.get("spacing") == (None if file.meta["spacing"] is None else list(file.meta["spacing"]))


def test_slices_that_are_not_even_and_a_header_of_nifti_2_travel(tmp_path):
    folder = tmp_path / "series"
    for place, step in ((0, 1.0), (1, 2.0)):
        write_series(folder / str(place), NUMBERS[:3].copy() + place, step=step, SeriesInstanceUID="1.2.9")
    paths = [*(folder / "0").iterdir(), *sorted((folder / "1").iterdir())[2:]]
    flat = tmp_path / "flat"
    flat.mkdir()
    for number, path in enumerate(paths):
        path.rename(flat / f"{number}.dcm")
    image = ReadImage()(flat)
    expected = read_image(flat).meta["geometry"].slice_positions
    assert expected is not None and geometry_and_source(image.meta)[0].slice_positions == expected
    path = write_nifti(tmp_path / "two.nii", (16, 14, 8), rotated(), nib.Nifti2Image)
    header = geometry_and_source(ReadImage()(path).meta)[0].header
    assert isinstance(header, nib.Nifti2Header) and header == read_image(path).meta["geometry"].header


def test_a_file_is_read_once_to_be_shown_labelled_and_written(tmp_path, monkeypatch):
    path = write_nifti(tmp_path / "v.nii", (16, 14, 8), rotated())
    label = write_nifti(tmp_path / "l.nii", (16, 14, 8), rotated())
    shown: list[str] = []
    show = readers.show_upright
    monkeypatch.setattr(readers, "show_upright", lambda *args: (shown.append(args[-1]), show(*args))[1])
    steps = Compose([ReadImaged("image"), ReadLabeld("label"), DisplayRanged("image")])
    (batch,) = DataLoader(Dataset([{"image": str(path), "label": str(label)}], steps), batch_size=1)
    batch["pred"] = (batch["image"][:, :1] > 0.5).float()
    (item,) = decollate_batch(batch)
    WriteMaskd("pred", output_dir=tmp_path / "out")(item)
    assert shown == ["v.nii", "l.nii"] and len(list((tmp_path / "out").iterdir())) == 2


def test_the_spacing_is_known_after_a_loader(tmp_path):
    affine = np.diag([1.0, 4.0, 1.0, 1])
    path = write_nifti(tmp_path / "v.nii", (16, 14, 12), affine)
    steps = Compose([ReadImaged("image", slice_axis="axial"), DisplayRanged("image")])
    (batch,) = DataLoader(Dataset([{"image": str(path)}], steps), batch_size=1)
    (item,) = decollate_batch(batch)
    assert [float(length) for length in item["image"].meta["spacing"]] == [4.0, 1.0, 1.0]


def cached(path: Path, pre: Compose) -> Any:
    """The item of a file through a cache on the disk."""
    return PersistentDataset([{"image": str(path)}], pre, path.parent / "cache", track_meta=True, weights_only=False)[0]


def test_other_spatial_transforms_are_undone_before_reading_is(tmp_path):
    path = write_nifti(tmp_path / "v.nii", (16, 14, 8), rotated())
    pre = Compose([ReadImaged("image"), DisplayRanged("image"), RandFlipd("image", prob=1.0, spatial_axis=0)])
    items = [
        pre({"image": str(path)}),
        cached(path, pre),
    ]
    for item in items:
        item["pred"] = MetaTensor(item["image"].as_tensor()[:1])
        found = Invertd("pred", transform=pre, orig_keys="image", nearest_interp=False)(item)["pred"]
        expected = ReadImage().inverse(Compose(pre.transforms[:2])({"image": str(path)})["image"])[:1]
        torch.testing.assert_close(found.as_tensor(), expected.as_tensor())


def test_what_was_cached_by_another_process_is_put_back(tmp_path):
    path = write_nifti(tmp_path / "v.nii", (16, 14, 8), rotated())
    for _ in range(2):  # the second time from the cache, by transforms of other identities
        pre = Compose([ReadImaged("image"), DisplayRanged("image")])
        item = PersistentDataset([{"image": str(path)}], pre, tmp_path / "cache", track_meta=True, weights_only=False)[
            0
        ]
        item["pred"] = MetaTensor(item["image"].as_tensor()[:1])
        found = Invertd("pred", transform=pre, orig_keys="image")(item)["pred"]
        np.testing.assert_allclose(found.affine, rotated(), atol=1e-6)
        assert found.shape == (1, 16, 14, 8)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda image: image.as_tensor(), "applied operations hold ReadImage"),
        (lambda image: MetaTensor(image.as_tensor()), "applied operations hold ReadImage"),
        (lambda image: image[:, 1:], r"as large as it was read, \[16, 14, 8\], got \[16, 13, 8\]"),
    ],
)
def test_what_was_not_read_so_is_not_put_back(tmp_path, make, message):
    image = ReadImage()(write_nifti(tmp_path / "v.nii", (16, 14, 8), np.diag([-1.0, -1, 3, 1])))
    with pytest.raises(ValueError, match=message):
        ReadImage().inverse(make(image))
    with pytest.raises(ValueError, match="one of ReadImage"):
        geometry_and_source({"filename_or_obj": "v.nii"})
