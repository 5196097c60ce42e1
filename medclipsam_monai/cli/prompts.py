"""`medclipsam prompts`: what prompt sets there are, what they say, and writing one with a language model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.cli.help import Commands

prompts_app = Commands(
    help="List, show and generate prompt sets: one target in the wordings that the papers compare. Use one by "
    "`segment --prompts NAME[:LEVEL[:FINDING]]`.",
)


@prompts_app.command("list")
def list_sets() -> None:
    """Show the sets that come with the package."""
    from medclipsam_monai.prompts import load_prompt_set, prompt_set_names

    for name in prompt_set_names():
        prompts = load_prompt_set(name)
        levels = " ".join([*prompts.levels, *prompts.findings])
        typer.echo(f"{name:28} {prompts.modality:20} {' '.join(sorted(levels.split())):20} {prompts.description}")


@prompts_app.command("show")
def show(source: Annotated[str, typer.Argument(metavar="NAME", help="A set's name or file.")]) -> None:
    """Show a set's sentences level by level, its opposites and its wordings."""
    from medclipsam_monai.prompts import load_prompt_set

    prompts = load_prompt_set(source)
    typer.echo(f"{prompts.name}: {prompts.description} Image: {prompts.modality}. Class: {prompts.target}.")
    groups: dict[str, tuple[str, ...]] = dict(prompts.levels)
    for level, findings in prompts.findings.items():
        groups |= {f"{level}:{finding}": sentences for finding, sentences in findings.items()}
    groups |= {"opposites": prompts.opposites, "wordings": prompts.wordings}
    for name, sentences in sorted(groups.items()):
        typer.echo(name)
        for sentence in sentences:
            typer.echo(f"    {sentence}")
    if prompts.findings:
        typer.echo(
            "P3 and P5 name the finding, which somebody must know: figures with them are no figures by text alone."
        )


@prompts_app.command("generate")
def generate_set(
    target: Annotated[str, typer.Argument(help="What to look for, in words.")],
    modality: Annotated[str, typer.Option(help="The kind of image in words: 'abdominal CT'.")],
    model: Annotated[str, typer.Option(help="Name of the model at the endpoint.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File of the set, for --prompts.")],
    finding: Annotated[list[str] | None, typer.Option(help="A kind of the target for P3 and P5. Repeatable.")] = None,
    count: Annotated[int, typer.Option(help="Sentences of an ensemble.")] = 10,
    template: Annotated[Path | None, typer.Option(help="Text of the question instead of the package's.")] = None,
) -> None:
    """Let a language model write a set; the endpoint and the key are $OPENAI_BASE_URL and $OPENAI_API_KEY."""
    from medclipsam_monai.base.json_files import write_json
    from medclipsam_monai.prompts.generate import TEMPLATE, Wish, generate

    if output.suffix != ".json":
        raise InputError(f"--output must end in .json, got {output}")
    wish = Wish(target, modality, tuple(finding or ()), count)
    write_json(generate(wish, model, template or TEMPLATE), output)
    typer.echo(f"{output}: read it before you use it, then: medclipsam segment IMAGE --prompts {output} --output out")
