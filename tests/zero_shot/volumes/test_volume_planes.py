"""A volume cut along all axes: every cut upright, and what two of three agree on."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch

from medclipsam_monai import TextSegmenter
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import read_image
from medclipsam_monai.zero_shot.volumes.planes import segment_planes, turned
from medclipsam_monai.zero_shot.volumes.result import VolumeResult

PLANES = ("axial", "coronal", "sagittal")


@pytest.fixture
def file(tmp_path):
    numbers = np.random.default_rng(0).integers(-500, 900, (20, 24, 16), dtype=np.int16)
    nib.save(nib.Nifti1Image(numbers, np.diag([-1.5, 1, 1, 1])), tmp_path / "ct.nii.gz")
    return tmp_path / "ct.nii.gz"


def result(mask: torch.Tensor, presence: float | None = 0.5) -> VolumeResult:
    label_map = torch.where(mask[0], 1, 0).to(torch.uint8)
    return VolumeResult(("a",), label_map, mask, mask, (torch.zeros(0, 5),), (presence,), (None,), (None,))


@pytest.mark.parametrize("own", PLANES)
def test_every_cut_is_what_the_reader_shows(file, own):
    image = read_image(file, own)
    seen = []

    def segment(volume, step, owner):
        seen.append((volume, step, owner))
        return result(volume[:1] > 0.7)

    display = image.as_tensor().float().expand(3, -1, -1, -1) / 900
    segment_planes(segment, display, image.meta["spacing"], image.meta["geometry"].display_affine, "me")
    assert seen[0][2] == "me" and sorted(one[2] for one in seen[1:]) == sorted(("me", p) for p in PLANES if p != own)
    for (volume, step, _), plane in zip(seen, [own, *(p for p in PLANES if p != own)], strict=True):
        shown = read_image(file, plane)
        assert torch.equal(volume[0], shown.as_tensor()[0].float() / 900), plane
        assert step == pytest.approx(shown.meta["spacing"][2])


def test_two_of_three_decide_in_the_place_of_the_voxel():
    rng = torch.Generator().manual_seed(0)
    votes = [torch.rand(1, 8, 9, 10, generator=rng) > 0.5 for _ in range(3)]
    affine = np.diag([-1.0, -1, 1, 1])[[1, 0, 2, 3]]  # rows run to the back, columns to the left, slices upwards
    calls = []

    def segment(volume, step, owner):
        calls.append(owner)
        own = votes[len(calls) - 1]
        if len(calls) == 1:
            return result(own, 0.9)
        places = torch.arange(own.numel()).reshape(own.shape).float()
        moved = volume[:1].long()  # the volume holds each voxel's own place
        assert sorted(moved.flatten().tolist()) == places.flatten().tolist()
        return result(own.flatten()[moved.flatten()].reshape(moved.shape), 0.3)

    volume = torch.arange(720).reshape(1, 8, 9, 10).float().expand(3, -1, -1, -1)
    found = segment_planes(segment, volume, (1, 1, 1), affine, "me")
    expected = sum(vote.int() for vote in votes) >= 2
    assert len(calls) == 3 and torch.equal(found.mask, expected)
    assert torch.equal(found.label_map, expected[0].to(torch.uint8))
    assert found.presence[0] == pytest.approx(0.5) and found.quality == (None,)
    assert torch.equal(found.coarse, votes[0])


def test_turning_is_nibabels():
    stack = torch.rand(2, 3, 4, 5)
    for codes in ("RAS", "PIL", "LSP", "IPR"):
        turn = nib.orientations.axcodes2ornt(codes)
        expected = np.stack([nib.apply_orientation(one, turn) for one in stack.numpy()])
        np.testing.assert_array_equal(turned(stack, turn).numpy(), expected)


@pytest.mark.parametrize(("spacing", "told"), [(None, "unknown"), ((1, 1, 2.5), "1 x 1 x 2.5 mm")])
def test_flat_voxels_are_refused(spacing, told):
    with pytest.raises(InputError, match=f"up to 1 to 2; they are {told}"):
        segment_planes(lambda *_: None, torch.zeros(3, 8, 8, 8), spacing, np.eye(4), None)


def test_the_facade_and_the_command_line_take_all(file, tiny_preset, run, tmp_path):
    segmenter = TextSegmenter.from_preset(tiny_preset, "cpu")
    every = segmenter(file, "lungs", slice_axis="all")
    own = segmenter(file, "lungs")
    assert every.label_map.shape == own.label_map.shape and not torch.equal(every.label_map, own.label_map)
    opened = segmenter.open(file, slice_axis="all")
    assert torch.equal(opened("lungs").label_map, every.label_map)
    assert opened.memory.bytes > 0
    opened.close()
    assert opened.memory.bytes == 0
    code, _, _ = run(file, "--text", "lungs", "--slice-axis", "all")
    assert code == 0
    written = np.asarray(nib.load(tmp_path / "out" / "ct_mask.nii.gz").dataobj)
    np.testing.assert_array_equal(written, every.stored_mask())


def test_a_volume_that_cannot_be_cut_so_is_named(tmp_path, run):
    nib.save(nib.Nifti1Image(np.zeros((20, 24, 16), np.int16), np.diag([1, 1, 5, 1])), tmp_path / "thick.nii.gz")
    code, _, err = run(tmp_path / "thick.nii.gz", "--text", "lungs", "--slice-axis", "all")
    assert code == 2 and "the sides of a voxel must be alike, up to 1 to 2; they are 1 x 1 x 5 mm" in err
