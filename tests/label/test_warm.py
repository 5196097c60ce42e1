"""The request that a server makes to itself before it listens."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

from medclipsam_monai.label.models import ServedModels
from medclipsam_monai.label.tasks.text_task import TextSegmentation
from medclipsam_monai.label.warm import warm_up


def test_it_loads_the_networks_and_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    models = ServedModels(tmp_path / "model", "cpu")
    loaded: list[str] = []
    load = ServedModels.text_segmenter
    monkeypatch.setattr(ServedModels, "text_segmenter", lambda *words: loaded.append("text") or load(*words))
    warm_up(TextSegmentation(models, preset="demo"))
    assert loaded and list(tmp_path.glob("**/*.*")) == []


def test_weights_that_are_missing_do_not_keep_it_from_starting(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("MEDCLIPSAM_HOME", str(tmp_path / "home"))
    task = TextSegmentation(ServedModels(Path(tmp_path / "model"), "cpu"), preset="biomedclip_sam_b")
    with caplog.at_level(logging.WARNING):
        warm_up(task)
    assert "the first answer will not come at once" in caplog.text and "weights download" in caplog.text
