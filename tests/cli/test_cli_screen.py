"""What the commands say on the screen: a line a file, a word of warning where it is due, and never a traceback."""

from __future__ import annotations

import re
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from command_line import make_picture
from pydicom.data import get_testdata_file

from medclipsam_monai.cli import app as cli_app
from medclipsam_monai.io import InputWarning
from medclipsam_monai.zero_shot.batch import describe
from medclipsam_monai.zero_shot.many import stages
from medclipsam_monai.zero_shot.one_image.reading import show_image


def test_a_done_line_says_where_the_mask_is_how_large_and_how_it_agrees(run, tmp_path):
    code, out, err = run(make_picture(tmp_path / "a.png"), "--text", "lungs", "--text", "heart")
    assert (code, err) == (0, "")
    number = r"\d+\.\d% of the image, agreement [01]\.\d\d"
    each = rf"(lungs|heart) ({number}|not found, its mask is empty)"
    mask = re.escape(str(tmp_path / "out" / "a_mask.png"))
    assert re.fullmatch(
        rf"done     {re.escape(str(tmp_path))}/a\.png: {each}; {each}; {mask} \(\d+\.\d s\)", out.splitlines()[0]
    )


def entry(**changes: object) -> dict[str, object]:
    return {"name": "lungs", "pixels": 12, "fraction": 0.125, "presence": None, "agreement": 0.5, **changes}


@pytest.mark.parametrize(
    ("found", "line", "concern"),
    [
        (entry(), "lungs 12.5% of the image, agreement 0.50", None),
        (
            entry(agreement=0.0),
            "lungs 12.5% of the image, agreement 0.00",
            "the mask of lungs does not touch what was lit up for it; look at it before you use it",
        ),
        (entry(pixels=0, agreement=0.0), "lungs not found, its mask is empty", None),
        (entry(pixels=0, agreement=None), "lungs not found, its mask is empty", None),
        (entry(pixels=0, presence=0.25), "lungs absent (presence 0.25; --always makes a mask all the same)", None),
        (entry(presence=0.75), "lungs 12.5% of the image, agreement 0.50", None),
        (
            entry(slices={"words": "slices 3 to 5 of 9"}),
            "lungs 12.5% of the image in slices 3 to 5 of 9, agreement 0.50",
            None,
        ),
    ],
)
def test_each_class_is_described_and_a_mask_beside_the_light_is_a_concern(found, line, concern):
    assert describe({"classes": [found]}, 0.5) == ([line], [concern] if concern else [])


def test_a_folder_shows_how_many_of_how_many(run, tmp_path):
    for name in "abc":
        make_picture(tmp_path / "in" / f"{name}.png")
    (tmp_path / "in" / "b.png").write_bytes(b"no picture")
    run(tmp_path / "in" / "c.png", "--text", "lungs")
    _, out, err = run(tmp_path / "in", "--text", "lungs")
    assert out.startswith(f"done     [1/3] {tmp_path}/in/a.png: ")
    assert err.startswith(f"failed   [2/3] {tmp_path}/in/b.png: ")
    assert f"skipped  [3/3] {tmp_path}/in/c.png\n" in out


def test_any_error_of_one_image_is_one_line_and_the_rest_goes_on(run, tmp_path, monkeypatch):
    def fail(source, *rest):
        problems = {
            "b": TypeError("no\nsuch thing"),
            "c": MemoryError(),
            "d": torch.OutOfMemoryError("8 GiB"),
            "e": OSError(5, "worn out"),
        }
        if source.stem in problems:
            raise problems[source.stem]
        return show_image(source, *rest)

    monkeypatch.setattr(stages, "show_image", fail)
    for name in "abcdef":
        make_picture(tmp_path / "in" / f"{name}.png")
    code, out, err = run(tmp_path / "in", "--text", "lungs", "--no-overlay")
    assert code == 2 and "2 done, 0 skipped, 4 failed" in out
    folder = tmp_path / "in"
    assert err.splitlines() == [
        f"failed   [2/6] {folder}/b.png: internal error TypeError: no such thing; --debug shows where",
        f"failed   [3/6] {folder}/c.png: too large for this machine's memory",
        f"failed   [4/6] {folder}/d.png: too large for this machine's memory",
        f"failed   [5/6] {folder}/e.png: worn out",
    ]
    code, out, err = run(tmp_path / "in", "--text", "lungs", "--no-overlay", "--debug")
    assert code == 2 and "TypeError: no\nsuch thing" in err and "Traceback" in err and "2 skipped" in out


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyError("x"), 1, "medclipsam: internal error KeyError: 'x'; --debug shows where\n"),
        (RecursionError(), 1, "medclipsam: internal error RecursionError; --debug shows where\n"),
        (OSError(28, "No space left on device"), 1, "medclipsam: No space left on device\n"),
        (MemoryError(), 1, "medclipsam: too large for this machine's memory\n"),
    ],
)
def test_an_error_of_any_command_is_one_line(command, monkeypatch, error, code, line):
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("medclipsam_monai.presets.preset_names", fail)
    assert command("presets") == (code, "", line)
    with pytest.raises(type(error)):
        command("presets", "--debug")


def test_what_a_reader_warns_of_is_a_note_and_not_pythons_text(run, tmp_path, monkeypatch):
    def warn(source, *rest):
        warnings.warn(f"{source.paths[0]}: slices are uneven", InputWarning, stacklevel=2)
        warnings.warn("a library's own affair", UserWarning, stacklevel=1)
        return show_image(source, *rest)

    monkeypatch.setattr(stages, "show_image", warn)
    images = [make_picture(tmp_path / "a.png"), make_picture(tmp_path / "b.png")]
    code, out, err = run(*images, "--text", "lungs", "--no-overlay")
    assert (code, err) == (0, "") and "affair" not in out
    notes = [line for line in out.splitlines() if line.startswith("note")]
    assert notes == [f"note     {image}: slices are uneven" for image in images], "each image has its own"


def test_demo_weights_are_said_to_be_for_phantoms(command, tmp_path):
    words = [
        "segment",
        make_picture(tmp_path / "a.png"),
        "--text",
        "lungs",
        "--output",
        tmp_path / "out",
        "--device",
        "cpu",
        "--preset",
        "demo",
    ]
    code, out, _ = command(*words)
    assert code == 0 and out.startswith("note     the demo weights know procedural phantoms only")


def test_own_weights_are_not(run, tmp_path):
    assert "phantoms" not in run(make_picture(tmp_path / "a.png"), "--text", "lungs")[1]


def test_files_that_are_left_out_are_named_and_counted(run, tmp_path):
    make_picture(tmp_path / "study" / "a.png")
    report = Path(str(get_testdata_file("test-SR.dcm")))
    shutil.copy(report, tmp_path / "study" / "report.dcm")
    words = [tmp_path / "study", "--text", "lungs", "--no-overlay"]
    code, out, err = run(*words)
    assert (code, err) == (0, "") and "1 done, 0 skipped, 0 failed, 1 left out" in out
    assert f"left out {tmp_path}/study/report.dcm (" in out
    assert run(*words, "--strict")[0] == 2


@pytest.mark.parametrize("words", [["-h"], ["segment", "-h"], ["weights", "download", "-h"], ["tune", "--help"]])
def test_help_has_a_short_name_and_its_types_are_words(command, words):
    code, out, _ = command(*words)
    assert code == 0 and "Usage: medclipsam" in out and not re.search("<(bool|str|list|int)", out)


def test_the_shell_can_complete_commands():
    assert cli_app.app._add_completion


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["segment", "a.png", "--text", "lungs", "--output", "o", "--clip", ""], "--clip"),
        (["segment", "a.png", "--text", "lungs", "--output", "o", "--sam", " "], "--sam"),
        (["segment", "a.png", "--text", "lungs", "--output", "o", "--preset="], "--preset"),
        (["segment", "a.png", "--text", "lungs", "--output", "o", "--task", ""], "--task"),
        (["segment", "a.png", "--output", "o", "--prompts", ""], "--prompts"),
        (["segment", "a.png", "--text", "lungs", "--output", "o", "--device", ""], "--device"),
        (["segment", "a.png", "--text", "lungs", "-o", ""], "-o"),
        (["segment", "a.png", "--text", "lungs", "--output="], "--output"),
        (["segment", "", "--text", "lungs", "--output", "o"], "an argument"),
        (["tune", "", "--text", "lungs", "--task", "x", "--output", "o.json"], "an argument"),
        (["tune", "a.png", "--text", "lungs", "--task", "x", "--output", "o.json", "--labels", ""], "--labels"),
        (["weights", "path", ""], "an argument"),
        (["label-app", ""], "an argument"),
    ],
)
def test_an_empty_word_is_refused_and_stands_for_nothing(command, tmp_path, monkeypatch, words, name):
    monkeypatch.chdir(tmp_path)
    make_picture(tmp_path / "a.png")
    assert command(*words) == (2, "", f"medclipsam: {name} is empty; give a value or leave it out\n")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--max-voxels", "0"], "--max-voxels must be a positive whole number, got 0"),
        (["--batch", "0"], "--batch must be a positive whole number, got 0"),
        (["--format", "nifti"], "--format must be nrrd, got 'nifti'"),
        (["--device", "gpu"], "device 'gpu' is not available here; expected auto, cpu, cuda or mps"),
        (["--text", "\udcff"], r"a text must be UTF-8, got '\udcff'"),
        (["--opposite", "no \udcff"], r"a text must be UTF-8, got 'no \udcff'"),
    ],
)
def test_a_value_that_an_option_does_not_take_is_refused(run, tmp_path, words, message):
    code, out, err = run(make_picture(tmp_path / "a.png"), "--text", "lungs", *words)
    assert (code, out, err) == (2, "", f"medclipsam: {message}\n")


def test_the_largest_image_can_be_raised_and_lowered(run, tmp_path, monkeypatch):
    monkeypatch.setenv("MEDCLIPSAM_MAX_VOXELS", "100")
    image = make_picture(tmp_path / "a.png", 40, 60)
    assert run(image, "--text", "lungs", "--max-voxels", "2400")[0] == 0
