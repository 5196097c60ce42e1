"""``python -m medclipsam_monai.deploy`` is ``medclipsam deploy``: what the entry of a container calls."""

from __future__ import annotations

import sys

import typer

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.interrupts import one_line_on_interrupt
from medclipsam_monai.deploy.command import deploy


def main() -> None:
    """Run the command: one clear line and exit code 2 where the user's input is at fault."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(deploy)
    with one_line_on_interrupt():
        try:
            app(prog_name="medclipsam_monai.deploy")
        except InputError as error:
            typer.echo(f"medclipsam: {' '.join(str(error).split())}", err=True)
            sys.exit(2)


if __name__ == "__main__":
    main()
