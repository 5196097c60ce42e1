"""Average the CLIPs of several trainings that went on from the same weights with other seeds.

    python -m tools.small.average --output together/clip one/clip two/clip three/clip

Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy without increasing
inference time", ICML 2022. The others must have the vocabulary and the tensors of the first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.weights.clip_folder import find_weights, write_clip_folder
from medclipsam_monai.weights.state_dicts import read_state_dict


def average(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of several state dicts in the types of the first; what is no number with a point must be equal.

    Raises:
        InputError: tensors of other names, shapes or whole numbers.
    """
    first, *others = states
    for number, other in enumerate(others, start=2):
        if first.keys() != other.keys():
            raise InputError(f"number {number} has other tensors than the first: {min(first.keys() ^ other.keys())}")
    found = {}
    for name, value in first.items():
        every = [state[name] for state in states]
        if any(one.shape != value.shape for one in every):
            raise InputError(f"{name} has shapes {sorted({tuple(one.shape) for one in every})}")
        if value.is_floating_point():
            found[name] = torch.stack([one.double() for one in every]).mean(dim=0).to(value.dtype)
        elif all(torch.equal(one, value) for one in every):
            found[name] = value
        else:
            raise InputError(f"{name} holds whole numbers that differ")
    return found


def main(
    folders: Annotated[list[Path], typer.Argument(help="Of the CLIPs, in open_clip's local-dir form.")],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
) -> None:
    """Write their mean."""
    try:
        words = [(folder / "vocab.txt").read_bytes() for folder in folders if (folder / "vocab.txt").is_file()]
        if len(words) != len(folders) or len(set(words)) != 1:
            raise InputError("each folder must hold a vocab.txt, the same in all")
        state = average([read_state_dict(find_weights(folder)) for folder in folders])
        write_clip_folder(output, state, folders[0])
    except InputError as error:
        typer.echo(f"average: {error}", err=True)
        raise typer.Exit(2) from error


if __name__ == "__main__":
    typer.run(main)
