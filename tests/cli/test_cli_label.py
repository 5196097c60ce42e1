"""`medclipsam label`, as far as it goes without MONAI Label."""

from __future__ import annotations

import importlib.util
import os
import sys

import pytest

from medclipsam_monai.cli import main as cli
from medclipsam_monai.label.server import serve


@pytest.fixture
def label(monkeypatch, capsys):
    """Runs ``medclipsam label`` with words; gives its exit code and what it says."""

    def run(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["medclipsam", "label", *words])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return int(stop.value.code or 0), capsys.readouterr().err

    return run


@pytest.fixture
def started(monkeypatch):
    """The words that would take the place of this process, with MONAI Label there."""
    words: list[str] = []

    def execv(program, arguments):
        words.extend(arguments)
        raise SystemExit(0)

    monkeypatch.setattr(os, "execv", execv)
    monkeypatch.setattr(serve, "find_spec", lambda name: importlib.util.find_spec("medclipsam_monai"))
    return words


def test_without_monai_label_one_line_names_the_extra(label, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(serve, "find_spec", lambda name: None)
    code, said = label("serve", "scans")
    assert code == 2 and said.count("\n") == 1
    assert "pip install 'medclipsam-monai[label]'" in said
    assert list(tmp_path.iterdir()) == []


def test_the_app_is_written_and_served_on_this_machine_alone(label, started, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scans").mkdir()
    assert label("serve", "scans") == (0, "")
    assert started == [
        *(sys.executable, "-m", "monailabel.main", "start_server"),
        *("--app", "label_app", "--studies", "scans", "--host", "127.0.0.1", "--port", "8000"),
    ]
    assert (tmp_path / "label_app" / "main.py").is_file()


def test_settings_and_what_monai_label_takes_are_handed_on(label, started, tmp_path):
    archive = "http://127.0.0.1:8042/dicom-web"
    conf = ("--conf", "text", "lungs; heart", "--conf", "preset", "demo")
    words = ("--app", str(tmp_path / "app"), *conf, "--port", "9000", "-v", "DEBUG", "--host", "0.0.0.0")
    assert label("serve", archive, *words) == (0, "")
    assert started[4:] == [
        *("--app", str(tmp_path / "app"), "--studies", archive, "--host", "0.0.0.0", "--port", "9000"),
        *(*conf, "-v", "DEBUG"),
    ]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["serve", "--conf", "text", "lungs", "scans"], "the images come first, then the options, got '--conf'"),
        (["serve", "a.txt"], "a.txt: is no folder; give the folder of the images, or a DICOMweb address"),
        (["client", "--text", "lungs", "--train-option", "max_epochs"], "--train-option 'max_epochs' has no value"),
        (["client", "--text", "lungs", "--masks", "nowhere"], "--masks nowhere: no such folder"),
        (["client", "--text", "lungs", "--server", "http://127.0.0.1:9"], "no answer from http://127.0.0.1:9"),
    ],
)
def test_a_mistake_is_one_line(label, started, monkeypatch, tmp_path, words, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("")
    code, said = label(*words)
    assert code == 2 and said.startswith(f"medclipsam: {line}") and said.count("\n") == 1
    assert started == [] and [path.name for path in tmp_path.iterdir()] == ["a.txt"]
