"""MetaTensors of MONAI's LoadImage and of ReadImage are shown as their file is, and masks go back on their grids."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from dicom_files import write_series
from monai.data import DataLoader, Dataset, ITKReader, MetaTensor, PILReader, decollate_batch
from monai.transforms import Flip, LoadImage, LoadImaged, Orientation, Resize, Rotate90, Spacing, SpatialCrop, Transpose
from PIL import Image

from medclipsam_monai import TextSegmenter
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import read_image, restore_geometry
from medclipsam_monai.io.memory import read_memory
from medclipsam_monai.io.transforms import ReadImage
from medclipsam_monai.phantoms.samples import sample_folder
from medclipsam_monai.transforms import DisplayRange

pytestmark = pytest.mark.filterwarnings("ignore:.*a saliency map is constant")
NUMBERS = np.random.default_rng(0).integers(0, 256, (10, 16, 12)).astype(np.uint8)
PICTURE = NUMBERS[..., 0]
GREY, CLEAR = Image.fromarray(PICTURE), Image.fromarray(NUMBERS[..., :4])
OBLIQUE = np.array([[0, -2.0, 0.3, 5], [1.5, 0, 0, -4], [0, 0.4, -3.0, 7], [0, 0, 0, 1]])
LOADS: dict[str, dict[str, Any]] = {
    "channels first": {"ensure_channel_first": True},
    "as it is": {},
    "rows first": {"reader": PILReader(reverse_indexing=False)},
    "rows and channels first": {"reader": PILReader(reverse_indexing=False), "ensure_channel_first": True},
    "ITK": {"reader": "ITKReader", "ensure_channel_first": True},
    "ITK as it is": {"reader": "ITKReader"},
    "ITK in LPS": {"reader": ITKReader(affine_lps_to_ras=False), "ensure_channel_first": True},
    "ITK reversed": {"reader": ITKReader(reverse_indexing=True), "ensure_channel_first": True},
}


def grid(image: MetaTensor, channels_first: bool) -> np.ndarray:
    """One channel on the grid of a tensor."""
    array = image.as_tensor().numpy()
    return array[0] if channels_first else array


def check_grid(shown: MetaTensor, expected: np.ndarray) -> None:
    """What goes back of the shown image is what came."""
    np.testing.assert_array_equal(restore_geometry(shown[:1], shown.meta["geometry"]), expected)


@pytest.mark.parametrize("load", LOADS)
def test_a_picture_is_upright_whichever_way_monai_loads_it(tmp_path: Path, load: str) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "p.png")
    loaded = LoadImage(image_only=True, **LOADS[load])(tmp_path / "p.png")
    shown, file = read_memory(loaded), read_image(tmp_path / "p.png")
    assert torch.equal(shown.as_tensor(), file.as_tensor())
    check_grid(shown, grid(loaded, LOADS[load].get("ensure_channel_first", False)))
    if "ITK" not in load:
        assert torch.equal(DisplayRange()(shown).as_tensor(), DisplayRange()(file).as_tensor())


@pytest.mark.parametrize("load", LOADS)
def test_a_colour_picture_is_upright_whichever_way_monai_loads_it(tmp_path: Path, load: str) -> None:
    Image.fromarray(NUMBERS[..., :3]).save(tmp_path / "p.png")
    loaded = LoadImage(image_only=True, **LOADS[load])(tmp_path / "p.png")
    shown, file = read_memory(loaded), read_image(tmp_path / "p.png")
    assert torch.equal(DisplayRange()(shown).as_tensor(), DisplayRange()(file).as_tensor())


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("first", [True, False])
def test_pictures_of_pillows_modes_have_the_brightness_of_their_file(tmp_path: Path, mode: str, first: bool) -> None:
    pictures = {
        "I;16": lambda: Image.fromarray(PICTURE.astype(np.uint16) * 100),
        "RGBA": lambda: Image.fromarray(NUMBERS[..., :4]),
        "LA": lambda: Image.fromarray(NUMBERS[..., :2], "LA"),
    }
    pictures.get(mode, lambda: Image.fromarray(PICTURE).convert(mode))().save(tmp_path / "p.png")
    loaded = LoadImage(image_only=True, ensure_channel_first=first)(tmp_path / "p.png")
    shown, file = read_memory(loaded), read_image(tmp_path / "p.png")
    assert torch.equal(DisplayRange()(shown).as_tensor(), DisplayRange()(file).as_tensor())


TURNS: dict[str, Callable[[Any], Any]] = {
    "rotated": Rotate90(),
    "rotated twice": Rotate90(k=2),
    "flipped": Flip(0),
    "orientation": Orientation("PL", labels=(("L", "R"), ("P", "A"))),
    "transposed": Transpose((0, 2, 1)),
}


@pytest.mark.parametrize("load", ["channels first", "rows and channels first"])
@pytest.mark.parametrize("turn", TURNS)
def test_a_picture_that_monai_has_turned_is_upright_again(tmp_path: Path, load: str, turn: str) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "p.png")
    turned = TURNS[turn](LoadImage(image_only=True, **LOADS[load])(tmp_path / "p.png"))
    shown = read_memory(turned)
    assert torch.equal(shown.as_tensor(), read_image(tmp_path / "p.png").as_tensor())
    check_grid(shown, grid(turned, True))


@pytest.mark.parametrize("load", ["channels first", "rows and channels first"])
def test_a_picture_that_monai_has_cut_or_resized_is_upright(tmp_path: Path, load: str) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "p.png")
    loaded = LoadImage(image_only=True, **LOADS[load])(tmp_path / "p.png")
    cut = read_memory(SpatialCrop(roi_start=(1, 1), roi_end=(10, 10))(loaded))
    np.testing.assert_array_equal(cut[0].numpy(), PICTURE[1:10, 1:10])
    doubled = read_memory(Resize([2 * side for side in loaded.shape[1:]], mode="nearest")(loaded))
    np.testing.assert_array_equal(doubled[0].numpy(), PICTURE.repeat(2, 0).repeat(2, 1))
    assert doubled.shape == (1, 20, 32)


def test_a_square_picture_has_columns_first_as_load_image_makes_it(tmp_path: Path) -> None:
    Image.fromarray(PICTURE[:, :10]).save(tmp_path / "p.png")
    loaded = LoadImage(image_only=True, ensure_channel_first=True)(tmp_path / "p.png")
    np.testing.assert_array_equal(read_memory(loaded)[0].numpy(), PICTURE[:, :10])
    np.testing.assert_array_equal(read_memory(loaded.as_tensor())[0].numpy(), PICTURE[:, :10].T)


VOLUME_LOADS = ["channels first", "as it is", "ITK", "ITK as it is", "ITK in LPS", "ITK reversed"]


@pytest.mark.parametrize("axis", ["acquired", "axial", "coronal", "sagittal"])
@pytest.mark.parametrize("load", VOLUME_LOADS)
@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd"])
def test_a_volume_is_shown_as_its_file_is(tmp_path: Path, ending: str, load: str, axis: str) -> None:
    path = tmp_path / f"v{ending}"
    if ending == ".nrrd":
        image = sitk.GetImageFromArray(NUMBERS.astype(np.int16).T)
        image.SetSpacing((2, 3, 4))
        image.SetDirection((0, 0, 1, 1, 0, 0, 0, 1, 0))
        sitk.WriteImage(image, str(path))
    else:
        nib.save(nib.Nifti1Image(NUMBERS.astype(np.int16), np.diag([1.5, 2, 3, 1])), path)
    loaded = LoadImage(image_only=True, **LOADS[load])(path)
    shown, file = read_memory(loaded, axis), read_image(path, axis)
    assert torch.equal(shown.as_tensor(), file.as_tensor())
    np.testing.assert_allclose(shown.affine, file.affine, atol=1e-5)
    np.testing.assert_allclose(shown.meta["spacing"], file.meta["spacing"], rtol=1e-5)
    check_grid(shown, grid(loaded, LOADS[load].get("ensure_channel_first", False)))


@pytest.mark.parametrize("reader", ["NibabelReader", "ITKReader"])
def test_a_volume_whose_affine_is_the_identity_is_placed_by_it(tmp_path: Path, reader: str) -> None:
    nib.save(nib.Nifti1Image(NUMBERS.astype(np.int16), np.eye(4)), tmp_path / "v.nii")
    shown = read_memory(LoadImage(image_only=True, reader=reader)(tmp_path / "v.nii"))
    assert torch.equal(shown.as_tensor(), read_image(tmp_path / "v.nii").as_tensor())


@pytest.mark.parametrize("load", ["channels first", "ITK in LPS", "ITK reversed"])
def test_a_volume_that_monai_has_turned_is_shown_as_its_file_is(tmp_path: Path, load: str) -> None:
    nib.save(nib.Nifti1Image(NUMBERS.astype(np.int16), OBLIQUE), tmp_path / "v.nii")
    loaded = LoadImage(image_only=True, **LOADS[load])(tmp_path / "v.nii")
    for turn in (Orientation("SRP"), Flip(1), Rotate90(spatial_axes=(0, 2))):
        turned = turn(loaded)
        shown, file = read_memory(turned, "coronal"), read_image(tmp_path / "v.nii", "coronal")
        assert torch.equal(shown.as_tensor(), file.as_tensor())
        np.testing.assert_allclose(shown.affine, file.affine, atol=1e-4)
        check_grid(shown, grid(turned, True))


def test_a_volume_that_monai_has_resampled_keeps_its_place_and_its_grid(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(NUMBERS.astype(np.int16), np.diag([1.5, 2, 3, 1])), tmp_path / "v.nii")
    finer = Spacing((1, 1, 1))(LoadImage(image_only=True, ensure_channel_first=True)(tmp_path / "v.nii"))
    shown = read_memory(finer, "axial")
    assert shown.meta["spacing"] == (1, 1, 1) and shown.meta["plane"] == "axial"
    np.testing.assert_allclose(shown.meta["geometry"].affine, finer.affine)
    check_grid(shown, grid(finer, True))


def test_eight_bit_volumes_are_known_by_their_nifti_header(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(NUMBERS // 4, np.diag([1.5, 2, 3, 1])), tmp_path / "v.nii")
    file = DisplayRange()(read_image(tmp_path / "v.nii"))
    for reader in ("NibabelReader", "ITKReader"):
        shown = read_memory(LoadImage(image_only=True, reader=reader)(tmp_path / "v.nii"))
        assert torch.equal(DisplayRange()(shown).as_tensor(), file.as_tensor())


@pytest.mark.parametrize("reader", ["ITKReader", "PydicomReader"])
def test_a_dicom_series_is_shown_as_its_files_are(tmp_path: Path, reader: str) -> None:
    write_series(tmp_path, NUMBERS.astype(np.int16))
    shown = read_memory(LoadImage(image_only=True, reader=reader)(tmp_path), "axial")
    file = read_image(tmp_path, "axial")
    assert torch.equal(shown.as_tensor(), file.as_tensor())
    np.testing.assert_allclose(shown.affine, file.affine, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*turned by its EXIF tag")
@pytest.mark.parametrize("form", ["picture", "sagittal NIfTI", "DICOM"])
def test_an_image_of_read_image_is_upright_already(tmp_path: Path, form: str) -> None:
    path = tmp_path / "image"
    if form == "picture":
        exif = Image.Exif()
        exif[0x0112] = 6
        path = path.with_suffix(".png")
        Image.fromarray(PICTURE).save(path, exif=exif)
    elif form == "DICOM":
        write_series(path, NUMBERS.astype(np.int16), directions=(0, 1, 0, 0, 0, -1), WindowCenter=100, WindowWidth=50)
    else:
        path = path.with_suffix(".nii")
        nib.save(nib.Nifti1Image(NUMBERS[:8].astype(np.int16), np.diag([4.0, 1, 1, 1])), path)
    image, file = ReadImage()(path), read_image(path)
    assert torch.equal(image.as_tensor(), file.as_tensor())
    for given in (image, Flip(0)(image), Rotate90()(image)):
        shown = read_memory(given)
        assert torch.equal(shown.as_tensor(), file.as_tensor())
        np.testing.assert_allclose(shown.affine, file.affine, atol=1e-6)
        assert torch.equal(DisplayRange()(shown).as_tensor(), DisplayRange()(file).as_tensor())
        check_grid(shown, grid(given, True))
    back = read_memory(ReadImage().inverse(image))
    expected = torch.from_numpy(PICTURE[None]).float() if form == "picture" else file.as_tensor()
    assert torch.equal(back.as_tensor(), expected), (
        "on the file's grid it is one of LoadImage, which EXIF does not turn"
    )


def test_what_comes_from_a_data_loader_is_known_as_before(tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "p.png")
    data = Dataset([{"image": str(tmp_path / "p.png")}] * 2, LoadImaged("image", ensure_channel_first=True))
    (batch,) = DataLoader(data, batch_size=2, num_workers=2)
    with pytest.raises(InputError, match="image in memory: is a batch of 2; give one image of it"):
        read_memory(batch["image"])
    for item in decollate_batch(batch):
        np.testing.assert_array_equal(read_memory(item["image"])[0].numpy(), PICTURE)


def load(tmp_path: Path, picture: Image.Image, **options: Any) -> MetaTensor:
    name = "p.jpg" if picture.mode == "CMYK" else "p.png"
    picture.save(tmp_path / name)
    return LoadImage(image_only=True, ensure_channel_first=True, **options)(tmp_path / name)


REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "cut by hand": (
        lambda at: load(at, GREY)[:, 2:],
        "rows from its columns: it is 14 x 10, .* 16 x 10",
    ),
    "palette": (lambda at: load(at, GREY.convert("P")), "of the mode P, whose numbers are no col"),
    "inks": (lambda at: load(at, GREY.convert("CMYK")), "of the mode CMYK, whose numbers are no"),
    "lazy": (
        lambda at: Flip(0, lazy=True)(load(at, GREY)),
        "has transforms that wait to be applied",
    ),
    "scaled opacity": (
        lambda at: load(at, CLEAR) / 255,
        "an opacity that is not of 8 bits",
    ),
}


@pytest.mark.parametrize("form", REFUSED)
def test_what_cannot_be_told_is_refused_in_one_line(tmp_path: Path, form: str) -> None:
    make, message = REFUSED[form]
    with pytest.raises(InputError, match=message) as refusal:
        read_memory(make(tmp_path))
    assert "\n" not in str(refusal.value) and str(refusal.value).startswith("image in memory: ")


def test_the_hash_tells_which_way_a_picture_lies(tmp_path: Path) -> None:
    Image.fromarray(PICTURE[:, :10]).save(tmp_path / "p.png")
    loaded = LoadImage(image_only=True, ensure_channel_first=True)(tmp_path / "p.png")
    plain = loaded.as_tensor().to(torch.uint8)
    assert read_memory(loaded).meta["sha256"] != read_memory(plain).meta["sha256"]


@pytest.fixture(scope="module")
def segmenter_of_phantoms() -> TextSegmenter:
    return TextSegmenter.from_preset("demo", device="cpu")


def test_the_facade_segments_what_monai_loads_as_it_does_the_file(
    tmp_path: Path, segmenter_of_phantoms: TextSegmenter
) -> None:
    picture = np.asarray(Image.open(sample_folder() / "images" / "xray_00.png"))[:, 20:236]
    Image.fromarray(picture).save(tmp_path / "p.png")
    affine = np.array([[0, 0, 2.0, 0], [-1.0, 0, 0, 0], [0, -1.0, 0, 0], [0, 0, 0, 1]])
    nib.save(nib.Nifti1Image(np.stack([picture.T, picture.T[::-1]], axis=-1), affine), tmp_path / "v.nii")
    for name in ("p.png", "v.nii"):
        loaded = LoadImage(image_only=True, ensure_channel_first=True)(tmp_path / name)
        file, tensor = (segmenter_of_phantoms(one, "lungs") for one in (tmp_path / name, loaded))
        assert torch.equal(file.label_map, tensor.label_map) and 0.05 < file.label_map.float().mean() < 0.6
        stored = tensor.stored_mask()
        assert stored.shape == tuple(loaded.shape[1:])
        np.testing.assert_array_equal(stored, file.stored_mask().T if name == "p.png" else file.stored_mask())
