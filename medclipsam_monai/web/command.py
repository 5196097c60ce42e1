"""`medclipsam web`: the command line of `serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medclipsam_monai.presets import DEFAULT_PRESET
from medclipsam_monai.web.entry.password import PASSWORD_VARIABLE, find_password


def web(
    host: Annotated[
        str, typer.Option("--host", "-i", help="Where it listens; any but this machine asks for a password.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", min=0, max=65535, help="0 takes a free one.")] = 7860,
    preset: Annotated[str, typer.Option(help="Offered first: a name or a JSON file.")] = DEFAULT_PRESET,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    max_upload: Annotated[int, typer.Option(min=1, help="Megabytes that may be sent at once.")] = 1024,
    max_voxels: Annotated[int | None, typer.Option(min=1, help="Read images of up to so many voxels.")] = None,
    password_file: Annotated[
        Path | None, typer.Option(help=f"Holds the password, in place of ${PASSWORD_VARIABLE}.")
    ] = None,
) -> None:
    """Segment in the browser: open an image, ask by words, correct by hand, download (the extra 'web')."""
    from medclipsam_monai.base.devices import check_device_name
    from medclipsam_monai.presets import load_preset

    check_device_name(device)
    load_preset(preset)
    password = find_password(host, password_file)

    from medclipsam_monai.web.server import WebOptions, serve

    serve(WebOptions(host, port, preset, device, max_upload * 10**6, max_voxels), password)
