"""The soak adds up what its tools count, and ends with 1 if any of them lost something or broke."""

from __future__ import annotations

import sys

import pytest
import typer

from tools.robustness import soak
from tools.robustness.counts import add_to

ADD = "import json, sys; open(sys.argv[1], 'a').write(json.dumps({counts}) + chr(10)); sys.exit({code})"


def fake(counts: dict[str, int], code: int = 0):
    """A tool that counts so much and ends with a code, in place of all tools."""

    def commands(seed, path):
        return [[sys.executable, "-c", ADD.format(counts=counts, code=code), str(path)]]

    return commands


@pytest.mark.parametrize(
    ("counts", "code", "bad", "said"),
    [
        ({"kills": 60, "losses": 0, "mutations": 6000}, 0, False, "60 kills, 0 pairs and 0 mishaps, 0 losses; 6000 mu"),
        ({"kills": 3, "losses": 1}, 1, True, "3 kills, 0 pairs and 0 mishaps, 1 losses"),
        ({"mutations": 5, "tracebacks": 2}, 1, True, "5 mutations, 2 tracebacks, 0 crashes"),
        ({"mutations": 5, "crashes": 1}, 1, True, "5 mutations, 0 tracebacks, 1 crashes"),
        ({}, 2, True, "1 tools broken"),
    ],
)
def test_the_last_line_counts_everything_and_a_loss_is_an_error(monkeypatch, capsys, counts, code, bad, said):
    monkeypatch.setattr(soak, "commands", fake(counts, code))
    monkeypatch.setattr(soak.time, "monotonic", iter([0, 0, 61, 61, 61]).__next__)
    if bad:
        with pytest.raises(typer.Exit) as end:
            soak.main(minutes=1, seed=0)
        assert end.value.exit_code == 1
    else:
        soak.main(minutes=1, seed=0)
    last = capsys.readouterr().out.splitlines()[-1]
    assert said in last and last.startswith("soak of 1 minutes, 1 rounds begun")


def test_a_round_has_every_tool_and_the_properties_with_its_seed(tmp_path):
    lines = [" ".join(command[2:]) for command in soak.commands(7, tmp_path / "counts")]
    names = ("kill_runs", "fuzz_inputs", "mishaps", "trainings.kills", "archive.kills")
    assert [line.split()[0] for line in lines] == [*(f"tools.robustness.{name}" for name in names), "pytest"]
    assert all("--seed 7" in line for line in lines[:-1]) and "--hypothesis-seed=7" in lines[-1]


def test_counts_are_added_up_and_nothing_is_written_without_a_file(tmp_path):
    add_to(None, kills=3)
    for kills in (1, 2):
        add_to(tmp_path / "x", kills=kills, losses=0)
    assert soak.sums(tmp_path / "x") == {"kills": 3, "losses": 0} and soak.sums(tmp_path / "y") == {}
