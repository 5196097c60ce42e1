"""A volume's result: slice for slice what the pictures give, in a few bytes a voxel."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch

from medclipsam_monai import TextSegmenter
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import read_image
from medclipsam_monai.presets.settings import Settings
from medclipsam_monai.prompts import parse_targets
from medclipsam_monai.saliency.m2ib import M2IB
from medclipsam_monai.transforms import DisplayRange, Overlay
from medclipsam_monai.zero_shot.network import ZeroShotSegmenter
from medclipsam_monai.zero_shot.result import ZeroShotResult
from medclipsam_monai.zero_shot.volumes.segment import VolumeStack, segment_volume

TEXTS = {"lungs": "dark lungs", "heart": {"sentences": ["bright heart"], "opposites": ["no heart"]}}


@pytest.fixture(scope="module")
def network(encoder, segmenter) -> ZeroShotSegmenter:
    slices = Settings(volumes="slices")
    return ZeroShotSegmenter(encoder, segmenter, slices, saliency=M2IB(layer=3, steps=2, samples=2))


@pytest.fixture(scope="module")
def targets(network):
    return network.encode_texts(parse_targets(TEXTS))


def grey_volume(depth: int = 5) -> torch.Tensor:
    return torch.rand(1, 24, 32, depth, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("slice_batch", [1, 2])
def test_a_volume_is_bit_for_bit_its_slices(network, targets, slice_batch):
    volume = grey_volume()
    found = segment_volume(
        network, volume.expand(3, -1, -1, -1), targets, slice_batch=slice_batch, keep=("saliency", "probability")
    )
    pictures = volume.expand(3, -1, -1, -1).movedim(-1, 0).contiguous().split(slice_batch)
    alone = [one for part in pictures for one in network.segment_encoded(network.encode_images(part), targets)]
    for name in ("label_map", "mask", "coarse", "saliency", "probability"):
        expected = torch.stack([getattr(one, name) for one in alone], -1)
        assert torch.equal(getattr(found, name), expected) and getattr(found, name).dtype == expected.dtype
    assert found.presence == (None, max(one.presence[1] for one in alone))
    for k in range(2):
        boxes = [[d, *box] for d, one in enumerate(alone) for box in one.boxes[k].tolist()]
        assert found.boxes[k].tolist() == boxes
        quality = [one.quality[k] for one in alone if one.quality[k] is not None]
        assert found.quality[k] == (sum(quality) / len(quality) if quality else None)


def test_maps_are_kept_on_request_only(network, targets):
    volume = grey_volume(2).expand(3, -1, -1, -1)
    bare = segment_volume(network, volume, targets)
    assert bare.maps == {}
    for name in ("saliency", "probability"):
        with pytest.raises(InputError, match=rf"a volume's {name} is kept on request only.*keep=\('{name}',\)"):
            getattr(bare, name)
        kept = segment_volume(network, volume, targets, keep=(name,))
        assert list(kept.maps) == [name] and getattr(kept, name).shape == (2, 24, 32, 2)
        assert torch.equal(kept.mask, bare.mask)
    with pytest.raises(InputError, match="keep must be a list of some of saliency, probability, got 'masks'"):
        segment_volume(network, volume, targets, keep=("masks",))


def test_slices_hold_nothing_once_they_are_stacked():
    stack = VolumeStack(3)
    for value in range(3):
        maps = torch.full((1, 4, 5), value / 2)
        nothing = (None,)
        boxes = (torch.zeros(0, 4),)
        stack.add(ZeroShotResult(("a",), maps, maps > 0.6, maps > 0.2, maps, boxes, nothing, nothing, nothing))
        del maps
    found = stack.result()
    held = [found.label_map, found.mask, found.coarse]
    assert sum(one.untyped_storage().nbytes() for one in held) == 3 * 60  # a byte a voxel each
    assert found.label_map[0, 0].tolist() == [0, 0, 1] and found.coarse[0, 0, 0].tolist() == [False, True, True]
    assert sum(getattr(one, name).numel() for one in stack._slices for name in ("mask", "saliency")) == 0


@pytest.mark.parametrize("shape", [(1, 6, 8), (1, 6, 8, 3), (3, 6, 8, 3)])
@pytest.mark.parametrize("meta", [{}, {"photometric": "MONOCHROME1"}])
def test_a_view_has_the_values_of_the_display_image_at_the_memory_of_one_channel(shape, meta):
    from monai.data import MetaTensor

    image = MetaTensor(torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 900 - 100, meta=dict(meta))
    full, view = DisplayRange()(image), DisplayRange().view(image)
    assert type(view) is torch.Tensor and torch.equal(full.as_tensor(), view) and view.shape == (3, *shape[1:])
    assert view.untyped_storage().nbytes() == 4 * image.numel()
    assert full.is_contiguous() and full.as_tensor().untyped_storage().nbytes() == 12 * image[0].numel()


def test_an_overlay_of_a_volume_looks_at_the_slices_it_shows_only(monkeypatch):
    seen = []
    real = Overlay._draw
    monkeypatch.setattr(
        Overlay, "_draw", lambda self, pixels, *rest: seen.append(pixels.shape[:2]) or real(self, pixels, *rest)
    )
    volume = grey_volume(40)
    masks = torch.zeros(1, 24, 32, 40, dtype=torch.bool)
    masks[0, 5:9, 5:9, 10:30] = True
    picture = Overlay()(volume, masks)
    assert seen == [(24, 32)] * 9 and picture.shape == (72, 96, 3)
    shown = [11, 13, 15, 17, 20, 22, 24, 26, 28]
    for place, number in enumerate(shown):
        row, column = divmod(place, 3)
        tile = picture[24 * row + 14 : 24 * row + 24, 32 * column : 32 * column + 32]  # below the number
        np.testing.assert_array_equal(tile, Overlay()(volume[..., number], masks[..., number])[14:])


def test_a_volume_of_a_file_is_saved_from_few_bytes_a_voxel(tiny_preset, tmp_path):
    numbers = np.random.default_rng(0).integers(-500, 900, (24, 20, 12), dtype=np.int16)
    nib.save(nib.Nifti1Image(numbers, np.diag([1, 1, 2, 1])), tmp_path / "ct.nii.gz")
    segmenter = TextSegmenter.from_preset(tiny_preset, "cpu")
    answer = segmenter(tmp_path / "ct.nii.gz", ["lungs", "heart"])
    voxels = numbers.size
    found = answer.found
    held = [answer.display, found.label_map, found.mask, found.coarse]
    assert sum(one.untyped_storage().nbytes() for one in held) == (4 + 1 + 2 + 2) * voxels and found.maps == {}
    plain = answer.save(tmp_path / "plain")
    with pytest.raises(InputError, match=r"a volume's saliency is kept on request only"):
        answer.save(tmp_path / "maps", save_saliency=True)
    kept = segmenter(tmp_path / "ct.nii.gz", ["lungs", "heart"], keep=("saliency", "probability"))
    files = kept.save(tmp_path / "maps", save_saliency=True, save_probability=True)
    saliency = nib.load(next(path for path in files if path.name == "ct_saliency_2.nii.gz"))
    assert saliency.shape == numbers.shape and saliency.get_data_dtype() == np.float32
    masks = [np.asarray(nib.load(one[0]).dataobj) for one in (plain, files)]
    np.testing.assert_array_equal(*masks)


def test_a_request_that_saves_maps_keeps_them(tiny_preset, tmp_path):
    numbers = np.random.default_rng(0).integers(-500, 900, (24, 20, 4), dtype=np.int16)
    nib.save(nib.Nifti1Image(numbers, np.eye(4)), tmp_path / "ct.nii.gz")
    segmenter = TextSegmenter.from_preset(tiny_preset, "cpu")
    asked = segmenter.request("lungs", save_saliency=True, save_probability=False)
    assert list(segmenter.answer(tmp_path / "ct.nii.gz", asked).found.maps) == ["saliency"]


def test_an_array_that_cannot_be_written_to_is_copied_when_read(tmp_path):
    from PIL import Image

    Image.fromarray(np.random.default_rng(0).random((20, 24), dtype=np.float32)).save(tmp_path / "a.tif")
    image = read_image(tmp_path / "a.tif")
    image += 1  # would fail, or change the file's own bytes
    assert float(image.min()) >= 1
