"""Kill drivers, actors and nodes of ``medclipsam archive``: nothing lost, nothing twice, no torn file.

    python -m tools.robustness.archive.kills             # 20 kills of each kind, five to an output folder
    python -m tools.robustness.archive.kills --kills 3 --kinds node --seed 7

An output folder is begun, and meets with several kills (SIGKILL). After a killed driver the same command goes on; an
actor (of the networks, or the process of a reader or a writer) and the second of two Ray nodes, switched off with all
its processes, are killed under a driver that must come to its end by itself. After each kill and at the end the folder
is compared with that of an undisturbed run: masks, records and rows equal (but for the seconds), each image in the
table once, no file of whatever name left over, no process left. Ends with exit code 1 if something is wrong.

Needs Linux and the extra archive.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from tools.robustness.archive.bench import ArchiveBench, Command, kill_all, records, wait_until
from tools.robustness.archive.checks import open_doors, strays, wrong_at_the_end, wrong_on_the_way
from tools.robustness.archive.nodes import TwoNodes, two_nodes
from tools.robustness.counts import add_to

_TITLES = ("ray::MapWorker", "ray::MapBatches")  # the networks; a reader or a writer
_PATIENCE = 1200.0  # seconds for a moment to come
_STARTING = 30.0  # seconds in which a run starts, at most
_TIMES = 3  # as many folders as would do if every kill came in time, at most
_EARLY = 4  # every such kill comes before the run's first image


@dataclass
class Story:
    """What happened to an output folder.

    Attributes:
        kills: what was killed when, in words.
        runs: how often the command was given.
        wrong: what is wrong afterwards.
    """

    kills: list[str] = field(default_factory=list)
    runs: int = 0
    wrong: list[str] = field(default_factory=list)


@dataclass
class Trial:
    """A bench with kills to come.

    Attributes:
        bench: images and the clean run.
        rng: decides the moments.
        kills: how many, for one output folder.
        nodes: where the runs work; None for a Ray of their own.
    """

    bench: ArchiveBench
    rng: np.random.Generator
    kills: int
    nodes: TwoNodes | None = None

    def start(self, output: Path) -> Command:
        """Give the command."""
        return self.bench.start(output, None if self.nodes is None else self.nodes.address)

    def moment(self, run: Command, output: Path, left: int) -> str:
        """Wait for a moment: some more images, and a little; now and then one before the first image.

        Args:
            run: which must be at work.
            output: its folder.
            left: kills to come, this one too: later ones are to find some images as well.

        Returns:
            The moment in words; empty where the run ended before it.
        """
        before = records(output)
        most = max((self.bench.count - before) // (left + 1), 1)
        wanted, delay = int(self.rng.integers(1, most + 1)), float(self.rng.uniform(0, 0.2))
        if self.rng.integers(_EARLY) == 0:
            wanted, delay = 0, float(self.rng.uniform(0, min(self.bench.start_seconds, _STARTING)))
        ended = run.process.poll
        if not wait_until(lambda: records(output) >= before + wanted or ended() is not None, _PATIENCE):
            return ""
        wait_until(lambda: ended() is not None, delay)
        return f"{wanted} more images + {delay:.2f} s" if ended() is None else ""


def kill_drivers(trial: Trial, output: Path) -> Story:
    """Kill one driver after the other, each at work on what the one before left."""
    story = Story()
    for number in range(trial.kills):
        run = trial.start(output)
        story.runs += 1
        moment = trial.moment(run, output, trial.kills - number)
        story.wrong += open_doors(run)
        run.kill()
        story.kills += [f"driver after {moment}"] if moment else []
        story.wrong += [*strays(run), *wrong_on_the_way(output, trial.bench.clean)]
    return _to_the_end(trial, output, story)


def kill_actors(trial: Trial, output: Path) -> Story:
    """Kill processes of Ray's that work for a driver: the networks', then a reader or a writer, and so on."""
    titles = cycle(_TITLES)

    def one(run: Command) -> str:
        title = next(titles)
        found: dict[int, str] = {}

        def seen() -> bool:
            found.update({number: words for number, words in run.below().items() if words.startswith(title)})
            return bool(found) or run.process.poll() is not None

        wait_until(seen, _PATIENCE)
        victim = dict([sorted(found.items())[int(trial.rng.integers(len(found)))]]) if found else {}
        kill_all(victim)
        return next(iter(victim.values()), "")

    return _under_one_driver(trial, output, one)


def kill_nodes(trial: Trial, output: Path) -> Story:
    """Switch the second node off and on again under a driver."""
    nodes = trial.nodes
    assert nodes is not None

    def one(run: Command) -> str:
        count = nodes.switch_off()
        nodes.switch_on()
        return f"node of {count} processes"

    return _under_one_driver(trial, output, one)


def _under_one_driver(trial: Trial, output: Path, kill: Callable[[Command], str]) -> Story:
    story, run = Story(runs=1), trial.start(output)
    for number in range(trial.kills):
        moment = trial.moment(run, output, trial.kills - number)
        killed = kill(run) if moment else ""
        story.kills += [f"{killed} after {moment}"] if killed else []
    story.wrong += [
        *run.wrong_end(trial.bench.count, losses=True),
        *strays(run),
        *wrong_on_the_way(output, trial.bench.clean),
    ]
    return _to_the_end(trial, output, story)


def _to_the_end(trial: Trial, output: Path, story: Story) -> Story:
    """Give the command again, and look at what is there when it has ended."""
    run = trial.start(output)
    story.runs += 1
    ended = run.wrong_end(trial.bench.count)
    here = wrong_at_the_end(output, trial.bench.clean)
    left = [f"{path.name} is left in the folder of temporary files" for path in trial.bench.temporary.iterdir()]
    story.wrong += [*ended, *strays(run), *here, *left]
    return story


KINDS: dict[str, Callable[[Trial, Path], Story]] = {"driver": kill_drivers, "actor": kill_actors, "node": kill_nodes}


def stories(kind: str, kills: int, bench: ArchiveBench, seed: int, together: int) -> Iterator[Story]:
    """So many kills of one kind; a moment that comes after a run's end is made up for, as long as some do not.

    Args:
        kind: of `KINDS`.
        kills: how many.
        bench: images and the clean run, in a folder with a short name.
        seed: decides the moments.
        together: kills of one output folder, at most.
    """
    with ExitStack() as stack:
        nodes = stack.enter_context(two_nodes(bench.folder.parent / "r")) if kind == "node" else None
        for number in range(_TIMES * -(-kills // together)):
            rng = np.random.default_rng([seed, list(KINDS).index(kind), number])
            story = KINDS[kind](Trial(bench, rng, min(together, kills), nodes), bench.folder / f"{kind} {number}")
            yield story
            kills -= len(story.kills)
            if kills <= 0:
                return


def main(
    kills: Annotated[int, typer.Option(min=1, help="Of each kind.")] = 20,
    kinds: Annotated[str, typer.Option(help="driver, actor, node, with commas between them.")] = ",".join(KINDS),
    images: Annotated[int, typer.Option(min=1, help="In an output folder.")] = 48,
    together: Annotated[int, typer.Option(min=1, help="Kills of one output folder.")] = 5,
    seed: Annotated[int, typer.Option(help="Decides the moments.")] = 0,
    counts: Annotated[Path | None, typer.Option(help="File to add the counts to.")] = None,
) -> None:
    """Kill, go on, and count what is wrong afterwards."""
    lines = ["| kind | kills | runs | folders | with something wrong |", "|---|---|---|---|---|"]
    killed = bad = 0
    with tempfile.TemporaryDirectory(prefix="m-", ignore_cleanup_errors=True) as place:
        bench = ArchiveBench(Path(place, "b"), images).set_up()
        for kind in kinds.split(","):
            told: list[Story] = []
            for story in stories(kind, kills, bench, seed, together):
                told.append(story)
                for line in (*story.kills, *(f"WRONG: {line}" for line in story.wrong)):
                    print(f"{kind}: {line}", file=sys.stderr, flush=True)
            wrong, count = sum(bool(one.wrong) for one in told), sum(len(one.kills) for one in told)
            killed, bad = killed + count, bad + wrong
            lines.append(f"| {kind} | {count} | {sum(one.runs for one in told)} | {len(told)} | {wrong} |")
    print("\n".join(lines))
    add_to(counts, kills=killed, losses=bad)
    if bad:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
