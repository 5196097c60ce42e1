"""The folder that ``medclipsam label-app`` writes."""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec

import pytest

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.cli import main as cli
from medclipsam_monai.label.server.app_folder import TEMPLATE, write_app_folder


def test_the_command_says_how_to_start_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["medclipsam", "label-app", str(tmp_path / "app")])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code
    assert f"--app {tmp_path / 'app'}" in capsys.readouterr().out
    assert (tmp_path / "app" / "main.py").is_file() and (tmp_path / "app" / "lib" / "configs" / "text.py").is_file()


_BEFORE = {
    "main.py": "from medclipsam_monai.label.app import TextLabelApp\n",
    "lib/configs/text.py": "from medclipsam_monai.label.text_task import TextSegmentation\n",
    "lib/configs/clicks.py": "from medclipsam_monai.label.click_task import ClickSegmentation\n",
    "lib/configs/weak.py": "from medclipsam_monai.label.train_task import WeakTraining\n",
    "lib/configs/active_learning.py": "from medclipsam_monai.label.strategies import Mixed\n",
}


def test_an_app_of_an_earlier_version_is_renewed_and_keeps_its_models(tmp_path):
    app = write_app_folder(tmp_path / "app")
    for name, content in _BEFORE.items():
        assert (app / name).is_file()
        (app / name).write_text(content)
    (app / "model" / "ensemble.pt").write_bytes(b"trained")
    (app / "model" / "training").mkdir()
    (app / "model" / "training" / "stats.json").write_text("{}")
    write_app_folder(app)
    assert (app / "model" / "ensemble.pt").read_bytes() == b"trained"
    assert (app / "model" / "training" / "stats.json").read_text() == "{}"
    for path in app.rglob("*.py"):
        assert path.read_text() == (TEMPLATE / path.relative_to(app)).read_text()
        for module in re.findall(r"from (medclipsam_monai[\w.]+) import", path.read_text()):
            assert find_spec(module) is not None, (path, module)


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
