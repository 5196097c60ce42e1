"""Everything that can be wrong with an input of ``medclipsam segment``: one line, exit code 2, nothing half-written."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from command_line import make_nifti, make_picture, outputs
from PIL import Image


def not_an_image(path):
    (path / "bad.png").write_text("this is no picture")
    return path / "bad.png"


def truncated_png(path):
    image = make_picture(path / "bad.png", 200, 200)
    image.write_bytes(image.read_bytes()[:5000])
    return image


def truncated_nifti(path):
    volume = make_nifti(path / "bad.nii.gz", (20, 20, 20))
    volume.write_bytes(volume.read_bytes()[:8000])
    return volume


def truncated_dicom(path):
    from pydicom.data import get_testdata_file

    target = path / "bad.dcm"
    target.write_bytes(Path(get_testdata_file("CT_small.dcm")).read_bytes()[:12000])
    return target


def zero_byte(path):
    (path / "bad.png").touch()
    return path / "bad.png"


def unsupported(path):
    (path / "bad.txt").write_text("text")
    return path / "bad.txt"


def four_dimensional(path):
    return make_nifti(path / "bad.nii.gz", (12, 12, 12, 3))


def all_nan(path):
    nib.save(nib.Nifti1Image(np.full((12, 12, 12), np.nan, np.float32), np.eye(4)), path / "bad.nii.gz")
    return path / "bad.nii.gz"


BAD_FILES = [
    not_an_image,
    truncated_png,
    truncated_nifti,
    truncated_dicom,
    zero_byte,
    unsupported,
    four_dimensional,
    all_nan,
    lambda path: make_picture(path / "bad.png", 1, 1),
    lambda path: make_picture(path / "bad.png", 3, 2000),
    lambda path: path / "bad.png",
    lambda path: path / "bad*.png",
]


@pytest.mark.parametrize("make", BAD_FILES)
def test_a_bad_file_is_one_line_and_the_rest_goes_on(run, tmp_path, make):
    bad = make(tmp_path)
    good = make_picture(tmp_path / "good.png")
    code, out, err = run(bad, good, "--text", "lungs")
    assert code == 2
    lines = err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("failed") and "bad" in lines[0]
    assert "1 done, 0 skipped, 1 failed" in out
    assert not any(name.startswith("bad") for name in outputs(tmp_path / "out"))
    assert "good_mask.png" in outputs(tmp_path / "out")


@pytest.mark.parametrize(
    "make",
    [
        lambda path: make_picture(path / "wide.png", 12, 400),
        lambda path: (Image.new("L", (50, 30), 77).save(path / "flat.png"), path / "flat.png")[1],
        lambda path: make_nifti(path / "one_slice.nii.gz", (20, 24, 1)),
    ],
)
def test_odd_but_usable_images_get_a_mask(run, tmp_path, make):
    image = make(tmp_path)
    code, out, err = run(image, "--text", "lungs")
    assert (code, err) == (0, "") and "1 done" in out


def test_nan_and_infinity_in_a_part_of_a_volume_are_borne(run, tmp_path):
    data = np.random.default_rng(0).normal(size=(20, 20, 4)).astype(np.float32)
    data[0, 0], data[1, 1], data[2, 2] = np.nan, np.inf, -np.inf
    nib.save(nib.Nifti1Image(data, np.eye(4)), tmp_path / "holes.nii.gz")
    assert run(tmp_path / "holes.nii.gz", "--text", "lungs")[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--text", ""], "the text is empty"),
        (["--text", "   "], "the text is empty"),
        (["--text", "lungs " * 2000], "11999 characters"),
        (["--text", "肺を探す"], "vocabulary"),
        ([], "--text or as --prompts"),
        (["--text", "lungs", "--opposite", "heart=no heart"], "belongs to no class"),
        (["--text", "lungs", "--window", "jelly"], "jelly"),
        (["--text", "lungs", "--slice-axis", "oblique"], "axial, coronal, sagittal or all"),
        (["--text", "lungs", "--device", "cuda:99"], "cuda:99"),
        (["--text", "lungs", "--set", "saliency.gama=1"], "gama"),
        (["--text", "lungs", "--set", "saliency.layer=77"], "saliency.layer must be under 6"),
        (
            ["--text", "lungs", "--set", "saliency.steps=0"],
            "saliency.steps must be a whole number from 1 to 10,000, got 0",
        ),
        (["--text", "lungs", "--set", "saliency.method=magic"], "one of m2ib"),
        (["--text", "lungs", "--set", "coarse.threshold=guess"], "one of otsu"),
        (["--text", "lungs", "--set", "prompts.boxes=circle"], "prompts"),
        (["--text", "lungs", "--set", "saliency.method=gradcam", "--set", "saliency.layer=2"], "does not belong"),
        (
            ["--text", "lungs", "--set", "coarse.components=largest", "--set", "coarse.keep_best=true"],
            "does not belong",
        ),
        (["--text", "lungs", "--task", "lung_xray"], "no task 'lung_xray'"),
        (["--text", "lungs", "--set", "fusion=median"], "fusion must be"),
        (["--text", "lungs", "--set", "gamma"], "has no value"),
        (["--text", "lungs", "--clip", "no/such/folder"], "no/such/folder"),
        (["--text", "lungs", "--sam", "no/such/file.pth"], "no/such/file.pth"),
        (["--text", "lungs", "--prompts", "p.json"], "one of the two"),
    ],
)
def test_a_request_that_cannot_be_is_one_line_and_nothing_is_written(run, tmp_path, words, message):
    image = make_picture(tmp_path / "a.png")
    code, out, err = run(image, *words)
    assert code == 2 and out == ""
    assert len(err.strip().splitlines()) == 1 and err.startswith("medclipsam: ") and message in err
    assert outputs(tmp_path / "out") == set()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "unknown preset"),
        ("{", "not a readable JSON"),
        ('{"tasks": ' + "[" * 3000, "nested too deeply"),
        ("[]", "must hold a JSON object"),
        ("{}", "lacks 'clip'"),
        ('{"colour": 1}', "unknown key 'colour'"),
    ],
)
def test_a_preset_that_is_none_is_refused(run, tmp_path, content, message):
    preset = tmp_path / "mine.json"
    if content is not None:
        preset.write_text(content)
    code, _, err = run(make_picture(tmp_path / "a.png"), "--text", "lungs", preset=preset)
    assert code == 2 and message in err and len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda clip, sam: (clip / "open_clip_model.safetensors").unlink(), "no CLIP weights"),
        (lambda clip, sam: (sam / "sam.safetensors").unlink(), "weights file not found"),
        (lambda clip, sam: os.truncate(clip / "open_clip_model.safetensors", 9000), "not a whole safetensors"),
        (lambda clip, sam: os.truncate(sam / "sam.safetensors", 9000), "not a whole safetensors"),
        (
            lambda clip, sam: shutil.copy(sam / "sam.safetensors", clip / "open_clip_model.safetensors"),
            "another architecture",
        ),
        (
            lambda clip, sam: shutil.copy(clip / "open_clip_model.safetensors", sam / "sam.safetensors"),
            "another architecture",
        ),
    ],
)
def test_damaged_weights_are_one_line(run, tmp_path, clip_folder, sam_folder, damage, message):
    clip, sam = shutil.copytree(clip_folder, tmp_path / "clip"), shutil.copytree(sam_folder, tmp_path / "sam")
    damage(clip, sam)
    code, _, err = run(make_picture(tmp_path / "a.png"), "--text", "lungs", "--clip", clip, "--sam", sam)
    assert code == 2 and message in err and len(err.strip().splitlines()) == 1
    assert outputs(tmp_path / "out") == set()


def test_an_output_folder_that_cannot_be_is_one_line(run, tmp_path):
    image = make_picture(tmp_path / "a.png")
    code, _, err = run(image, "--text", "lungs", "--output", image / "below a file")
    assert code == 2 and "cannot write in the output folder" in err and len(err.strip().splitlines()) == 1


@pytest.fixture
def full_disk(tmp_path, monkeypatch):
    """A folder on a disk without room: a tmpfs of one page where this user may mount one, else a failing write."""
    folder = tmp_path / "full"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    if mounted:
        (folder / "filler").write_bytes(bytes(4096))
    else:

        def fail(*args: object, **kwargs: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr("medclipsam_monai.base.files.os.replace", fail)
    yield folder
    if mounted:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_one_line_and_leaves_no_half_file(run, tmp_path, full_disk):
    code, _, err = run(make_picture(tmp_path / "a.png"), "--text", "lungs", "--output", full_disk)
    assert code == 2 and "No space left" in err and len(err.strip().splitlines()) == 1
    assert outputs(full_disk) <= {"filler"}


def test_prompts_nested_beyond_all_reason_are_one_line(run, tmp_path):
    (tmp_path / "p.json").write_text('{"lungs": ' + "[" * 3000)
    code, _, err = run(make_picture(tmp_path / "a.png"), "--prompts", tmp_path / "p.json")
    assert (
        code == 2
        and "p.json is nested too deeply; expected at most 64 levels" in err
        and len(err.strip().splitlines()) == 1
    )
