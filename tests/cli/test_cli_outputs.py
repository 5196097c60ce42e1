"""What ``medclipsam segment`` replaces in an output folder, and what it never does."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import make_nifti, make_picture, outputs
from PIL import Image

from medclipsam_monai import TextSegmenter
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import temporary_name, write_atomically
from medclipsam_monai.io.outputs import Question, open_outputs
from medclipsam_monai.zero_shot.batch import segment_files


def in_the_way(err: str) -> tuple[str, str]:
    """The name of the file that is in the way, and why."""
    (line,) = err.strip().splitlines()
    path, _, why = line.partition(" is in the way: ")
    return Path(path.rpartition(": ")[2]).name, why


NOT_OURS = "no record says that this program wrote it; choose another output folder, or overwrite it (--overwrite)"
CHANGED = "it was changed since this program wrote it; choose another output folder, or overwrite it (--overwrite)"
OTHER_REQUEST = "it is of another request; choose another output folder, or overwrite it (--overwrite)"


@pytest.mark.parametrize("name", ["benign_mask.png", "benign_overlay.png", "benign.json"])
def test_a_file_of_the_users_own_stays_and_the_rest_goes_on(run, tmp_path, name):
    make_picture(tmp_path / "in" / "benign.png")
    make_picture(tmp_path / "in" / "other.png")
    (tmp_path / "in" / name).write_bytes(b"mine")
    words = [
        tmp_path / "in" / "benign.png",
        tmp_path / "in" / "other.png",
        "--text",
        "lungs",
        "--output",
        tmp_path / "in",
    ]
    code, out, err = run(*words)
    assert code == 2 and "1 done, 0 skipped, 1 failed" in out
    assert in_the_way(err) == (name, NOT_OURS)
    assert (tmp_path / "in" / name).read_bytes() == b"mine"
    assert (tmp_path / "in" / "other_mask.png").exists()
    assert outputs(tmp_path / "in") == {
        "benign.png",
        name,
        "other.png",
        "other.json",
        "other_mask.png",
        "other_overlay.png",
    }
    code, out, err = run(*words, "--overwrite")
    assert (code, err) == (0, "") and (tmp_path / "in" / name).read_bytes() != b"mine"


def test_the_image_of_another_folder_does_not_replace_one_of_its_name(run, tmp_path):
    first, second = make_picture(tmp_path / "p1" / "t1.png"), make_picture(tmp_path / "p2" / "t1.png", seed=1)
    run(first, "--text", "lungs")
    before = (tmp_path / "out" / "t1_mask.png").read_bytes()
    code, _, err = run(second, "--text", "lungs")
    name, why = in_the_way(err)
    assert code == 2 and name == "t1_mask.png" and why.startswith("it is of another image, t1.png;")
    assert (tmp_path / "out" / "t1_mask.png").read_bytes() == before


def test_a_mask_that_somebody_corrected_stays(run, tmp_path):
    image = make_picture(tmp_path / "a.png")
    run(image, "--text", "lungs")
    mask = tmp_path / "out" / "a_mask.png"
    Image.fromarray(np.eye(40, 60, dtype=np.uint8)).save(mask)
    corrected = mask.read_bytes()
    for text in ("lungs", "heart"):
        code, _, err = run(image, "--text", text)
        assert code == 2 and in_the_way(err) == ("a_mask.png", CHANGED)
        assert mask.read_bytes() == corrected
    (tmp_path / "out" / "a_overlay.png").unlink()
    assert in_the_way(run(image, "--text", "lungs")[2]) == ("a_mask.png", CHANGED), "not even to make the overlay again"


def test_the_refusal_comes_before_the_networks_run(tiny_preset, tmp_path, monkeypatch):
    image = make_picture(tmp_path / "a.png")
    (tmp_path / "a_mask.png").write_bytes(b"mine")
    segmenter = TextSegmenter.from_preset(tiny_preset, "cpu")
    ran = []
    monkeypatch.setattr(segmenter.network, "segment_encoded", lambda *_: ran.append(True))
    summary = segment_files(segmenter, [image], "lungs", tmp_path)
    assert len(summary.failed) == 1 and not ran


def test_an_output_that_is_gone_is_made_again(run, tmp_path):
    image = make_picture(tmp_path / "a.png")
    run(image, "--text", "lungs")
    whole = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.suffix == ".png"}
    for name in whole:
        (tmp_path / "out" / name).unlink()
        assert "1 done" in run(image, "--text", "lungs")[1]
        assert (tmp_path / "out" / name).read_bytes() == whole[name]


def test_what_the_new_request_has_not_goes_with_the_old_record(run, tmp_path):
    image = make_picture(tmp_path / "a.png")
    run(image, "--text", "lungs", "--save-saliency", "--save-probability")
    (tmp_path / "out" / "a_probability.png").write_bytes(b"changed")
    assert run(image, "--text", "heart", "--no-overlay", "--overwrite")[0] == 0
    assert outputs(tmp_path / "out") == {"a.json", "a_mask.png", "a_probability.png"}, "what somebody changed stays"


@pytest.mark.parametrize("more", [[], ["--overwrite"]])
def test_an_input_is_never_replaced(run, tmp_path, more):
    image, mask = make_picture(tmp_path / "x.png"), make_picture(tmp_path / "x_mask.png", seed=2)
    before = mask.read_bytes()
    code, out, err = run(image, mask, "--text", "lungs", "--output", tmp_path, *more)
    assert code == 2 and "1 done, 0 skipped, 1 failed" in out
    assert in_the_way(err) == ("x_mask.png", "it is an input of this run; choose another output folder")
    assert mask.read_bytes() == before


def test_a_prompts_file_is_never_replaced(run, tmp_path):
    prompts = tmp_path / "x.json"
    prompts.write_text(json.dumps({"lungs": "lungs"}))
    image = make_picture(tmp_path / "x.png")
    code, _, err = run(image, "--prompts", prompts, "--output", tmp_path, "--overwrite")
    assert code == 2 and in_the_way(err)[0] == "x.json"
    assert json.loads(prompts.read_text()) == {"lungs": "lungs"}


def test_a_link_to_the_input_folder_hides_nothing(run, tmp_path):
    image, mask = make_picture(tmp_path / "in" / "x.png"), make_picture(tmp_path / "in" / "x_mask.png", seed=2)
    (tmp_path / "link").symlink_to(tmp_path / "in")
    before = mask.read_bytes()
    code, _, err = run(image, mask, "--text", "lungs", "--output", tmp_path / "link", "--overwrite")
    assert code == 2 and in_the_way(err)[0] == "x_mask.png" and mask.read_bytes() == before


def test_own_results_are_replaced_where_a_program_asks_for_it_and_the_users_are_not(tiny_preset, tmp_path):
    segmenter = TextSegmenter.from_preset(tiny_preset, "cpu")
    images = [make_picture(tmp_path / name) for name in ("a.png", "b.png")]
    segment_files(segmenter, images, "lungs", tmp_path / "out")
    (tmp_path / "out" / "b_mask.png").write_bytes(b"mine")
    summary = segment_files(segmenter, images, "heart", tmp_path / "out", replace_own=True)
    assert (summary.done, [label for label, _ in summary.failed]) == ([str(images[0])], [str(images[1])])
    assert json.loads((tmp_path / "out" / "a.json").read_text())["texts"] == {"heart": ["heart"]}
    assert (tmp_path / "out" / "b_mask.png").read_bytes() == b"mine"


def test_saving_from_python_keeps_to_the_same_rules(tiny_preset, tmp_path):
    segmenter = TextSegmenter.from_preset(tiny_preset, "cpu")
    pixels = np.random.default_rng(0).integers(0, 256, (30, 50), dtype=np.uint8)
    files = segmenter(pixels, "lungs").save(tmp_path)
    assert [path.name for path in files] == ["image_mask.png", "image_overlay.png", "image.json"]
    assert segmenter(pixels, "lungs").save(tmp_path) == files, "the same again"
    with pytest.raises(InputError, match="is in the way: it is of another request"):
        segmenter(pixels, "heart").save(tmp_path)
    with pytest.raises(InputError, match="is in the way: it is of another image, image in memory"):
        segmenter(pixels[::-1], "lungs").save(tmp_path)
    assert segmenter(pixels, "heart").save(tmp_path, overwrite=True) == files
    with pytest.raises(InputError, match="the output folder's name is empty"):
        segmenter(pixels, "heart").save("")
    for stem in ("../x", "a/b", ".."):
        with pytest.raises(InputError, match="outputs must begin with a plain name"):
            segmenter(pixels, "heart").save(tmp_path / "new", stem=stem)
    assert not (tmp_path / "new").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_names_travel_with_the_mask(run, tmp_path):
    volume = make_nifti(tmp_path / "ct.nii.gz", (20, 24, 9))
    assert run(volume, "--text", "liver", "--text", "heart", "--no-overlay")[0] == 0
    assert outputs(tmp_path / "out") == {"ct_mask.nii.gz", "ct_labels.txt", "ct.json"}
    assert '"liver"' in (tmp_path / "out" / "ct_labels.txt").read_text()
    record = json.loads((tmp_path / "out" / "ct.json").read_text())
    assert list(record["outputs"]) == ["ct_mask.nii.gz", "ct_labels.txt"] and record["plane"] == "axial"
    words = [volume, "--text", "liver", "--no-overlay", "--format", "nrrd", "--output", tmp_path / "slicer"]
    assert run(*words)[0] == 0
    assert outputs(tmp_path / "slicer") == {"ct_mask.seg.nrrd", "ct.json"}
    assert "1 skipped" in run(*words)[1]


def test_an_image_that_another_process_works_on_is_waited_for_at_the_end(tiny_preset, tmp_path):
    images = [make_picture(tmp_path / name) for name in ("a.png", "b.png")]
    segmenter = TextSegmenter.from_preset(tiny_preset, "cpu")
    told = []
    other = open_outputs(tmp_path / "out", "a")
    other.__enter__()

    def notify(kind, line):
        told.append((kind, line))
        if kind == "waiting":
            other.__exit__(None, None, None)

    segment_files(segmenter, images, "lungs", tmp_path / "out", notify=notify)
    assert [kind for kind, _ in told if kind in ("done", "waiting")] == ["done", "waiting", "done"]
    assert (
        told[0][1].startswith(f"[1/2] {images[1]}")
        and f"{images[0]}: another process works on it" in dict(told)["waiting"]
    )


def test_leftovers_of_killed_runs_are_cleared_and_those_of_living_ones_are_not(run, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    alive = out / temporary_name(".png")
    dead = out / alive.name.replace(f"-{os.getpid()}-", "-4194305-")  # beyond the largest number of a process
    elsewhere = out / alive.name.replace(alive.name.split("-")[1], "0123abcd")
    old = out / alive.name.replace(alive.name.split("-")[1], "4567abcd")
    for path in (alive, dead, elsewhere, old):
        path.write_bytes(b"part")
    os.utime(old, (0, 0))
    folder = out / f"{dead.name.removesuffix('.png')}"
    folder.mkdir()
    (folder / "a_mask.png").write_bytes(b"staged")
    (out / ".medclipsam-0123456789abcdef.lock").touch()
    (out / ".medclipsam-0123456789abcdef.journal").write_text('{"stem": "../a", "outputs": {}}')
    (out / ".medclipsam-1123456789abcdef.journal").write_text("{damaged")
    (out / ".hidden").touch()
    assert run(make_picture(tmp_path / "a.png"), "--text", "lungs")[0] == 0
    hidden = {path.name for path in out.iterdir() if path.name.startswith(".")}
    assert hidden == {alive.name, elsewhere.name, ".hidden"}


def test_a_name_that_no_file_system_takes_is_refused_at_once(tmp_path):
    with open_outputs(tmp_path, "a") as place:
        place.check(["é" * 127], Question("request", "input"))
        with pytest.raises(InputError, match="a name of over 255 bytes"):
            place.check(["é" * 128], Question("request", "input"))


def test_a_temporary_name_is_short_whatever_the_file_is_called(tmp_path):
    path = tmp_path / ("x" * 251 + ".png")
    parts = []
    write_atomically(path, lambda part: (parts.append(part.name), part.write_bytes(b"whole")))
    assert path.read_bytes() == b"whole" and len(parts[0]) < 60
    assert parts[0].endswith(".part.png") and f"-{os.getpid()}-" in parts[0]


def test_bytes_that_are_no_utf_8_in_a_name_are_borne(run, tmp_path):
    picture = make_picture(tmp_path / "a.png")
    name = os.fsdecode(b"M\xfcller")
    (tmp_path / "in").mkdir()
    shutil.copy(picture, tmp_path / "in" / f"{name}.png")
    shutil.copy(picture, tmp_path / "in" / "z.png")
    code, out, err = run(tmp_path / "in", "--text", "lungs")
    assert (code, err) == (0, "") and "2 done" in out
    records = [json.loads(path.read_text()) for path in (tmp_path / "out").glob("*.json")]
    assert {record["input"] for record in records} == {f"{name}.png", "z.png"}
    assert {output for record in records for output in record["outputs"]} < outputs(tmp_path / "out")
    assert "2 skipped" in run(tmp_path / "in", "--text", "lungs")[1]
