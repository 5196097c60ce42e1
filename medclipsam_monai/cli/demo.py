"""`medclipsam demo`: the command line of `run_demo`."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from medclipsam_monai.presets import DEFAULT_PRESET, load_preset


def demo(
    output: Annotated[Path, typer.Argument(help="Folder for masks, overlays, records and demo.png.")] = Path(
        "demo_output"
    ),
) -> None:
    """Segment the phantom pictures that ship, and a phantom CT, by text, and lay the pictures side by side."""
    from medclipsam_monai.base.files import check_writable

    check_writable(output)

    from medclipsam_monai.study.demo import PRESET, run_demo, run_volume_demo

    picture = run_demo(output, typer.echo)
    run_volume_demo(output, typer.echo)
    typer.echo(f"masks, overlays and records are in {output}, all pictures together in {picture}")
    typer.echo(f"weights of the pictures: preset {PRESET}. {load_preset(PRESET).description}")
    typer.echo(f"weights of the volume: preset {DEFAULT_PRESET}. {load_preset(DEFAULT_PRESET).description}")
    known = ", ".join(load_preset(DEFAULT_PRESET).knows)
    typer.echo(
        f"A picture of yours is segmented by preset {DEFAULT_PRESET}, which knows targets in {known}: "
        f"{_program()} segment YOUR_PICTURE.png --text lungs --output out"
    )


def _program() -> str:
    """What starts this program in the user's shell: its name, or its path where the shell would not find it."""
    here = Path(sys.executable).with_name("medclipsam")
    found = shutil.which("medclipsam")
    return os.path.relpath(here) if here.is_file() and (found is None or not here.samefile(found)) else "medclipsam"
