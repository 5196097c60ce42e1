"""`medclipsam label`: a MONAI Label server that annotates by text, and a client without a viewer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medclipsam_monai.cli import checks
from medclipsam_monai.cli.help import Commands
from medclipsam_monai.presets import DEFAULT_PRESET

label_commands = Commands(help="Annotate by text with MONAI Label: serve images, or work through them by a script.")


@label_commands.command(
    "serve",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    epilog=f"The preset is {DEFAULT_PRESET} where --conf preset names no other.",
)
def serve(
    context: typer.Context,
    studies: Annotated[str, typer.Argument(help="Folder of images, or the address of a DICOMweb archive.")],
    app: Annotated[Path, typer.Option("--app", "-a", help="The app's folder; what was trained there is kept.")] = Path(
        "label_app"
    ),
    host: Annotated[str, typer.Option("--host", "-i", help="0.0.0.0 opens the server to others.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", min=1, max=65535, help="Where it listens.")] = 8000,
) -> None:
    """Serve images to 3D Slicer, OHIF or a script.

    After the images: --conf NAME VALUE for text, preset, device, cache_mb, image_mb, ensemble or examples, and what
    MONAI Label takes.
    """
    from medclipsam_monai.label.server.serve import start_server

    start_server(studies, app, host, port, context.args)


@label_commands.command("client")
def client(
    text: Annotated[str, typer.Option(help="What to segment, as in a viewer: 'lungs', 'lungs; heart'.")],
    server: Annotated[str, typer.Option(help="Address of the server.")] = "http://127.0.0.1:8000",
    masks: Annotated[
        Path | None,
        typer.Option(help="Folder of true masks, in place of the annotator. (default: correct each mask)"),
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder for the masks by text.")] = Path("label_client"),
    rounds: Annotated[int, typer.Option(min=1, help="How often to train.")] = 1,
    labels: Annotated[int, typer.Option(min=1, help="Images to label before each training.")] = 4,
    strategy: Annotated[str, typer.Option(help="most_uncertain, diverse, mixed, random.")] = "mixed",
    train_option: Annotated[list[str] | None, typer.Option(help="NAME=VALUE for the training. Repeatable.")] = None,
) -> None:
    """Score, label and train on a server that runs, round by round; each mask waits to be corrected."""
    options = checks.settings(train_option or (), "--train-option", "max_epochs=30")
    checks.folder("--masks", masks)

    from medclipsam_monai.label.client import LabelClient, run_rounds

    run_rounds(LabelClient(server), text, rounds, labels, output, strategy, masks, options)
