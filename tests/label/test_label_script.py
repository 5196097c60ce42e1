"""scripts/label.sh without what it needs; test_label_docs.py starts servers by it."""

from __future__ import annotations

import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "label.sh"


def test_the_script_without_images_says_how_it_is_used() -> None:
    for words in ([], ["--port", "8000"]):
        result = subprocess.run(["bash", str(SCRIPT), *words], capture_output=True, text=True, check=False)
        assert result.returncode == 2
        assert result.stderr.startswith("usage: scripts/label.sh IMAGES")
