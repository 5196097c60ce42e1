"""`medclipsam demo`: the command line of `run_demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    output: Annotated[Path, typer.Argument(help="Folder for masks, overlays, records and demo.png.")] = Path(
        "demo_output"
    ),
) -> None:
    """Segment the phantom pictures that ship, by text, and lay the results side by side."""
    from medclipsam_monai.base.files import check_writable

    check_writable(output)

    from medclipsam_monai.study.demo import run_demo

    picture = run_demo(output, typer.echo)
    typer.echo(f"masks, overlays and records are in {output}, all pictures together in {picture}")
    typer.echo("The demo weights know phantoms only: real images need real weights, see the README.")
