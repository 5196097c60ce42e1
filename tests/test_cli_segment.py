"""``medclipsam segment`` from the outside: what it writes, what it refuses, and what it does twice."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medclipsam_monai import cli


@pytest.fixture
def run(tiny_preset, monkeypatch, capsys, tmp_path):
    """Run the command in this process: (exit code, standard output, standard error)."""

    def call(*args: object, preset: object = tiny_preset) -> tuple[int, str, str]:
        words = ["medclipsam", "segment", *map(str, args), "--preset", str(preset)]
        if "--device" not in words:
            words += ["--device", "cpu"]
        if "--output" not in words:
            words += ["--output", str(tmp_path / "out")]
        monkeypatch.setattr(sys, "argv", words)
        capsys.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def make_picture(path: Path, height: int = 40, width: int = 60, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def make_nifti(path: Path, shape: tuple[int, ...]) -> Path:
    affine = np.diag([1.5, 2.0, 3.0, 1.0])
    nib.save(nib.Nifti1Image(np.random.default_rng(1).normal(size=shape).astype(np.float32), affine), path)
    return path


def outputs(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*")} if folder.exists() else set()


def test_a_picture_gets_a_mask_an_overlay_and_a_record(run, tmp_path):
    image = make_picture(tmp_path / "chest.png")
    code, out, err = run(image, "--text", "lungs", "--text", "heart=a bright heart")
    assert (code, err) == (0, "")
    assert "1 done, 0 skipped, 0 failed" in out
    assert outputs(tmp_path / "out") == {"chest_mask.png", "chest_overlay.png", "chest.json"}
    mask = np.array(Image.open(tmp_path / "out" / "chest_mask.png"))
    assert mask.shape == (40, 60) and set(np.unique(mask)) <= {0, 1, 2}
    record = json.loads((tmp_path / "out" / "chest.json").read_text())
    assert record["texts"] == {"lungs": ["lungs"], "heart": ["a bright heart"]}
    assert [entry["name"] for entry in record["classes"]] == ["lungs", "heart"]
    assert record["classes"][0]["pixels"] == int((mask == 1).sum())
    assert set(record["weights"]) == {"clip", "sam"} and record["parameters"]["saliency"]["layer"] == 3


@pytest.mark.parametrize("axis", ["axial", "coronal", "sagittal"])
def test_a_volume_gets_a_mask_with_its_own_header(run, tmp_path, axis):
    volume = make_nifti(tmp_path / "ct.nii.gz", (20, 24, 9))
    code, _, _ = run(
        volume, "--text", "liver", "--slice-axis", axis, "--window", "liver", "--save-saliency", "--save-probability"
    )
    assert code == 0
    mask = nib.load(tmp_path / "out" / "ct_mask.nii.gz")
    assert mask.shape == (20, 24, 9)
    np.testing.assert_array_equal(mask.affine, nib.load(volume).affine)
    assert {"ct_saliency.nii.gz", "ct_probability.nii.gz"} < outputs(tmp_path / "out")
    record = json.loads((tmp_path / "out" / "ct.json").read_text())
    assert record["classes"][0]["unit"] == "mm3"
    assert record["classes"][0]["size"] == pytest.approx(record["classes"][0]["pixels"] * 9.0)


def test_what_is_finished_is_skipped_and_a_changed_request_is_not(run, tmp_path):
    image = make_picture(tmp_path / "a.png")
    run(image, "--text", "lungs")
    mask = tmp_path / "out" / "a_mask.png"
    before = mask.stat().st_mtime_ns
    assert "0 done, 1 skipped" in run(image, "--text", "lungs")[1]
    assert mask.stat().st_mtime_ns == before
    for change in (
        ["--text", "heart"],
        ["--text", "heart", "--set", "saliency.gamma=2"],
        ["--text", "heart", "--seed", 3],
    ):
        assert "1 done, 0 skipped" in run(image, *change)[1]
    assert "1 done, 0 skipped" in run(image, *change, "--overwrite")[1]
    mask.unlink()
    assert "1 done, 0 skipped" in run(image, *change)[1], "a missing output is made again"


def test_folders_globs_and_awkward_names(run, tmp_path):
    make_picture(tmp_path / "in" / "with space.png")
    make_picture(tmp_path / "in" / "qu'ote\"d.png")
    make_picture(tmp_path / "in" / "größe 肺.png")
    make_picture(tmp_path / "more" / "b.jpg")
    code, out, _ = run(tmp_path / "in", tmp_path / "more" / "*.jpg", "--text", "lungs", "--no-overlay")
    assert code == 0 and "4 done" in out
    stems = {"with space", "qu'ote\"d", "größe 肺", "b"}
    assert outputs(tmp_path / "out") == {f"{s}{end}" for s in stems for end in ("_mask.png", ".json")}


def test_two_inputs_of_one_stem_do_not_overwrite_each_other(run, tmp_path):
    first, second = make_picture(tmp_path / "p1" / "x.png"), make_picture(tmp_path / "p2" / "x.png", seed=1)
    code, out, _ = run(first, second, "--text", "lungs", "--no-overlay")
    assert code == 0 and "2 done" in out
    assert len([name for name in outputs(tmp_path / "out") if name.endswith("_mask.png")]) == 2


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
        (["--text", "lungs", "--slice-axis", "oblique"], "axial, coronal or sagittal"),
        (["--text", "lungs", "--device", "cuda:99"], "cuda:99"),
        (["--text", "lungs", "--set", "saliency.gama=1"], "gama"),
        (["--text", "lungs", "--set", "saliency.layer=77"], "saliency.layer must be under 6"),
        (["--text", "lungs", "--set", "saliency.steps=0"], "steps must be positive"),
        (["--text", "lungs", "--set", "saliency.method=magic"], "one of m2ib"),
        (["--text", "lungs", "--set", "coarse.threshold=guess"], "one of otsu"),
        (["--text", "lungs", "--set", "prompts.boxes=circle"], "prompts"),
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

        monkeypatch.setattr("medclipsam_monai.io.writers.os.replace", fail)
    yield folder
    if mounted:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_one_line_and_leaves_no_half_file(run, tmp_path, full_disk):
    code, _, err = run(make_picture(tmp_path / "a.png"), "--text", "lungs", "--output", full_disk)
    assert code == 2 and "No space left" in err and len(err.strip().splitlines()) == 1
    assert outputs(full_disk) <= {"filler"}


def test_a_prompts_file_holds_classes_sentences_and_opposites(run, tmp_path):
    prompts = tmp_path / "p.json"
    prompts.write_text(json.dumps({"tumor": {"sentences": ["a bright tumor", "tumor"], "opposites": "no tumor"}}))
    assert run(make_picture(tmp_path / "a.png"), "--prompts", prompts)[0] == 0
    record = json.loads((tmp_path / "out" / "a.json").read_text())
    assert 0 <= record["classes"][0]["presence"] <= 1
    prompts.write_text("[1]")
    assert "must hold an object" in run(make_picture(tmp_path / "b.png"), "--prompts", prompts)[2]


@pytest.mark.slow
def test_killed_half_way_it_goes_on_where_it_stopped(run, tmp_path, tiny_preset):
    for n in range(12):
        make_picture(tmp_path / "in" / f"{n:02}.png", 200, 200, seed=n)
    out = tmp_path / "out"
    words = ["segment", tmp_path / "in", "--text", "lungs", "--output", out, "--preset", tiny_preset, "--device", "cpu"]
    command = [sys.executable, "-c", "from medclipsam_monai.cli import main; main()", *map(str, words)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while len(list(out.glob("*.json"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = len(list(out.glob("*.json")))
    assert 3 <= finished < 12
    for record in out.glob("*.json"):
        assert all((out / name).stat().st_size for name in json.loads(record.read_text())["outputs"])
    _, printed, _ = run(tmp_path / "in", "--text", "lungs")
    assert f"{12 - finished} done, {finished} skipped, 0 failed" in printed


def run_python(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


def test_importing_the_package_loads_no_model_code():
    loaded = run_python("import sys, medclipsam_monai.cli; print(*sys.modules)").stdout.split()
    assert not {"torch", "monai", "numpy", "open_clip", "segment_anything"} & set(loaded)


def test_help_names_the_commands_and_loads_no_model_code():
    lines = [
        "import sys; sys.argv = ['medclipsam', '--help']",
        "from medclipsam_monai.cli import app",
        "try: app()",
        "except SystemExit: print('torch' in sys.modules)",
    ]
    out = run_python("\n".join(lines)).stdout
    assert "segment" in out and "weights" in out and out.strip().endswith("False")
