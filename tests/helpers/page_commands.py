"""Commands of the README, the how-to and the bundles' pages, run as they stand there but for shorter trainings."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

# What makes a training short enough for a test; everything else of the command stays.
SHORT = {
    "medclipsam_finetune": "--epochs 1 --num_phantoms 24 --batch_size 4 --retrieval_batch 2",
    "medclipsam_weak_segmentation": "--network_size tiny --cyclic#epochs 2 --cyclic#cycles 1 --cyclic#per_cycle 1 "
    "--cyclic#iterations 2 --cyclic#validation_iterations 1 "
    "--gate#min_presence 0 --gate#min_quality 0 --gate#min_agreement 0 --gate#min_area 0",
}


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in a language, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def environment() -> dict[str, str]:
    """Of a user's shell: the package's commands are found, and no hub is asked."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "HF_HUB_OFFLINE": "1", "NO_COLOR": "1"}


def run(script: str, folder: Path, code: int = 0, **variables: str) -> str:
    """Run lines of bash in a folder; returns what they printed."""
    env = environment() | variables
    result = subprocess.run(["bash", "-euc", script], cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == code, result.stdout[-2000:] + result.stderr[-2000:]
    return result.stdout + result.stderr
