"""docs/how-to/segmenters.md: its preset is one, and its table is the code's."""

from __future__ import annotations

import re
from pathlib import Path

from medclipsam_monai.networks.transformers_sam.families import FAMILIES
from medclipsam_monai.presets import load_preset
from medclipsam_monai.presets.networks import SEGMENTERS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "segmenters.md").read_text(encoding="utf-8")


def test_the_preset_is_one(tmp_path):
    (preset,) = re.findall(r"^```json\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    (tmp_path / "mine.json").write_text(preset)
    assert load_preset(tmp_path / "mine.json").segmenter == "transformers_sam"


def test_the_kinds_and_families_are_all_there():
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line[:2] == "| "]
    assert {row[0].strip("`") for row in rows if len(row) == 3} - {"segmenter"} == set(SEGMENTERS)
    said = {kind: row for row in rows if len(row) == 5 for kind in re.findall(r"`(\w+)`", row[1])}
    assert said.keys() - {"model_type"} == FAMILIES.keys()
    for kind, family in FAMILIES.items():
        assert said[kind][2] == family.since
        assert said[kind][3].endswith("padded" if family.letterbox else "stretched")
