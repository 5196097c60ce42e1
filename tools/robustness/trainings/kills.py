"""Kill trainings at random moments: what goes on afterwards must end as an unbroken training does.

    python -m tools.robustness.trainings.kills                       # 10 kills of a fine-tuning, 5 of nnU-Net
    python -m tools.robustness.trainings.kills --clip 40 --nnunet 20 --seed 7

A fine-tuning is killed at one of its own changes to its folder, or up to half a second after it; of nnU-Net's training
our process, nnU-Net's or both. No file may be torn then. The same training is started again, every fourth after a
second kill, and must end with the weights, the figures and the files of one that nobody killed. Ends with exit code 1
if something is wrong. Needs Linux.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from tools.robustness.counts import Row, finish, try_all
from tools.robustness.kill_forks import Kill
from tools.robustness.trainings.clip import ClipBench
from tools.robustness.trainings.nnunet import NnunetBench, draw_moment


def one_clip_kill(bench: ClipBench, folder: Path, number: int, seed: int) -> tuple[str, bool, list[str]]:
    """A fine-tuning killed once or twice; what was done, whether it was killed, and what is wrong afterwards."""
    rng = np.random.default_rng([seed, number, 3])
    folder.mkdir()
    told, wrong, killed = [], [], False
    for again in range(2 if number % 4 == 3 else 1):
        after = None if rng.integers(2) else float(rng.uniform(0, 0.5))
        kill = Kill(int(rng.integers(1, bench.changes + 1)), after)
        ending = bench.run(folder, resume=bool(again), kill=kill)
        killed |= not ending.ended
        told.append(f"killed at change {kill.change}" + ("" if after is None else f" + {1000 * after:.0f} ms"))
        wrong += [f"killed: {ending.trouble}"] if ending.trouble else []
        wrong += [f"killed: {what}" for what in bench.torn(folder)]
    last = bench.run(folder, resume=True)
    wrong += [f"again: {last.trouble}"] if last.trouble else []
    wrong += [f"again: {what}" for what in bench.wrong(folder)]
    shutil.rmtree(folder)
    return ", ".join(told), killed, wrong


def one_nnunet_kill(bench: NnunetBench, folder: Path, number: int, seed: int) -> tuple[str, bool, list[str]]:
    """A training by nnU-Net killed once or twice; see `one_clip_kill`."""
    rng = np.random.default_rng([seed, number, 4])
    shutil.copytree(bench.planned, folder)
    told, wrong = [], []
    for _ in range(2 if number % 4 == 3 else 1):
        moment = draw_moment(bench.changes, rng)
        told.append(f"{moment.whom} killed at change {moment.changes} + {1000 * moment.after:.0f} ms")
        try:
            bench.run(folder, moment)
        except RuntimeError as error:
            wrong.append(f"killed: {error}")
        wrong += [f"killed: {what}" for what in bench.torn(folder)]
    last, _ = bench.run(folder)
    wrong += [f"again: {last.trouble}"] if last.trouble else []
    wrong += [f"again: {what}" for what in bench.wrong(folder)]
    shutil.rmtree(folder)
    return ", ".join(told), True, wrong


def main(
    clip: Annotated[int, typer.Option(help="Kills of a fine-tuning.")] = 10,
    nnunet: Annotated[int, typer.Option(help="Kills of a training by nnU-Net.")] = 5,
    seed: Annotated[int, typer.Option(help="Decides the moments.")] = 0,
    counts: Annotated[Path | None, typer.Option(help="File to add the counts to.")] = None,
) -> None:
    """Kill trainings half-way, and count what is wrong afterwards."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        if clip:
            tuned = ClipBench.set_up(place)
            rows.append(try_all("fine-tuning", lambda f, n: one_clip_kill(tuned, f, n, seed), clip, place))
        if nnunet:
            trained = NnunetBench.set_up(place)
            rows.append(try_all("nnU-Net", lambda f, n: one_nnunet_kill(trained, f, n, seed), nnunet, place))
    finish(rows, counts, kills=sum(row.hit for row in rows))


if __name__ == "__main__":
    typer.run(main)
