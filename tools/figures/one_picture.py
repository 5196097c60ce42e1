"""The command line of a module that draws one picture of the documentation."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path


def run(draw: Callable[[Path], None], told: str | None) -> None:
    """Draw the picture that the command line names.

    Args:
        draw: is given its path.
        told: what the module is for.
    """
    parser = argparse.ArgumentParser(description=told)
    parser.add_argument("picture", type=Path)
    draw(parser.parse_args().picture)
