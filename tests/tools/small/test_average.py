"""The mean of several CLIPs: of every weight, in the form of the first; what does not fit is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.networks.clip.load import load_text_image_encoder
from medclipsam_monai.weights.clip_folder import find_weights, write_clip_folder
from medclipsam_monai.weights.registry import resolve
from medclipsam_monai.weights.state_dicts import read_state_dict
from tools.small.average import average, main

SMALL = Path(resolve("small/clip"))


def run(*arguments):
    app = typer.Typer()
    app.command()(main)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Three CLIPs about the shipped one whose mean it is."""
    folder, state = tmp_path_factory.mktemp("clips"), read_state_dict(find_weights(SMALL))
    for name, change in (("one", -0.5), ("two", 0.0), ("three", 0.5)):
        moved = {key: value * (1 + change) if value.is_floating_point() else value for key, value in state.items()}
        write_clip_folder(folder / name, moved, SMALL)
    return [folder / name for name in ("one", "two", "three")]


def test_the_mean_is_a_clip_that_loads(folders, tmp_path):
    result = run("--output", tmp_path / "mean", *folders)
    assert result.exit_code == 0, result.output
    state, found = (read_state_dict(find_weights(folder)) for folder in (SMALL, tmp_path / "mean"))
    assert state.keys() == found.keys()
    for name, value in state.items():
        assert found[name].dtype == value.dtype
        torch.testing.assert_close(found[name].float(), value.float(), rtol=2e-3, atol=1e-4)
    encoder = load_text_image_encoder(tmp_path / "mean")
    assert encoder.encode_text(["lungs"]).shape == (1, 192)


def test_one_alone_is_itself():
    state = {"a": torch.tensor([1.5, 2.5]), "n": torch.arange(3)}
    found = average([state])
    assert all(torch.equal(found[name], state[name]) for name in state)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"b": torch.zeros(2), "n": torch.arange(3)}, "number 2 has other tensors than the first: a"),
        ({"a": torch.zeros(3), "n": torch.arange(3)}, r"a has shapes \[\(2,\), \(3,\)\]"),
        ({"a": torch.zeros(2), "n": torch.arange(1, 4)}, "n holds whole numbers that differ"),
    ],
)
def test_what_does_not_fit_is_refused(other, message):
    with pytest.raises(InputError, match=message):
        average([{"a": torch.zeros(2), "n": torch.arange(3)}, other])


def test_another_vocabulary_is_one_line_and_nothing_is_written(folders, tmp_path):
    shutil.copytree(folders[0], tmp_path / "other")
    (tmp_path / "other" / "vocab.txt").write_text("[PAD]\n")
    for second in (tmp_path / "other", tmp_path / "nowhere"):
        result = run("--output", tmp_path / "mean", folders[1], second)
        assert result.exit_code == 2 and not (tmp_path / "mean").exists()
        assert result.stderr == "average: each folder must hold a vocab.txt, the same in all\n"
