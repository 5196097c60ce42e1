"""`medclipsam study` on phantoms and random networks: it runs, goes on after a stop, and regenerates its table."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from test_study_cases import make_table

PLAN = ["--saliency", "m2ib", "--saliency", "gradcam", "--coarse", "otsu", "--visual-prompt", "none"]
PLAN += ["--visual-prompt", "box+points"]


@pytest.fixture
def study(command, tiny_preset):
    def run(*arguments: object):
        return command("study", "--preset", tiny_preset, "--device", "cpu", *arguments)

    return run


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "rows.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def without_seconds(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_a_study_on_phantoms_regenerates_its_table(study, tmp_path):
    arguments = ["phantoms", "--limit", 2, "--task", "lung_ct", *PLAN, "--text", "P0", "--text", "P3"]
    code, out, err = study(*arguments, "--output", tmp_path / "first")
    assert (code, err) == (0, "") and out == (tmp_path / "first" / "report.md").read_text() + "\n"
    rows = rows_of(tmp_path / "first")
    assert len(rows) == 2 * 2 * 1 * 2, "two images, saliency methods and prompts; lung CT has no P3"
    assert {row["text"] for row in rows} == {"P0"}
    for name in ("report.md", "lung_ct.png"):
        assert (tmp_path / "first" / name).is_file()
    assert study(*arguments, "--output", tmp_path / "second")[0] == 0
    assert without_seconds(rows_of(tmp_path / "second")) == without_seconds(rows)


def test_a_study_goes_on_where_it_was(study, tmp_path):
    arguments = ["phantoms", "--limit", 2, "--task", "lung_ct", *PLAN, "--output", tmp_path]
    assert study(*arguments)[0] == 0
    rows = rows_of(tmp_path)
    first, second = sorted((tmp_path / "parts" / "lung_ct").iterdir())
    second.unlink()
    kept = first.stat().st_mtime_ns
    assert study(*arguments)[0] == 0
    assert first.stat().st_mtime_ns == kept
    assert without_seconds(rows_of(tmp_path)) == without_seconds(rows)


def test_wordings_and_their_ensembles_are_reported(study, tmp_path):
    table = make_table(tmp_path, [("chest", "a0")])
    wordings = [
        f"{a} {b}" for a in ("lungs", "the lungs", "chest lungs", "a lung", "right lung") for b in ("", "in chest")
    ]
    content = {"description": "d", "modality": "m", "target": "lungs", "levels": {"P0": ["lungs"]}, "opposites": []}
    own = tmp_path / "own.json"
    own.write_text(json.dumps({**content, "wordings": [wording.strip() for wording in wordings]}), encoding="utf-8")
    options = ["--text", "wordings", "--text", "ensembles", "--prompts", f"chest={own}", "--saliency", "m2ib"]
    code, _, err = study(table, *options, "--visual-prompt", "none", "--coarse", "otsu", "--output", tmp_path / "o")
    assert code == 0, err
    assert len(rows_of(tmp_path / "o")) == 30
    report = (tmp_path / "o" / "report.md").read_text()
    for kind in ("wording", "maps of 5", "embeddings of 5"):
        assert f"| chest | m2ib | otsu | none | {kind} | 10 |" in report


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--saliency", "lime"], "saliency must be some of m2ib, gscorecam, gradcam, got 'lime'"),
        (["--prompts", "chest"], "--prompts must be TASK=SET, got 'chest'"),
        ([], "unknown prompt set 'chest'"),
        (["--prompts", "chest=lung_xray", "--task", "skin"], "no row of the task 'skin'"),
        (["--absent", "chest"], "--absent must be TASK=TASK, got 'chest'"),
        (["--absent", "chest=brain_mri"], "there is no image of the task 'brain_mri'; expected some of chest"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(study, tmp_path, options, message):
    code, _, err = study(make_table(tmp_path, [("chest", "a0")]), *options, "--output", tmp_path / "o")
    assert code == 2
    assert err.startswith("medclipsam: ") and message in err and len(err.strip().splitlines()) == 1
    assert not (tmp_path / "o" / "rows.csv").exists()


def test_another_study_s_folder_is_refused(study, tmp_path):
    arguments = ["phantoms", "--limit", 1, "--task", "lung_ct", "--output", tmp_path, "--visual-prompt", "none"]
    assert study(*arguments, "--saliency", "m2ib")[0] == 0
    code, _, err = study(*arguments, "--saliency", "gradcam")
    assert code == 2 and "holds a study with another plan" in err


def test_one_study_chooses_for_another(study, tmp_path):
    options = ["--limit", 1, "--task", "lung_ct", "--visual-prompt", "none", "--saliency", "gradcam"]
    assert study("phantoms", *options, "--output", tmp_path / "first")[0] == 0
    code, _, err = study("phantoms", *options, "--output", tmp_path / "second", "--choose-by", tmp_path / "first")
    assert code == 0, err
    assert "## One way a task, chosen on other images" in (tmp_path / "second" / "report.md").read_text()
    code, _, err = study("phantoms", *options, "--output", tmp_path / "third", "--choose-by", tmp_path / "none")
    assert code == 2 and "holds no study to choose by" in err


def test_images_of_another_task_can_stand_for_absent_targets(study, tmp_path):
    options = ["--limit", 2, "--visual-prompt", "none", "--saliency", "gradcam", "--coarse", "otsu"]
    tasks = ["--task", "lung_ct", "--task", "brain_mri", "--absent", "lung_ct=brain_mri"]
    tasks += ["--prompts", "brain_mri=lung_ct"]  # the tiny tokenizer knows no brain
    code, _, err = study("phantoms", *options, *tasks, "--output", tmp_path)
    assert code == 0, err
    lungs = [row for row in rows_of(tmp_path) if row["task"] == "lung_ct"]
    assert [(row["image"].endswith(".png (of brain_mri)"), row["present"]) for row in lungs] == [
        (False, "True"),
        (False, "True"),
        (True, "False"),
        (True, "False"),
    ]
    report = (tmp_path / "report.md").read_text()
    (line,) = [line for line in report.splitlines() if line.startswith("| lung_ct | gradcam | otsu | none | P0 | 2 |")]
    shown, absent = ([float(row["presence"]) for row in lungs if row["present"] == word] for word in ("True", "False"))
    auc = sum((s > a) + 0.5 * (s == a) for s in shown for a in absent) / 4
    assert line.split("|")[-3].strip() == f"{auc:.3f}"


def test_a_task_is_segmented_with_the_preset_s_parameters_for_it(study, tiny_preset, tmp_path):
    content = json.loads(tiny_preset.read_text(encoding="utf-8"))
    other = tmp_path / "tuned.json"
    other.write_text(
        json.dumps({**content, "tasks": {"lung_ct": {"saliency.layer": 1, "saliency.steps": 9}}}), encoding="utf-8"
    )
    options = ["phantoms", "--limit", 1, "--task", "lung_ct", "--task", "heart_xray", "--saliency", "m2ib"]
    options += ["--coarse", "otsu", "--visual-prompt", "none", "--prompts", "heart_xray=lung_ct"]
    code, _, err = study(*options, "--output", tmp_path / "plain")
    assert code == 0, err
    assert study(*options, "--output", tmp_path / "tuned", "--preset", other)[0] == 0
    plain, tuned = (without_seconds(rows_of(tmp_path / name)) for name in ("plain", "tuned"))
    same = [first == second for first, second in zip(plain, tuned, strict=True)]
    assert dict(zip((row["task"] for row in plain), same, strict=True)) == {"lung_ct": False, "heart_xray": True}


def test_rivals_are_rows_of_their_own(study, tmp_path):
    arguments = ["phantoms", "--limit", 1, "--task", "lung_ct", "--saliency", "gradcam", "--coarse", "otsu"]
    arguments += ["--visual-prompt", "none", "--rival", "salip", "--rival", "samaug_saliency"]
    code, _, err = study(*arguments, "--output", tmp_path)
    assert code == 0, err
    rows = rows_of(tmp_path)
    assert [row["saliency"] for row in rows] == ["gradcam", "salip", "samaug_saliency"]
    assert all(0 <= float(row["dsc"]) <= 1 for row in rows)
    assert "| samaug_saliency |" in (tmp_path / "report.md").read_text()
    code, _, err = study(*arguments, "--rival", "sam", "--output", tmp_path / "o")
    assert code == 2 and "rival must be some of salip, samaug_random" in err
