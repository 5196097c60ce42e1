"""The preset that runs where nobody names one: `DEFAULT_PRESET`, everywhere, and the record or the log says so."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import zoo_checks
from command_line import make_picture

import medclipsam_monai
from medclipsam_monai import TextSegmenter
from medclipsam_monai.base.files import file_sha256
from medclipsam_monai.presets import DEFAULT_PRESET, load_preset
from medclipsam_monai.weights.registry import resolve, weight_hash
from medclipsam_monai.zero_shot.build import build_network

PACKAGE = Path(medclipsam_monai.__file__).parent
FINETUNE, WEAK, ZERO_SHOT = zoo_checks.NAMES


def shipped(role: str) -> Path:
    """The default preset's CLIP or SAM, a folder of the package."""
    return Path(resolve(getattr(load_preset(DEFAULT_PRESET), role)))


def test_it_is_the_one_that_has_seen_real_images():
    assert DEFAULT_PRESET == "small"
    assert shipped("clip").is_relative_to(PACKAGE) and shipped("sam").is_relative_to(PACKAGE)


def test_nobody_else_has_a_default_of_their_own():
    """The demo weights are named only where phantoms are segmented or learnt from."""
    configs = [path for name in (ZERO_SHOT, WEAK) for path in (zoo_checks.BUNDLES / name / "configs").glob("*.json")]
    named = [path for path in (*PACKAGE.rglob("*.py"), *configs) if re.search("""["'`]demo["'`]""", path.read_text())]
    assert {path.relative_to(PACKAGE).as_posix() for path in named} == {"study/demo.py", "finetune/saliency_scores.py"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["segment"], "[default: small]"),
        (["study"], "[default: small]"),
        (["tune"], "[default: small]"),
        (["deploy"], "(default: the bundle's, else small)"),
        (["label", "serve"], "The preset is small where --conf preset names no other."),
    ],
)
def test_the_help_names_it(command, monkeypatch, words, says):
    for name in ("COLUMNS", "TERMINAL_WIDTH"):
        monkeypatch.setenv(name, "250")
    monkeypatch.setenv("NO_COLOR", "1")
    code, out, _ = command(*words, "--help")
    assert code == 0 and says in out


def test_the_list_of_presets_marks_it(command):
    lines = command("presets")[1].splitlines()
    (marked,) = [line for line in lines if line.endswith(" The default.")]
    assert marked.split()[0] == DEFAULT_PRESET


def test_a_command_without_a_preset_runs_it_and_says_what_a_text_is_near(command, tmp_path):
    picture, out = make_picture(tmp_path / "a.png"), tmp_path / "out"
    texts = ["lungs", "knee meniscus"]
    words = ["segment", picture, *(word for text in texts for word in ("--text", text)), "--output", out]
    code, said, err = command(*words, "--device", "cpu")
    assert code == 0 and "phantoms" not in said
    record = json.loads((out / "a.json").read_text())
    assert record["preset"] == DEFAULT_PRESET
    assert record["weights"] == {role: weight_hash(shipped(role)) for role in ("clip", "sam")}
    warned = [line.split("'")[1] for line in err.splitlines() if line.startswith("warning") and "outside" in line]
    nearest = {entry["name"]: entry["nearest_known"] for entry in record["classes"]}
    assert list(nearest) == texts and all(nearest.values())
    assert warned == [name for name, near in nearest.items() if not near["familiar"]]


def test_the_facade_runs_it():
    segmenter = TextSegmenter.from_preset(device="cpu")
    assert segmenter.preset == load_preset(DEFAULT_PRESET)
    assert segmenter.weights == {role: weight_hash(shipped(role)) for role in ("clip", "sam")}
    assert build_network(device="cpu").settings == segmenter.network.settings == segmenter.preset.settings


def test_the_zero_shot_bundle_runs_it_and_its_log_says_so(tmp_path, capsys):
    flow = zoo_checks.workflow(zoo_checks.copy_bundle(ZERO_SHOT, tmp_path), "infer", "inference.json", device="cpu")
    flow.initialize()
    assert flow.network_def.settings == load_preset(DEFAULT_PRESET).settings
    logged = re.findall(r"weights of (clip|sam): .*SHA-256 (\w+)", capsys.readouterr().out)
    files = {role: next(shipped(role).glob("*.safetensors")) for role in ("clip", "sam")}
    assert dict(logged) == {role: file_sha256(file) for role, file in files.items()}


def test_the_weak_bundle_makes_its_masks_with_it(tmp_path):
    flow = zoo_checks.workflow(zoo_checks.copy_bundle(WEAK, tmp_path), "train", "train.json", device="cpu")
    assert flow.parser.get_parsed_content("segmenter").preset == load_preset(DEFAULT_PRESET)


def test_fine_tuning_starts_from_the_demo_weights_whose_phantoms_it_draws():
    configs = zoo_checks.BUNDLES / FINETUNE / "configs"
    for name in ("train.json", "inference.json"):
        assert json.loads((configs / name).read_text())["initial_weights"] == "demo/clip"
    assert json.loads((configs / "evaluate.json").read_text())["preset"] == "demo"
