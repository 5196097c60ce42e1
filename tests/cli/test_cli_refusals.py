"""Mistakes that need no model code to be seen are said at once; Ctrl-C is one line, whenever it comes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import make_picture

HEAVY = {"torch", "monai", "open_clip", "transformers", "timm", "scipy.ndimage", "matplotlib", "SimpleITK", "itk"}
SEGMENT = ["segment", "a.png", "--output", "out"]
STUDY = ["study", "phantoms", "--output", "o"]
TUNE = ["tune", "a.png", "--text", "lungs", "--task", "x", "--output", "o.json"]
DEPLOY = ["deploy", "-i", "empty", "-o", "out", "--text", "lungs"]
REFUSED = {
    "no text": (SEGMENT, "medclipsam: give what to segment as --text or as --prompts, one of the two"),
    "no file": (
        ["segment", "b.png", "c*.png", "--text", "lungs", "--output", "out"],
        "failed   b.png: no such file or folder\nfailed   c*.png: matches no image",
    ),
    "preset": ([*SEGMENT, "--text", "lungs", "--preset", "nope"], "medclipsam: unknown preset 'nope'; expected one of"),
    "task": ([*SEGMENT, "--text", "lungs", "--task", "nope"], "medclipsam: preset small has no task 'nope'"),
    "window": ([*SEGMENT, "--text", "lungs", "--window", "jelly"], 'medclipsam: unknown window "jelly"; use auto'),
    "axis": (
        [*SEGMENT, "--text", "lungs", "--slice-axis", "axail"],
        "medclipsam: --slice-axis must be acquired, axial, coronal, sagittal or all, got 'axail'",
    ),
    "setting": ([*SEGMENT, "--text", "lungs", "--set", "saliency.gama=1"], "medclipsam: saliency.gama"),
    "group": ([*SEGMENT, "--text", "lungs", "--set", "salience.gamma=1"], "medclipsam: unknown setting"),
    "prompts": ([*SEGMENT, "--prompts", "nope"], "medclipsam: unknown prompt set 'nope'"),
    "clip": ([*SEGMENT, "--text", "lungs", "--clip", "nope"], "medclipsam: weights not found: nope"),
    "sam": ([*SEGMENT, "--text", "lungs", "--sam", "nope"], "medclipsam: weights not found: nope"),
    "seed": ([*SEGMENT, "--text", "lungs", "--seed=-1"], "medclipsam: saliency.seed must be a whole number from 0"),
    "output": (
        ["segment", "a.png", "--text", "lungs", "--output", "a.png"],
        "medclipsam: cannot write in the output folder a.png: it is a file",
    ),
    "no image": (
        ["segment", "empty", "notes.txt", "--text", "lungs", "--output", "out"],
        "failed   empty: no image in this folder; looked for .png",
    ),
    "weights": (["weights", "path", "nope"], "medclipsam: weights not found: nope"),
    "tune": (
        [*TUNE, "--gamma", "1,two"],
        "medclipsam: --gamma must be numbers with commas between them, got '1,two'",
    ),
    "block": ([*TUNE, "--layer=-1"], "medclipsam: saliency.layer must be"),
    "deploy: window": ([*DEPLOY, "--window", "jelly"], 'medclipsam: unknown window "jelly"; use auto'),
    "deploy: device": ([*DEPLOY, "--device", "tpu"], "medclipsam: device 'tpu' is not available here"),
    "deploy: preset": ([*DEPLOY, "--preset", "nope"], "medclipsam: unknown preset 'nope'; expected one of"),
    "deploy: rules": ([*DEPLOY, "--rules", "no.json"], "medclipsam: the rules file no.json is not a readable"),
    "deploy: bundle": ([*DEPLOY, "--bundle", "empty"], "medclipsam: empty is no bundle: it has no configs"),
    "DICOM SEG of a picture": (
        [*SEGMENT, "--text", "lungs", "--dicom-seg"],
        "medclipsam: a.png: is not DICOM; a DICOM",
    ),
    "labels": ([*TUNE, "--labels", "nope"], "medclipsam: --labels nope: no such folder"),
    "demo": (["demo", "a.png"], "medclipsam: cannot write in the output folder a.png: it is a file"),
    "study": (["study", "t.csv", "--output", "o"], "medclipsam: no such table: t.csv; expected a CSV with task, image"),
    "study's table": (
        ["study", "notes.txt", "--output", "o"],
        "medclipsam: notes.txt has no column 'task'; expected task, image, mask, target",
    ),
    "study's task": ([*STUDY, "--task", "knee"], "medclipsam: there are no phantoms of 'knee'; expected one of"),
    "study's plan": ([*STUDY, "--saliency", "lime"], "medclipsam: saliency must be some of m2ib, gscorecam, gradcam"),
    "study's examples": (
        [*STUDY, "--rival", "prototypes"],
        "medclipsam: --rival prototypes is shown examples; give --examples FOLDER or TABLE",
    ),
    "study's prompts": ([*STUDY, "--prompts", "brain_mri=nope"], "medclipsam: unknown prompt set 'nope'"),
    "study's clip": ([*STUDY, "--clip", "nope"], "medclipsam: weights not found: nope"),
    "study's output": (
        ["study", "phantoms", "--output", "a.png"],
        "medclipsam: cannot write in the output folder a.png",
    ),
}


def start(words: list[str], folder: Path, **environment: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "medclipsam_monai", *words]
    everything = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, env=everything, stdout=pipe, stderr=pipe)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.seg) if name.startswith("DICOM SEG") else name for name in REFUSED]
)
def test_a_mistake_is_said_before_anything_heavy_is_imported(tmp_path, name):
    make_picture(tmp_path / "a.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("no image")
    words, message = REFUSED[name]
    process = start(words, tmp_path, PYTHONPROFILEIMPORTTIME="1")
    lines = process.communicate()[1].decode().splitlines()
    imported = {line.split("|")[-1].strip() for line in lines if line.startswith("import time:")}
    err = "\n".join(line for line in lines if not line.startswith("import time:"))
    assert process.returncode == 2 and err.startswith(message), err
    assert "typer" in imported and not imported & HEAVY


@pytest.mark.parametrize(("twice", "delay"), [(False, 0.5), (True, 0.5), (False, None)])
def test_ctrl_c_is_one_line_and_leaves_nothing_hidden(tmp_path, twice, delay):
    for number in range(40):
        make_picture(tmp_path / "in" / f"{number:02}.png", 200, 200)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background ignores it
    try:
        process = start(["segment", "in", "--text", "lungs", "--output", "out"], tmp_path)
    finally:
        signal.signal(signal.SIGINT, handler)
    if delay is None:
        assert process.stdout is not None
        while not process.stdout.readline().startswith(b"done"):  # at work
            pass
    else:
        time.sleep(delay)  # at its imports
    process.send_signal(signal.SIGINT)
    if twice:
        process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    told = [line for line in err.splitlines() if not line.startswith(b"warning ")]  # of what was finished: it is noise
    assert (process.returncode, told) == (130, [b"medclipsam: interrupted; run it again to go on"])
    hidden = {path.name for path in (tmp_path / "out").glob(".*")}
    assert not hidden


def test_a_screen_that_lacks_a_letter_shows_any_name(tmp_path):
    make_picture(tmp_path / "größe 肺.png")
    no_utf_8 = os.fsdecode(b"M\xfcller.txt")
    (tmp_path / no_utf_8).touch()
    words = ["segment", "größe 肺.png", no_utf_8, "--text", "lungs", "--output", "out"]
    process = start(words, tmp_path, PYTHONIOENCODING="cp437", LC_ALL="C")
    out, err = (stream.decode("cp437") for stream in process.communicate())
    assert process.returncode == 2
    assert r"done     [2/2] größe \u80ba.png: lungs" in out
    assert err.startswith(r"failed   M\udcfcller.txt: is not a supported image")
