"""``medclipsam deploy -i STUDY -o RESULTS --text "liver"``; each option is an environment variable too.

Exit codes: 0 all fine (an empty result is one), 2 wrong arguments or nothing to do, 3 some series failed while the
others were done, 130 stopped before the end. Holoscan ends the process by itself, with 1, where a series still runs 3 s
after SIGINT; the summary then says "running", and the next run goes on with what is not done.
"""

from __future__ import annotations

import os
import resource
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import check_writable
from medclipsam_monai.deploy.sdk_options import (
    LEVELS,
    MODEL_PATH,
    WORKDIR,
    check_log_level,
    find_bundle,
    set_up_logging,
    working_folder,
)
from medclipsam_monai.presets import DEFAULT_PRESET, load_preset

TEXT_VARIABLE, OPPOSITE_VARIABLE = "MEDCLIPSAM_TEXT", "MEDCLIPSAM_OPPOSITE"
_BETWEEN_TEXTS = ";"
_STACK = 32 << 20  # bytes, what Holoscan recommends; with less it warns at every start


def deploy(
    input_: Annotated[Path, typer.Option("--input", "-i", envvar="HOLOSCAN_INPUT_PATH", help="Folder of DICOM files.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", envvar="HOLOSCAN_OUTPUT_PATH", help="Folder for the results.")
    ],
    model: Annotated[
        Path | None,
        typer.Option("--model", "-m", help=f"Folder that is or holds one bundle. (env var: {MODEL_PATH})"),
    ] = None,
    workdir: Annotated[
        Path | None,
        typer.Option(
            "--workdir", "-w", help=f"Folder for temporary files, made if it is missing. (env var: {WORKDIR})"
        ),
    ] = None,
    log_level: Annotated[
        str | None,
        typer.Option("--log-level", "-l", envvar="MEDCLIPSAM_LOG_LEVEL", help=f"{', '.join(LEVELS)}. (default: INFO)"),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(
            "--text",
            "-t",
            help=f"What to segment: 'liver', or 'NAME=a sentence'. Repeat for more classes. (env var: {TEXT_VARIABLE}, "
            "several with ; between)",
        ),
    ] = None,
    opposite: Annotated[
        list[str] | None,
        typer.Option(
            help="What is seen where the class is absent: 'no tumor', or 'NAME=no tumor'. Repeatable. "
            f"(env var: {OPPOSITE_VARIABLE}, several with ; between)"
        ),
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(envvar="MEDCLIPSAM_PROMPTS", help="JSON file of classes instead of --text.")
    ] = None,
    rules: Annotated[
        Path | None,
        typer.Option(envvar="MEDCLIPSAM_RULES", help="JSON file that says which series, and what to seek in each."),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            envvar="MEDCLIPSAM_PRESET",
            help=f"Weights and parameters: a name or a JSON file. (default: the bundle's, else {DEFAULT_PRESET})",
        ),
    ] = None,
    task: Annotated[
        str | None, typer.Option(envvar="MEDCLIPSAM_TASK", help="Parameters for one of the preset's tasks.")
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(
            envvar="MEDCLIPSAM_BUNDLE",
            help="Folder of a zero-shot or weak supervision bundle; the same as --model.",
        ),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(
            envvar="MEDCLIPSAM_WINDOW",
            help="Grey levels: a CT window's name, 'CENTRE,WIDTH', percentile[:LOW,HIGH], full; else the DICOM's.",
        ),
    ] = None,
    pictures: Annotated[
        int, typer.Option(envvar="MEDCLIPSAM_PICTURES", help="Overlay pictures of a series, at most.")
    ] = 12,
    device: Annotated[str, typer.Option(envvar="MEDCLIPSAM_DEVICE", help="auto, cpu, cuda, cuda:1.")] = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", envvar="MEDCLIPSAM_OVERWRITE", help="Do again what is done.")
    ] = False,
) -> None:
    """Segment the series of a DICOM study by text: DICOM SEG, overlay pictures and a JSON report for each.

    For research, not for diagnosis.
    """
    wanted, opposites = _wanted(text or _from_environment(TEXT_VARIABLE), prompts), opposite
    if not opposites:
        opposites = _from_environment(OPPOSITE_VARIABLE)
    if pictures < 1:
        raise InputError(f"--pictures must be a positive whole number, got {pictures}")
    check_log_level(log_level)
    bundle = find_bundle(model, bundle)
    _check(wanted, opposites, rules, preset, task, bundle, window, device)
    check_writable(output)
    _set_up(log_level)
    with working_folder(workdir):
        _check_sdk()
        from medclipsam_monai.deploy.engines import Wish
        from medclipsam_monai.deploy.run import RunSettings, run

        settings = RunSettings(
            input=input_,
            output=output,
            wish=Wish(text=wanted, opposites=opposites, window=window, pictures=pictures),
            bundle=bundle,
            preset=preset,
            task=task,
            rules=rules,
            device=device,
            overwrite=overwrite,
        )
        raise typer.Exit(run(settings))


def _check_sdk() -> None:
    """The SDK is looked for here, after all that can be refused without it.

    Raises:
        InputError: it is not installed.
    """
    try:
        import medclipsam_monai.deploy.run  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith(("monai.deploy", "holoscan")):
            raise
        raise InputError(
            "the MONAI Deploy App SDK is not installed; in an environment of its own: pip install "
            "'medclipsam-monai[deploy]'"
        ) from error


def _check(
    wanted: Any,
    opposites: list[str] | None,
    rules: Path | None,
    preset: str | None,
    task: str | None,
    bundle: Path | None,
    window: str | None,
    device: str,
) -> None:
    """Refuse mistakes that need no image, no weights and no model code to be seen; `run` sees the others.

    Raises:
        InputError: with the first one.
    """
    from medclipsam_monai.base.devices import check_device_name
    from medclipsam_monai.base.windows import parse_window
    from medclipsam_monai.deploy.bundle_folder import check_bundle
    from medclipsam_monai.deploy.series_selection import read_rules
    from medclipsam_monai.prompts import parse_targets

    if wanted is not None:
        parse_targets(wanted, opposites)
    if window is not None:
        parse_window(window)
    check_device_name(device)
    if rules is not None:
        read_rules(rules)
    if bundle is not None:
        check_bundle(bundle)
    if preset is not None or bundle is None:
        load_preset(preset or DEFAULT_PRESET).for_task(task)


def _from_environment(variable: str) -> list[str] | None:
    values = [value.strip() for value in os.environ.get(variable, "").split(_BETWEEN_TEXTS) if value.strip()]
    return values or None


def _wanted(text: list[str] | None, prompts: Path | None) -> Any:
    """The texts, or the classes of a file; None where both are left to the rules or the bundle."""
    from medclipsam_monai.base.json_files import read_object

    if prompts is None:
        return text
    if text:
        raise InputError("give what to segment as --text or as --prompts FILE, not as both")
    return read_object(prompts, what="--prompts")


def _set_up(log_level: str | None) -> None:
    """Quiet libraries, and the log.

    pydicom would quote headers in its warnings, and a header names the patient.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    if soft != resource.RLIM_INFINITY and soft < _STACK and (hard == resource.RLIM_INFINITY or hard >= _STACK):
        resource.setrlimit(resource.RLIMIT_STACK, (_STACK, hard))
    os.environ.setdefault("HOLOSCAN_LOG_LEVEL", "ERROR")
    warnings.simplefilter("ignore")
    set_up_logging(log_level)
