"""The folder that ``medclipsam label-app`` writes."""

from __future__ import annotations

import sys

import pytest

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.cli import main as cli
from medclipsam_monai.label.server.app_folder import write_app_folder


def test_the_command_says_how_to_start_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["medclipsam", "label-app", str(tmp_path / "app")])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code
    assert f"--app {tmp_path / 'app'}" in capsys.readouterr().out
    assert (tmp_path / "app" / "main.py").is_file() and (tmp_path / "app" / "lib" / "configs" / "text.py").is_file()


def test_an_app_is_brought_up_to_date_and_keeps_its_models(tmp_path):
    app = write_app_folder(tmp_path / "app")
    (app / "model" / "ensemble.pt").write_bytes(b"trained")
    (app / "main.py").write_text("old")
    write_app_folder(app)
    assert (app / "model" / "ensemble.pt").read_bytes() == b"trained"
    assert "class MyApp" in (app / "main.py").read_text()


def test_another_folder_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="holds something else"):
        write_app_folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write the app"):
        write_app_folder(tmp_path / "file" / "app")


def test_the_app_offers_its_tasks(server):
    info = server.info()
    assert set(info["strategies"]) == {"random", "most_uncertain", "diverse", "mixed"}
    assert set(info["scoring"]) == {"ensemble_entropy", "prompt_disagreement"}
    assert set(info["trainers"]) == {"weak"}
