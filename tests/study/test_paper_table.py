"""`medclipsam study --paper`: published figures, scores of tiny weights in the real ones' places, what is not run."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_models import TIMM_VISION, write_clip_folder
from test_study_cases import make_table

from medclipsam_monai.presets import load_preset
from medclipsam_monai.prompts import parse_targets
from medclipsam_monai.study.conditions import PROTOTYPES, RIVALS
from medclipsam_monai.study.paper.lines import UNTRAINED, paper_lines
from medclipsam_monai.study.paper.published import ALL, PUBLISHED, TASKS
from medclipsam_monai.study.rivals.table import METHODS
from medclipsam_monai.weights.registry import HOME_VARIABLE
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter

PUBLISHED_HERE = """
SaLIP                 44.33 48.62  47.96 50.24  63.14 66.44  76.32 78.46  57.94 60.94
SAMAug                56.39 59.23  45.71 48.81  57.18 60.08  44.61 46.48  50.97 53.65
MedCLIP-SAM           67.82 69.12  66.72 68.01  64.49 65.89  59.14 60.47  64.54 66.10
MedCLIP-SAMv2         77.76 81.11  76.52 82.23  75.79 80.88  80.38 82.03  77.61 81.56
MedCLIP-SAM, weak     58.62 60.94  58.80 61.77  86.07 88.65  80.12 83.73  70.90 73.77
nnU-Net, weak         73.77 79.71  77.16 85.21  70.15 74.10  82.24 85.65  75.83 81.17
MedCLIP-SAMv2, weak   78.87 84.58  80.03 88.25  80.77 84.53  88.78 91.95  82.11 87.33
nnU-Net, full         82.47 88.32  87.74 95.10  98.72 99.51  97.10 99.18
"""
"""The published table once more, copied independently, with the columns below."""
COLUMNS = ("breast ultrasound", "brain MRI", "lung X-ray", "lung CT", "all")


def published_here() -> dict[str, list[float]]:
    lines = [line.rsplit("  ", 5 if "full" not in line else 4) for line in PUBLISHED_HERE.strip().splitlines()]
    return {name.strip(): [float(n) for pair in pairs for n in pair.split()] for name, *pairs in lines}


def table_of(report: str) -> list[dict[str, str]]:
    """The lines of the report's table by the words of its header."""
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in report.splitlines() if line.startswith("|")]
    return [dict(zip(cells[0], line, strict=True)) for line in cells[2:]]


def not_run(report: str) -> dict[str, str]:
    lines = report.split("## Not run\n\n")[1].strip().splitlines()
    assert all(line.startswith("- ") for line in lines)
    return dict(line[2:].split("): ", 1) for line in lines)


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """The folder of downloaded weights, empty."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv(HOME_VARIABLE, str(folder))
    return folder


@pytest.fixture
def two_images(tmp_path) -> Path:
    """Two images of one of the papers' tasks, and one of another task, which the table leaves out."""
    table = make_table(tmp_path, [("lung_ct", "a0"), ("lung_ct", "a1"), ("liver_ct", "b0")])
    pixels = np.random.default_rng(1).integers(0, 100, (32, 40), np.uint8)
    pixels[truth_of_a_mask()] += 150
    Image.fromarray(pixels).save(tmp_path / "a1.png")
    return table


@pytest.fixture
def paper(command, tiny_preset, tmp_path, home, offline):
    def run(table: object, *options: object) -> tuple[int, str, str]:
        words = ["--paper", "--preset", tiny_preset, "--device", "cpu", "--output", tmp_path / "out"]
        return command("study", table, *words, *options)

    return run


def dice(found: np.ndarray, truth: np.ndarray) -> float:
    return 2 * int((found & truth).sum()) / (int(found.sum()) + int(truth.sum()))


def truth_of_a_mask() -> np.ndarray:
    """What `make_table` draws."""
    truth = np.zeros((32, 40), bool)
    truth[8:16, 8:20] = True
    return truth


def test_the_published_figures_are_those_of_the_paper():
    ours = {name: [number for score in scores.values() for number in score] for name, scores in PUBLISHED.items()}
    assert ours == published_here()
    assert [task.heading for task in TASKS.values()] == list(COLUMNS[:-1])
    off = {
        (name, which)
        for name, scores in PUBLISHED.items()
        for k, which in enumerate(("DSC", "NSD"))
        if ALL in scores and abs(scores[ALL][k] - np.mean([scores[task][k] for task in TASKS])) > 0.011
    }
    assert off == {("MedCLIP-SAM", "NSD")}, "the paper says 66.10 where its four figures have the mean 65.87"


def test_without_the_papers_weights_every_line_says_what_it_lacks(paper, two_images, tiny_preset, tmp_path):
    code, out, err = paper(two_images)
    assert (code, err) == (0, "") and out == (tmp_path / "out" / "report.md").read_text("utf-8") + "\n"
    lines = table_of(out)
    zero = [(line["method"], line["networks"]) for line in lines if line[""] == "zero-shot"]
    ways = [f"SAMAug, {name.removeprefix('samaug_')}" for name in RIVALS[1:]]
    assert zero == [
        *((name, "biomedclip_sam_h") for name in ("SaLIP", *ways)),
        ("MedCLIP-SAM", "biomedclip_v1"),
        ("MedCLIP-SAMv2", "medclip_samv2"),
    ]
    assert len(lines) == len(paper_lines(load_preset(tiny_preset))) + len(UNTRAINED)
    measured = [line for line in lines if line["lung CT, here"]]
    assert {line["networks"] for line in measured} == {"tiny"} and len(measured) == 1 + len(RIVALS)
    keys = {"SAMAug": ways, **{name: [name] for name in ("SaLIP", "MedCLIP-SAM", "MedCLIP-SAMv2")}}
    expected = {method: published_here()[key] for key, methods in keys.items() for method in methods}
    for line in lines:
        if line[""] == "zero-shot":
            numbers = [line[f"{column}, published"] for column in COLUMNS]
            assert [float(n) for pair in numbers for n in pair.split(" / ")] == expected[line["method"]]
        assert not any(line[f"{column}, here"] for column in COLUMNS if column != "lung CT")
    said = not_run(out)
    assert len(said) == len(lines) - len(measured)
    assert "medclipsam weights download biomedclip; sam_vit_b: " in said["MedCLIP-SAM (zero-shot, biomedclip_v1"]
    assert "it is got by hand: from https://" in said["MedCLIP-SAMv2 (zero-shot, medclip_samv2"]
    assert "medclipsam weights download sam_vit_h" in said["SaLIP (zero-shot, biomedclip_sam_h"]
    for line in UNTRAINED:
        assert said[f"{line.method} ({line.group}"] == line.instead
        assert line.instead.startswith("not part of this command: ") and "`" in line.instead


def test_a_preset_s_lines_score_what_the_facade_and_the_rivals_find(paper, two_images, tiny_preset, tmp_path):
    code, out, err = paper(two_images)
    assert code == 0, err
    segmenter, truth = TextSegmenter.from_preset(tiny_preset, "cpu"), truth_of_a_mask()
    lines = {line["method"]: line["lung CT, here"] for line in table_of(out) if line["networks"] == "tiny"}
    found = [np.asarray(segmenter(tmp_path / f"a{n}.png", "lungs").found.mask[0]) > 0 for n in range(2)]
    expected = np.mean([dice(mask, truth) for mask in found]) * 100
    assert 0 < expected < 100
    dsc, _, count = lines["this package's chain"].replace("(", "").replace(")", "").replace("/", "").split()
    assert float(dsc) == pytest.approx(expected, abs=0.006) and count == "2"
    with (tmp_path / "out" / "rows.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["image"] == "a1.png"]
    assert [row["method"] for row in rows][:2] == ["this package's chain", "SaLIP"] and len(rows) == 6
    pixels = np.asarray(Image.open(tmp_path / "a1.png"), np.float32) / 255
    opened = segmenter.network.encode_images(torch.from_numpy(pixels).expand(1, 3, -1, -1))
    texts = segmenter.network.encode_texts(parse_targets("lungs"))
    for way, row in zip(RIVALS, rows[1:], strict=True):
        mask = METHODS[way](segmenter.network, opened, texts).numpy()
        assert float(row["dsc"]) == pytest.approx(dice(mask, truth), abs=1e-5)


@pytest.mark.slow
def test_weights_in_their_places_are_run_and_what_is_done_is_kept(paper, two_images, home, sam_folder, tmp_path):
    """A small CLIP of twelve blocks and a small SAM lie where the real ones are downloaded to."""
    truth = np.ones((32, 40), bool)
    truth[0] = False  # large, so that small random networks hit it
    for n in range(2):
        Image.fromarray(truth.astype(np.uint8) * 255).save(tmp_path / f"a{n}_mask.png")
    paper(two_images)
    kept = tmp_path / "out" / "scores" / "tiny" / "chain" / "parts" / "lung_ct" / "a0.png.csv"
    before = kept.stat().st_mtime_ns
    vision = {**TIMM_VISION, "timm_model_name": "vit_tiny_patch16_224", "image_size": 64}
    clip = write_clip_folder(home / "medclip_samv2.bin", vision)
    shutil.copytree(sam_folder, home / "sam_vit_h_4b8939.pth")
    code, out, err = paper(two_images)
    assert code == 0, err
    assert kept.stat().st_mtime_ns == before
    (line,) = [line for line in table_of(out) if line["networks"] == "medclip_samv2"]
    preset = load_preset("medclip_samv2").with_settings({"clip": str(clip), "sam": str(sam_folder)})
    segmenter = TextSegmenter.from_preset(preset, "cpu", task="lung_ct")
    masks = [np.asarray(segmenter(tmp_path / f"a{n}.png", "lungs").found.mask[0]) > 0 for n in range(2)]
    expected = np.mean([dice(mask, truth) for mask in masks]) * 100
    assert 0 < expected == pytest.approx(float(line["lung CT, here"].split()[0]), abs=0.006)
    assert line["lung CT, published"] == "80.38 / 82.03" and line["all, here"] == ""
    assert "MedCLIP-SAMv2 (zero-shot, medclip_samv2" not in not_run(out)


def test_weights_that_do_not_fit_are_a_reason(paper, two_images, home, clip_folder, sam_folder):
    shutil.copytree(clip_folder, home / "open_clip_pytorch_model.bin")
    shutil.copytree(sam_folder, home / "sam_vit_b_01ec64.pth")
    code, out, _ = paper(two_images)
    assert code == 0 and "layer" in not_run(out)["this package's chain (not in the papers, biomedclip_sam_b"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--saliency", "m2ib"], "--paper runs the papers' own methods; leave --saliency out"),
        (["--rival", "salip"], "leave --rival out"),
        (["--choose-by", "."], "leave --choose-by out"),
        (["--text", "P0", "--text", "P1"], "--paper takes one --text, got P0, P1"),
        (["--text", "wordings"], "text must be one of P0, P1, P2, P3, P4, P5, published"),
        (["--task", "liver_ct"], "the papers' table has no task 'liver_ct'; expected some of breast_ultrasound"),
        (["--task", "brain_mri"], "has no row of the task 'brain_mri'"),
        (["--clip", "medclip_samv2"], "weights not found"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(paper, two_images, tmp_path, options, message):
    code, _, err = paper(two_images, *options)
    assert code == 2 and message in err and len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out" / "report.md").exists()


def test_a_table_without_the_papers_tasks_and_a_preset_under_a_taken_name_are_refused(
    paper, two_images, tiny_preset, tmp_path
):
    (tmp_path / "other").mkdir()
    code, _, err = paper(make_table(tmp_path / "other", [("skin", "a0")]))
    assert code == 2 and "has no row of the papers' tasks; expected breast_ultrasound" in err
    taken = tmp_path / "biomedclip_v1.json"
    taken.write_text(json.dumps(json.loads(tiny_preset.read_text("utf-8"))), "utf-8")
    code, _, err = paper(two_images, "--preset", taken)
    assert code == 2 and "table has biomedclip_v1 with its own settings and weights; give yours as a preset file" in err


def test_a_preset_of_the_table_gets_the_rivals_and_no_second_line():
    table, more = (paper_lines(load_preset(name)) for name in ("biomedclip_sam_h", "biomedclip_sam_b"))
    assert [line.way for line in more[len(table) :]] == [*RIVALS, PROTOTYPES]
    assert len({line.folder for line in more}) == len(more) == len(table) + len(RIVALS) + 1


def test_a_level_that_an_image_has_no_finding_for_leaves_its_place_empty(paper, two_images):
    code, out, err = paper(two_images, "--text", "P3", "--task", "lung_ct")
    assert code == 0, err
    assert not any(line["lung CT, here"] for line in table_of(out)) and "Prompts: P3 in every task." in out
