"""`medclipsam weights`: what weights there are, getting them, where they lie, and changing their layout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.cli.help import Commands
from medclipsam_monai.weights.convert import Layout, convert
from medclipsam_monai.weights.entries import NOT_KNOWN, known_weights
from medclipsam_monai.weights.registry import HOME_VARIABLE, download, resolve, weight_entry, weights_folder

weights_app = Commands(
    help="List, download, find and convert model weights. They lie in $MEDCLIPSAM_HOME, or ~/.cache/medclipsam, and "
    "once there need no network.",
)


@weights_app.command("list")
def list_weights(
    as_json: Annotated[
        bool, typer.Option("--json", help="For a program: a list of objects, null is not known.")
    ] = False,
) -> None:
    """Show all published weights of known networks: source, size, licence, hash, and whether they are here."""
    folder = weights_folder()
    here = {entry.name: (folder / entry.file).exists() for entry in known_weights().values()}
    if as_json:
        rows = [{**entry.described(), "here": here[entry.name]} for entry in known_weights().values()]
        typer.echo(json.dumps(rows, indent=4, ensure_ascii=False))
        return
    _print_table(here)
    typer.echo(f"folder: {folder} (set {HOME_VARIABLE} for another)")
    typer.echo("gated: accept the licence on the source's page, make a token there, give it as HF_TOKEN, then download")


def _print_table(here: Mapping[str, bool]) -> None:
    """A table of what fits a screen, then a line each of source, hash and what else there is to know."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table("name", "size", "licence", "get", "here")
    for entry in known_weights().values():
        way = "by hand" if entry.by_hand else "gated" if entry.gated else "download"
        row = (entry.name, entry.size_said, entry.licence_said, way, "yes" if here[entry.name] else "no")
        table.add_row(*row)
    console.print(table)
    for entry in known_weights().values():
        note = f"; {entry.note}" if entry.note else ""
        line = f"{entry.name}: {entry.what}; {entry.source}, SHA-256 {entry.sha256 or NOT_KNOWN}{note}"
        console.print(line, soft_wrap=True, highlight=False, markup=False)


@weights_app.command("download")
def download_weights(
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="Names as `list` shows them.")],
    folder: Annotated[
        Path | None,
        typer.Option(help="Another folder, to be carried to a machine without a network."),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            help="A mirror of the one file, or another hub of the one folder; what comes is checked all the same."
        ),
    ] = None,
    progress: Annotated[bool, typer.Option(help="Draw a progress bar.")] = True,
) -> None:
    """Get weights, or the rest of them after an interruption, and check hash, size and form, as far as known."""
    if url is not None and len(names) > 1:
        raise InputError(f"--url stands for one file, got {len(names)} names")
    for name in names:  # a typing error shows before the first long download
        weight_entry(name)
    for name in names:
        typer.echo(f"{name}: {download(name, folder, progress, url)}")


@weights_app.command("path")
def path_of_weights(
    name: Annotated[str, typer.Argument(help="A name as `list` shows it, demo/clip, demo/sam, or a path.")],
) -> None:
    """Print where weights lie; if they are missing, say how to get them."""
    typer.echo(str(resolve(name)))


@weights_app.command("convert")
def convert_weights(
    source: Annotated[str, typer.Argument(help="A known name, or a folder or checkpoint file in either layout.")],
    target: Annotated[Path, typer.Argument(help="A new folder, or a new file ending in .safetensors.")],
    layout: Annotated[Layout, typer.Option(help="The layout to write.")],
    settings: Annotated[
        Path | None,
        typer.Option(help="Folder with open_clip_config.json and tokenizer of a checkpoint that comes without."),
    ] = None,
) -> None:
    """Change BiomedCLIP weights between open_clip's layout and the transformers one, both ways.

    With --settings a checkpoint of another open_clip model's training becomes a folder that loads by itself.
    """
    typer.echo(str(convert(source, target, layout, settings)))
