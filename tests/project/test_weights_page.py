"""docs/how-to/weights.md: its table is the list's, and the presets and weights that it recommends are there."""

from __future__ import annotations

import re
from pathlib import Path

from medclipsam_monai.presets import load_preset, preset_names
from medclipsam_monai.weights.entries import known_weights
from tools.pages import weights as weights_page

PAGE = weights_page.PAGE.read_text(encoding="utf-8")
SEGMENTERS = (Path(__file__).parents[2] / "docs" / "how-to" / "segmenters.md").read_text(encoding="utf-8")


def rows_of(section: str) -> list[list[str]]:
    text = PAGE.split(f"## {section}\n")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_table_is_that_of_the_list():
    written = PAGE.partition(weights_page.BEGIN)[2].partition(weights_page.END)[0].strip()
    assert written == weights_page.table()  # python -m tools.pages.generate


def test_each_machine_has_a_preset_and_what_downloads_its_weights():
    (_, *rows) = rows_of("By machine")
    for _, presets, way, _ in rows:
        first = re.findall(r"`(\w+)`", presets)[0]
        assert first in preset_names()
        preset = load_preset(first)
        published = [known_weights()[one] for one in (preset.clip, preset.sam) if "/" not in one]
        named = re.findall(r"weights download ([\w ]+)`", way)
        assert " ".join(named).split() == [entry.name for entry in published if not entry.by_hand]
        assert ("by hand" in way) == any(entry.by_hand for entry in published)
        assert ("accept the terms" in way) == any(entry.gated for entry in published)


def test_names_in_backticks_are_weights_presets_or_words_of_the_command_line():
    names = {name for section in ("By machine", "By target") for row in rows_of(section) for name in row}
    quoted = {name for text in names for name in re.findall(r"`(\w+)`", text)}
    assert quoted <= {*known_weights(), *preset_names()}


def test_the_licences_said_to_allow_products_are_those_of_the_list():
    (_, _, products, *_) = rows_of("By licence")
    licences = {
        entry.licence for name, entry in known_weights().items() if name.startswith(("sam2_", "sam_", "edgetam"))
    }
    assert licences == {"Apache-2.0"} and known_weights()["pubmedclip"].licence == "MIT"
    assert "SAM 2.1, EdgeTAM, SAM-HQ (Apache-2.0), PubMedCLIP (MIT)" in products[1]
    for name in ("unimed_clip", "medpmc_clip"):
        assert "NC" in known_weights()[name].licence


def test_the_seconds_are_those_of_the_segmenters_page():
    said = re.search(r"SAM ViT-B ([\d.]+) s of the processor, SAM 2.1 tiny ([\d.]+) s, EdgeTAM ([\d.]+) s", PAGE)
    rows = {
        row.split("|")[1].strip(): row.split("|")[5].strip(" s") for row in SEGMENTERS.splitlines() if " MB |" in row
    }
    measured = [rows[name] for name in ("SAM ViT-B", "SAM 2.1 tiny", "EdgeTAM")]
    assert said and [f"{float(one):.1f}" for one in measured] == list(said.groups())
