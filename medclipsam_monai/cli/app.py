"""The commands of the command line. Thin: each calls one public function; model code is imported when one runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medclipsam_monai.cli.archive.command import archive
from medclipsam_monai.cli.demo import demo
from medclipsam_monai.cli.help import Commands
from medclipsam_monai.cli.label import label_commands
from medclipsam_monai.cli.prompts import prompts_app
from medclipsam_monai.cli.segment import segment
from medclipsam_monai.cli.study import study
from medclipsam_monai.cli.tune import tune
from medclipsam_monai.cli.weights import weights_app
from medclipsam_monai.deploy.command import deploy
from medclipsam_monai.version import __version__
from medclipsam_monai.web.command import web

app = Commands(
    name="medclipsam", help="Segment medical images by describing what to segment. For research, not for diagnosis."
)
app.command()(demo)
app.command()(segment)
app.add_typer(weights_app, name="weights")
app.add_typer(prompts_app, name="prompts")
app.command()(tune)
app.command()(archive)
app.command()(deploy)
app.command()(study)
app.add_typer(label_commands, name="label")
app.command()(web)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="With any command, anywhere: show where an internal error comes from.")
    ] = False,
) -> None:
    pass


@app.command()
def presets() -> None:
    """List the presets that --preset takes, and the tasks that --task takes with each."""
    from medclipsam_monai.presets import DEFAULT_PRESET, load_preset, preset_names

    for name in preset_names():
        preset = load_preset(name)
        typer.echo(f"{name:24} {preset.description}{' The default.' if name == DEFAULT_PRESET else ''}")
        for kind, targets in preset.knows.items():
            typer.echo(f"  knows in {kind}: {', '.join(targets)}")
        if preset.licence:
            typer.echo(f"  licence of its weights: {preset.licence}")
        for task, settings in preset.tasks.items():
            typer.echo(f"  --task {task:22} {settings.get('description', '')}".rstrip())


@app.command("label-app")
def label_app(
    folder: Annotated[Path, typer.Argument(help="Where to write it; an app that is there keeps its models.")],
) -> None:
    """Write a MONAI Label app: annotate by text in 3D Slicer or OHIF, correct, and retrain."""
    from medclipsam_monai.label.server.app_folder import write_app_folder

    written = write_app_folder(folder)
    typer.echo(f"start it with: python -m monailabel.main start_server --app {written} --studies IMAGES -i 127.0.0.1")
