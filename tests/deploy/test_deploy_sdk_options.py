"""``-m``, ``-w`` and ``-l`` do what they do in every application of the App SDK; what they refuse is one line."""

from __future__ import annotations

import json
import logging
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file
from threshold_engine import ThresholdEngine

from medclipsam_monai.deploy import __main__ as command
from medclipsam_monai.deploy import run as run_module
from medclipsam_monai.deploy import sdk_options
from medclipsam_monai.io.dicom import pixels
from medclipsam_monai.phantoms.dicom import write_phantom_volume, write_phantom_xray

ROOT = Path(__file__).parents[2]
ZERO_SHOT = ROOT / "bundles" / "medclipsam_zeroshot_segmentation"


@pytest.fixture(autouse=True)
def process(monkeypatch):
    """What the command sets for its process is put back."""
    for name in ("HOLOSCAN_MODEL_PATH", "HOLOSCAN_WORKDIR", "MEDCLIPSAM_LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TMPDIR", tempfile.gettempdir())
    monkeypatch.setattr(tempfile, "tempdir", None)
    loggers = [logging.getLogger(name) for name in ("", "medclipsam.deploy", "pydicom", "highdicom")]
    before = [(logger, logger.level, logger.handlers[:]) for logger in loggers]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


@pytest.fixture
def call(monkeypatch, capfd, tmp_path, tiny_preset):
    """The command on tmp_path/in with the small preset, in this process: (exit code, standard error)."""

    def run(*words: object) -> tuple[int, str]:
        fixed = ("-i", tmp_path / "in", "-o", tmp_path / "out", "--preset", tiny_preset, "--device", "cpu")
        monkeypatch.setattr(sys, "argv", ["deploy", *map(str, (*fixed, *words))])
        with pytest.raises(SystemExit) as stop:
            command.main()
        return int(stop.value.code or 0), capfd.readouterr().err

    return run


@pytest.fixture
def quick(monkeypatch, tmp_path, call):
    """The same without networks: what is brighter than a level is found."""
    monkeypatch.setattr(run_module, "load_engine", lambda *_: ThresholdEngine())
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps({"selections": [{"text": 0.4}]}))
    return lambda *words: call("--rules", rules, "--pictures", 1, *words)


def bundle(folder: Path) -> Path:
    """The shipped zero-shot bundle without its weights, which takes the small preset."""
    return shutil.copytree(ZERO_SHOT, folder, ignore=shutil.ignore_patterns("models", "eval"))


def texts_found(folder: Path) -> list[str]:
    (path,) = folder.glob("*/report.json")
    return list(json.loads(path.read_text())["texts"])


@pytest.mark.parametrize(
    ("way", "place"), [("-m", "models/one"), ("--model", "models"), ("HOLOSCAN_MODEL_PATH", "models/one")]
)
def test_the_bundle_of_a_model_folder_is_used(way, place, tmp_path, call, monkeypatch):
    write_phantom_xray(tmp_path / "in")
    config = bundle(tmp_path / place) / "configs" / "inference.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "text": "heart and lungs"}))
    words = (way, tmp_path / "models")
    if way.startswith("HOLOSCAN"):
        monkeypatch.setenv(way, str(tmp_path / "models"))
        words = ()
    assert call(*words) == (0, "")
    assert texts_found(tmp_path / "out") == ["heart and lungs"]


def test_an_option_counts_more_than_the_variable(tmp_path, call, monkeypatch):
    write_phantom_xray(tmp_path / "in")
    bundle(tmp_path / "one")
    monkeypatch.setenv("HOLOSCAN_MODEL_PATH", str(tmp_path / "nothing"))
    monkeypatch.setenv("HOLOSCAN_WORKDIR", str(tmp_path / "of the variable"))
    assert call("-m", tmp_path / "one", "-w", tmp_path / "work")[0] == 0
    assert texts_found(tmp_path / "out") == ["lungs"]
    assert (tmp_path / "work").is_dir() and not (tmp_path / "of the variable").exists()


def test_a_containers_model_folder_without_a_model_leaves_the_preset(tmp_path, call, monkeypatch):
    write_phantom_xray(tmp_path / "in")
    (tmp_path / "models").mkdir()
    for folder in ("models", "missing"):
        monkeypatch.setenv("HOLOSCAN_MODEL_PATH", str(tmp_path / folder))
        assert call("--text", "heart")[0] == 0
        assert texts_found(tmp_path / "out") == ["heart"]


@pytest.mark.parametrize("way", ["-w", "--workdir", "HOLOSCAN_WORKDIR"])
def test_temporary_files_are_in_the_working_folder_and_gone_at_the_end(way, tmp_path, quick, monkeypatch):
    (tmp_path / "in").mkdir()
    shutil.copy(get_testdata_file("MR_small_jp2klossless.dcm"), tmp_path / "in")  # GDCM decodes it from a file
    places = []
    write = pixels.save_dicom
    monkeypatch.setattr(pixels, "save_dicom", lambda *words: (places.append(Path(words[1])), write(*words)))
    monkeypatch.chdir(tmp_path)
    words = (way, "made/here")
    if way.startswith("HOLOSCAN"):
        monkeypatch.setenv(way, "made/here")
        words = ()
    assert quick(*words)[0] == 0
    work = tmp_path / "made" / "here"
    assert places and all(place.is_relative_to(work) for place in places)
    assert list(work.iterdir()) == []


def test_what_libraries_leave_in_the_working_folder_is_gone_too(tmp_path):
    """In a process of its own, where torch makes the folder of its compiler."""
    write_phantom_xray(tmp_path / "in")
    words = ["-i", tmp_path / "in", "-o", tmp_path / "out", "-w", tmp_path / "work", "--text", "lungs"]
    code = (
        "import tempfile, pathlib, sys; from medclipsam_monai.deploy import run as module\n"
        "def run(settings): pathlib.Path(tempfile.mkdtemp(), 'left').touch(); return 0\n"
        "module.run = run; from medclipsam_monai.deploy.__main__ import main; main()"
    )
    result = subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert list((tmp_path / "work").iterdir()) == []


def test_an_empty_variable_is_none(tmp_path, call, monkeypatch):
    write_phantom_xray(tmp_path / "in")
    bundle(tmp_path / "one"), bundle(tmp_path / "two")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOLOSCAN_MODEL_PATH", "")
    monkeypatch.setenv("HOLOSCAN_WORKDIR", "")
    assert call("--text", "heart")[0] == 0
    assert texts_found(tmp_path / "out") == ["heart"]


def test_a_containers_working_folder_that_cannot_be_written_is_left(tmp_path, quick, monkeypatch, caplog):
    write_phantom_xray(tmp_path / "in")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HOLOSCAN_WORKDIR", str(tmp_path / "file"))
    assert quick()[0] == 0
    assert "$HOLOSCAN_WORKDIR cannot be written, temporary files go to" in caplog.text


LINES = {
    "debug": ("DEBUG", "Segment took"),
    "info": ("INFO", "files, segmenting"),
    "warning": ("WARNING", "some may be missing"),
    "error": ("ERROR", "failed: "),
}


@pytest.mark.parametrize(
    ("way", "level", "seen"),
    [
        ("-l", None, ["info", "warning", "error"]),
        ("-l", "DEBUG", ["debug", "info", "warning", "error"]),
        ("--log-level", "info", ["info", "warning", "error"]),
        ("-l", "WARN", ["warning", "error"]),
        ("-l", "Error", ["error"]),
        ("MEDCLIPSAM_LOG_LEVEL", "CRITICAL", []),
    ],
)
def test_the_log_begins_at_its_level(way, level, seen, tmp_path, quick, monkeypatch, caplog):
    files = write_phantom_volume(tmp_path / "in", slices=6).files
    files[3].unlink()
    (cut,) = write_phantom_xray(tmp_path / "in").files
    cut.write_bytes(cut.read_bytes()[:-5000])
    words = (way, level) if way.startswith("-") and level else ()
    if not way.startswith("-"):
        monkeypatch.setenv(way, level)
    assert quick(*words)[0] == 3
    for name, (word, message) in LINES.items():
        said = [record for record in caplog.records if record.levelname == word and message in record.getMessage()]
        assert bool(said) == (name in seen), name
    assert [secret for secret in ("Phantom", "PHANTOM", "20240102") if secret in caplog.text] == []


def linked_out(models: Path, outside: Path) -> str:
    shutil.move(bundle(models / "one") / "configs", outside)
    (models / "one" / "configs").symlink_to(outside)
    return "is a link out of"


def linked_weights(models: Path, outside: Path) -> str:
    outside.write_bytes(b"weights")
    (bundle(models / "one") / "models").mkdir()
    (models / "one" / "models" / "model.pt").symlink_to(outside)
    return "model.pt is a link out of"


def linked_bundle(models: Path, outside: Path) -> str:
    bundle(outside)
    models.mkdir()
    (models / "one").symlink_to(outside)
    return "one is a link out of"


def path_out(models: Path, outside: Path) -> str:
    config = bundle(models / "one") / "configs" / "inference.json"
    content = json.loads(config.read_text())
    content["ckpt_path"] = "$@bundle_root + '/../outside'"
    config.write_text(json.dumps(content))
    return "names a path outside of its folder"


def zipped(models: Path, outside: Path) -> str:
    with zipfile.ZipFile(models, "w") as file:
        file.writestr("../outside/configs/inference.json", "{}")
    return "is a file; give a folder"


def two(models: Path, outside: Path) -> str:
    bundle(models / "one"), bundle(models / "two")
    return "holds 2 bundles (one, two); name one"


def none(models: Path, outside: Path) -> str:
    (models / "one" / "configs").mkdir(parents=True)
    return "holds no bundle: neither it nor a folder in it has configs/inference.json"


def configured(models: Path, content: str) -> None:
    (bundle(models / "one") / "configs" / "inference.json").write_text(content)


def no_json(models: Path, outside: Path) -> str:
    configured(models, "{bad")
    return "inference.json is not a readable JSON file"


def list_of_json(models: Path, outside: Path) -> str:
    configured(models, "[1, 2]")
    return "inference.json must hold a JSON object, got a list"


def nested_json(models: Path, outside: Path) -> str:
    configured(models, "[" * 100_000)
    return "inference.json is nested too deeply"


def missing(models: Path, outside: Path) -> str:
    return "does not exist; give a folder"


def text_file(models: Path, outside: Path) -> str:
    models.write_text("a file")
    return "is a file; give a folder"


BAD_MODELS = [linked_out, linked_weights, linked_bundle, path_out, zipped, two, none, missing, text_file]
BAD_MODELS += [no_json, list_of_json, nested_json]


@pytest.mark.parametrize("make", BAD_MODELS, ids=lambda make: make.__name__)
def test_a_model_that_cannot_be_used_is_one_line_and_nothing_is_written(make, tmp_path, call):
    write_phantom_xray(tmp_path / "in")
    message = make(tmp_path / "models", tmp_path / "outside")
    before = sorted(tmp_path.rglob("*"))
    code, error = call("-m", tmp_path / "models")
    assert code == 2 and len(error.splitlines()) == 1 and error.startswith("medclipsam: ") and message in error
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "cannot be loaded: ValueError: Unsupported option 'network_def'"),
        ({"network_def": {"_target_": "not.installed.Network"}}, "cannot be loaded: "),
        ({"imports": ["$import not_installed"], "network_def": "$not_installed.net()"}, "cannot be loaded: "),
        ({"network_def": {"_target_": "torch.nn.Identity"}}, "is none of this package's for inference"),
    ],
)
def test_a_bundle_of_something_else_is_one_line(content, message, tmp_path, monkeypatch, capfd):
    write_phantom_xray(tmp_path / "in")
    configured(tmp_path / "models", json.dumps({"device": "cpu", **content}))
    words = ["-i", tmp_path / "in", "-o", tmp_path / "out", "-m", tmp_path / "models", "-l", "ERROR"]
    monkeypatch.setattr(sys, "argv", ["deploy", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        command.main()
    error = capfd.readouterr().err
    assert stop.value.code == 2
    assert len(error.splitlines()) == 1 and error.startswith("medclipsam: the bundle one ") and message in error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-l", "LOUD"), "--log-level must be one of DEBUG, INFO, WARN, ERROR, CRITICAL, got 'LOUD'"),
        (("-l", "10"), "--log-level must be one of"),
        (("-w", "file"), "cannot write in --workdir file: it is a file"),
        (("-w", "file/below"), "cannot write in --workdir file/below"),
        (("-m", "models", "--bundle", "models"), "give the bundle as --model or as --bundle, not as both"),
    ],
)
def test_wrong_values_are_one_line_and_exit_code_2(words, message, tmp_path, call, monkeypatch):
    write_phantom_xray(tmp_path / "in")
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    code, error = call("--text", "lungs", *words)
    assert code == 2 and len(error.splitlines()) == 1 and error.startswith("medclipsam: ") and message in error


def test_the_levels_are_those_of_the_sdk():
    source = (Path(sys.modules["monai.deploy.core"].__file__).parent / "arg_parser.py").read_text()
    assert re.findall(r"choices=\[(.*?)\]", source) == [", ".join(f'"{level}"' for level in sdk_options.LEVELS)]
    for words in ('"--model", "-m"', '"--workdir",\n        "-w"', '"-l",\n        "--log-level"'):
        assert words in source


def test_the_folder_of_a_container_takes_them_too(tmp_path):
    write_phantom_xray(tmp_path / "in")
    words = ["-i", tmp_path / "in", "-o", tmp_path / "out", "-m", tmp_path / "none", "-l", "error", "-w", tmp_path]
    result = subprocess.run(
        [sys.executable, ROOT / "deploy_app", *words], capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode == 2 and result.stdout == ""
    assert (
        result.stderr
        == f"medclipsam: --model {tmp_path}/none does not exist; give a folder that is or holds one bundle\n"
    )
