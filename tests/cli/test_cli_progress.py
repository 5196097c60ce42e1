"""The bar over many images."""

from __future__ import annotations

import io
import sys

import pytest

from medclipsam_monai.cli.segment import progress_of


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
