"""Options that several commands take, each said once."""

from __future__ import annotations

from typing import Annotated

import typer

Preset = Annotated[str, typer.Option(help="Weights and parameters: a name or a JSON file.")]
Clip = Annotated[str | None, typer.Option(help="CLIP weights instead of the preset's.")]
Sam = Annotated[str | None, typer.Option(help="SAM weights instead of the preset's.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
