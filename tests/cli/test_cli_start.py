"""What stands around a command: how fast it starts, and how far it is."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from medclipsam_monai.cli.around.progress import progress_of

QUICK = """
import pkgutil, sys
walk = pkgutil.walk_packages
from medclipsam_monai.cli.around.quick_monai import import_monai_quickly
import_monai_quickly()
import monai
assert not {"pandas", "sklearn", "matplotlib", "tensorboard", "transformers", "itk"} & set(sys.modules)
assert monai.transforms.Compose and monai.data.MetaTensor and pkgutil.walk_packages is walk
import pandas, itk, matplotlib.pyplot, monai.networks.nets
before = len(sys.modules)
import_monai_quickly()
assert len(sys.modules) == before
"""


@pytest.mark.slow
def test_monai_is_imported_without_what_it_can_do_without_and_that_is_still_there():
    subprocess.run([sys.executable, "-c", QUICK], check=True)


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_over_several_images_a_bar_counts_and_says_how_fast(monkeypatch):
    screen, lines = Screen(), []
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with progress_of(3, lambda kind, line: lines.append((kind, line))) as notify:
        for kind in ("done", "note", "skipped", "failed"):
            notify(kind, "a.png")
    assert [kind for kind, _ in lines] == ["done", "note", "skipped", "failed"]
    assert "3/3" in screen.getvalue() and "4/3" not in screen.getvalue() and "images/s" in screen.getvalue()


@pytest.mark.parametrize(("images", "watched"), [(1, True), (3, False)])
def test_for_one_image_or_in_a_log_there_is_no_bar(images, watched, monkeypatch):
    screen = Screen() if watched else io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    with progress_of(images, print) as notify:
        assert notify is print
    assert screen.getvalue() == ""
