"""``medclipsam segment`` from the outside: what it writes, and what it does twice."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import time

import nibabel as nib
import numpy as np
import pytest
from command_line import make_nifti, make_picture, outputs
from PIL import Image


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
    assert [(entry["label"], entry["colour"]) for entry in record["classes"]] == [
        (1, [230, 159, 0]),
        (2, [86, 180, 233]),
    ]
    for name, sha256 in record["outputs"].items():
        assert hashlib.sha256((tmp_path / "out" / name).read_bytes()).hexdigest() == sha256
    assert list(record["outputs"]) == ["chest_mask.png", "chest_overlay.png"]
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
        assert "0 done, 0 skipped, 1 failed" in run(image, *change)[1]
        assert mask.stat().st_mtime_ns == before, "the first result is kept"
    assert "1 done, 0 skipped" in run(image, *change, "--overwrite")[1]
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


def test_a_prompts_file_holds_classes_sentences_and_opposites(run, tmp_path):
    prompts = tmp_path / "p.json"
    prompts.write_text(json.dumps({"tumor": {"sentences": ["a bright tumor", "tumor"], "opposites": "no tumor"}}))
    assert run(make_picture(tmp_path / "a.png"), "--prompts", prompts)[0] == 0
    record = json.loads((tmp_path / "out" / "a.json").read_text())
    assert 0 <= record["classes"][0]["presence"] <= 1
    prompts.write_text("[1]")
    assert "must hold a JSON object, got a list" in run(make_picture(tmp_path / "b.png"), "--prompts", prompts)[2]


@pytest.mark.parametrize("method", ["gscorecam", "gradcam"])
def test_another_saliency_method_is_one_setting(run, tmp_path, method):
    words = [make_picture(tmp_path / "a.png"), "--text", "lungs", "--set", f"saliency.method={method}", "--seed", 3]
    code, _, err = run(*words, "--save-saliency")
    assert (code, err) == (0, "")
    record = json.loads((tmp_path / "out" / "a.json").read_text())
    assert record["parameters"]["saliency"] == {"method": method}, "nothing is left of M2IB's parameters"
    assert np.array(Image.open(tmp_path / "out" / "a_saliency.png")).max() > 0


def test_a_task_changes_the_parameters_and_a_setting_comes_on_top(run, tmp_path, tiny_preset):
    tasks = {
        "chest": {"description": "two lungs", "saliency.gamma": 0.5, "coarse.components": "largest", "coarse.k": 2}
    }
    preset = tmp_path / "mine.json"
    preset.write_text(json.dumps({"extends": str(tiny_preset), "tasks": tasks}))
    image = make_picture(tmp_path / "a.png")
    assert run(image, "--text", "lungs", "--task", "chest", "--set", "coarse.k=1", preset=preset)[0] == 0
    parameters = json.loads((tmp_path / "out" / "a.json").read_text())["parameters"]
    assert parameters["task"] == "chest"
    assert parameters["saliency"]["gamma"] == 0.5
    assert parameters["coarse"] == {"threshold": "otsu", "components": "largest", "k": 1}
    code, _, err = run(image, "--text", "lungs", preset=preset)
    assert code == 2 and "it is of another request" in err, "without the task it is another one"
    code, _, err = run(image, "--text", "lungs", "--task", "head", preset=preset)
    assert code == 2 and "no task 'head'; expected one of chest" in err


@pytest.mark.slow
def test_the_presets_are_listed_with_their_tasks():
    lines = run_python(
        "import sys; sys.argv = ['medclipsam', 'presets']; from medclipsam_monai.cli.app import app; app()"
    )
    assert "biomedclip_v1" in lines.stdout and "demo" in lines.stdout
    assert lines.stdout.count("--task brain_mri") == 10
    of_small = lines.stdout[lines.stdout.index("\nsmall ") :].splitlines()
    assert "  knows in fetal ultrasound: fetal head" in of_small
    assert "  licence of its weights: CC-BY-SA-4.0" in of_small
    assert lines.stdout.count("  knows in") == sum(line.startswith("  knows in") for line in of_small)


@pytest.mark.slow
def test_killed_half_way_it_goes_on_where_it_stopped(run, tmp_path, tiny_preset):
    for n in range(12):
        make_picture(tmp_path / "in" / f"{n:02}.png", 200, 200, seed=n)
    out = tmp_path / "out"
    words = ["segment", tmp_path / "in", "--text", "lungs", "--output", out, "--preset", tiny_preset, "--device", "cpu"]
    command = [sys.executable, "-c", "from medclipsam_monai.cli.main import main; main()", *map(str, words)]
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
    loaded = run_python("import sys, medclipsam_monai.cli.app; print(*sys.modules)").stdout.split()
    assert not {"torch", "monai", "numpy", "open_clip", "segment_anything"} & set(loaded)


def test_reading_a_preset_loads_no_model_code():
    lines = [
        "import sys",
        "from medclipsam_monai.presets import load_preset",
        "load_preset('biomedclip_v1').with_settings({'threshold': 0.4})",
        "print(*sys.modules)",
    ]
    assert not {"torch", "monai", "open_clip"} & set(run_python("\n".join(lines)).stdout.split())


def test_help_names_the_commands_and_loads_no_model_code():
    lines = [
        "import sys; sys.argv = ['medclipsam', '--help']",
        "from medclipsam_monai.cli.app import app",
        "try: app()",
        "except SystemExit: print('torch' in sys.modules)",
    ]
    out = run_python("\n".join(lines)).stdout
    assert "segment" in out and "weights" in out and out.strip().endswith("False")
