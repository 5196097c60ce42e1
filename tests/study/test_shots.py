"""Methods that are shown examples, in a study and in the papers' table: what they see, how they score, refusals."""

from __future__ import annotations

import csv
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from small_models import TIMM_VISION, write_clip_folder
from test_paper_table import table_of

from medclipsam_monai import TextSegmenter
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.networks.universeg import UniverSeg, load_universeg
from medclipsam_monai.presets import load_preset
from medclipsam_monai.study.cases import read_cases
from medclipsam_monai.study.rivals.shots import Shots
from medclipsam_monai.weights.entries import known_weights
from medclipsam_monai.weights.registry import HOME_VARIABLE

QUICK = ["--saliency", "gradcam", "--coarse", "otsu", "--visual-prompt", "none"]
FEW = ["--rival", "prototypes", "--rival", "universeg"]
SIDE = 48


def picture(seed):
    """A dim noisy picture with a bright square in it, so large that random networks hit it, and its mask."""
    random = np.random.default_rng(seed)
    pixels, mask = random.integers(0, 60, (SIDE, SIDE)).astype(np.uint8), np.zeros((SIDE, SIDE), np.uint8)
    row, column = random.integers(1, 7, 2)
    mask[row : row + 40, column : column + 40] = 255
    pixels[mask > 0] += 180
    return pixels, mask


def make_table(folder, names, task="lung_ct", patients=None, empty=()):
    folder.mkdir(exist_ok=True)
    lines = ["task,image,mask,target" + (",patient" if patients else "")]
    for number, name in enumerate(names):
        pixels, mask = picture(int(name.strip("abcdefghijklmnopqrstuvwxyz")))
        Image.fromarray(pixels).save(folder / f"{name}.png")
        Image.fromarray(mask * (name not in empty)).save(folder / f"{name}_mask.png")
        lines.append(f"{task},{name}.png,{name}_mask.png,lungs" + (f",{patients[number]}" if patients else ""))
    (folder / "table.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "table.csv"


@pytest.fixture
def home(tmp_path, monkeypatch):
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv(HOME_VARIABLE, str(folder))
    return folder


@pytest.fixture
def universeg(home):
    """Random weights of the network of the paper, in the place where the published file is expected."""
    torch.manual_seed(1)  # a seed whose network finds something
    file = home / known_weights()["universeg"].file
    torch.save(UniverSeg().state_dict(), file)
    return file


@pytest.fixture
def study(command, tiny_preset, tmp_path):
    def run(table, *options):
        return command("study", table, "--preset", tiny_preset, "--device", "cpu", "-o", tmp_path / "out", *options)

    return run


def rows_of(folder, name):
    with (folder / "rows.csv").open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if name in (row.get("saliency"), row.get("method"))]


def dice(found, truth):
    return 2 * int((found & truth).sum()) / (int(found.sum()) + int(truth.sum()))


def test_both_methods_score_what_they_find_by_the_examples_of_a_folder(study, tiny_preset, universeg, tmp_path):
    table, folder = make_table(tmp_path / "t", ["a1", "a2"]), make_table(tmp_path / "e", ["b11", "b12"]).parent
    code, out, err = study(table, *QUICK, *FEW, "--examples", folder, "--shots", 2)
    assert (code, err) == (0, "") and "| lung_ct | universeg |  |  | 2 examples | 2 |" in out
    shown = TextSegmenter.from_preset(tiny_preset, "cpu").with_examples(folder)
    pairs, network = shown.network.examples.pairs, load_universeg(universeg)
    for number in (1, 2):
        truth = picture(number)[1] > 0
        opened = shown.open(tmp_path / "t" / f"a{number}.png")
        expected = {
            "prototypes": opened().found.mask[0].numpy(),
            "universeg": network.segment(opened.display, pairs[::-1]).numpy() > 0.5,
        }
        for name, mask in expected.items():
            (row,) = [row for row in rows_of(tmp_path / "out", name) if row["image"] == f"a{number}.png"]
            assert float(row["dsc"]) == pytest.approx(dice(mask, truth), abs=1e-5)
            assert (row["text"], row["pointing"], row["present"]) == ("2 examples", "nan", "True")
    for name in ("prototypes", "universeg"):  # random networks, but not in vain
        assert max(float(row["dsc"]) for row in rows_of(tmp_path / "out", name)) > 0
    assert study(table, *QUICK, *FEW, "--examples", folder, "--shots", 2)[0] == 0
    code, _, err = study(table, *QUICK, *FEW, "--examples", folder, "--shots", 1)
    assert code == 2 and "holds a study with another examples" in err


def test_examples_are_drawn_of_what_shows_the_target_and_always_the_same(tmp_path):
    table = make_table(tmp_path / "e", [f"b{n}" for n in range(6)], empty=("b0", "b3"))
    drawn = [Shots(str(table), 3).draw(["lung_ct"], tmp_path)["lung_ct"] for _ in range(2)]
    assert drawn[0].sha256 == drawn[1].sha256 and len(drawn[0]) == 3
    assert all(mask.any() for mask in drawn[0].masks)
    with pytest.raises(
        InputError, match=r"has 4 examples that show the target of the task 'lung_ct', --shots asks for 5"
    ):
        Shots(str(table), 5).draw(["lung_ct"], tmp_path)
    with pytest.raises(InputError, match="--shots: there must be 1 to 16 labelled images, got 17"):
        Shots(str(table), 17).draw(["lung_ct"], tmp_path)


def test_phantoms_that_are_shown_are_none_that_are_measured(study, tmp_path):
    code, _, err = study("phantoms", "--limit", 2, "--task", "lung_ct", *QUICK, *FEW[:2], "--examples", "phantoms")
    assert code == 0, err
    names = [
        {path.name for path in (tmp_path / "out").glob(f"{kind}/images/*")} for kind in ("phantoms", "example_phantoms")
    ]
    assert len(names[0]) == 2 and len(names[1]) == 16 and not names[0] & names[1]
    assert [row["text"] for row in rows_of(tmp_path / "out", "prototypes")] == ["4 examples"] * 2


def test_what_is_measured_is_no_example(tmp_path):
    table = make_table(tmp_path / "t", ["a1", "a2"], patients=["p1", "p2"])
    cases = read_cases(table)
    with pytest.raises(
        InputError, match=r"a1\.png is an example and is measured, too; examples must be of other patients"
    ):
        Shots(str(table), 1).check(["lung_ct"], cases)
    with pytest.raises(InputError, match=r"a1\.png is an example and is measured"):
        Shots(str(table.parent), 1).check(["lung_ct"], cases)
    other = make_table(tmp_path / "e", ["b1", "b2"], patients=["p3", "p2"])
    with pytest.raises(InputError, match=r"patient p2 of .* is measured, too"):
        Shots(str(other), 1).check(["lung_ct"], cases)
    make_table(tmp_path / "e", ["b1", "b2"], patients=["p3", "p4"])
    Shots(str(other), 1).check(["lung_ct"], cases)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rival", "prototypes"], "--rival prototypes is shown examples; give --examples FOLDER or TABLE"),
        (["--examples", "e"], "--examples is for a --rival that is shown some: prototypes, universeg"),
        (["--rival", "prototypes", "--examples", "nowhere"], "no such table: nowhere"),
        (["--rival", "universeg", "--examples", "e"], "it is got by hand: from https://github.com/JJGO/UniverSeg"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(study, home, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    make_table(tmp_path / "e", ["b11"])
    code, _, err = study(make_table(tmp_path / "t", ["a1"]), *QUICK, *options)
    assert code == 2 and message in err and len(err.strip().splitlines()) == 1


def test_the_papers_table_runs_them_where_weights_and_examples_are(study, universeg, tmp_path):
    table, folder = make_table(tmp_path / "t", ["a1"]), make_table(tmp_path / "e", ["b11", "b12"]).parent
    code, out, err = study(table, "--paper")
    assert code == 0, err
    few = [(line["method"], line["networks"]) for line in table_of(out) if line[""] == "few-shot"]
    assert few == [("prototypes (ProtoSAM's idea)", "biomedclip_sam_h"), ("UniverSeg", "universeg")]
    for name in ("UniverSeg (few-shot, universeg", "prototypes (ProtoSAM's idea) (not in the papers, tiny"):
        (line,) = [line for line in out.splitlines() if line.startswith(f"- {name}): ")]
        assert line.endswith("of other patients; run this again with `--examples FOLDER` or `--examples TABLE`")
    code, out, err = study(table, "--paper", "--examples", folder, "--shots", 1)
    assert code == 0, err
    there = {(line["method"], line["networks"]): line["lung CT, here"] for line in table_of(out)}
    assert there["UniverSeg", "universeg"].endswith("(1)") and "shown 1 of" in out
    (row,) = rows_of(tmp_path / "out", "UniverSeg")
    assert row["networks"] == "universeg" and row["text"] == "1 example"
    assert (
        there["prototypes (ProtoSAM's idea)", "tiny"] and not there["prototypes (ProtoSAM's idea)", "biomedclip_sam_h"]
    )
    universeg.unlink()
    code, out, _ = study(table, "--paper", "--examples", folder, "--shots", 1)
    assert code == 0 and "it is got by hand" in out


@pytest.mark.slow
def test_each_preset_makes_prototypes_with_its_own_networks(study, home, sam_folder, tiny_preset, tmp_path):
    """A CLIP of twelve blocks and a small SAM lie where BiomedCLIP and SAM ViT-H are downloaded to."""
    table, folder = make_table(tmp_path / "t", ["a1"]), make_table(tmp_path / "e", ["b11", "b12"]).parent
    vision = {**TIMM_VISION, "timm_model_name": "vit_tiny_patch16_224", "image_size": 64}
    clip = write_clip_folder(home / "open_clip_pytorch_model.bin", vision)
    shutil.copytree(sam_folder, home / "sam_vit_h_4b8939.pth")
    code, _, err = study(table, "--paper", "--examples", folder, "--shots", 2)
    assert code == 0, err
    scores = {row["networks"]: float(row["dsc"]) for row in rows_of(tmp_path / "out", "prototypes (ProtoSAM's idea)")}
    preset = load_preset("biomedclip_sam_h").with_settings({"clip": str(clip), "sam": str(sam_folder)})
    for name, chosen in (("tiny", tiny_preset), ("biomedclip_sam_h", preset)):
        segmenter = TextSegmenter.from_preset(chosen, "cpu", task="lung_ct" if name != "tiny" else None)
        mask = segmenter.with_examples(folder)(tmp_path / "t" / "a1.png").found.mask[0].numpy()
        assert 0 < scores[name] == pytest.approx(dice(mask, picture(1)[1] > 0), abs=1e-5)
    assert scores["tiny"] != scores["biomedclip_sam_h"]
