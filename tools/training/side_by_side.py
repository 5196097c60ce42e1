"""Trainings in processes of their own, one core each: more threads would only wait for one another."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

Job = tuple[Callable[..., None], tuple[Any, ...]]


def set_up() -> None:
    """In each process of a training: log what it does, and work with one thread."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    for noisy in ("open_clip", "httpx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    torch.set_num_threads(1)


def run_side_by_side(jobs: Mapping[str, Job]) -> dict[str, float]:
    """Run each function with its arguments in a process of its own; returns the minutes each took.

    Raises:
        SystemExit: one of them failed; the others are ended.
    """
    spawn, started = multiprocessing.get_context("spawn"), time.perf_counter()
    running = {name: spawn.Process(target=function, args=args) for name, (function, args) in jobs.items()}
    minutes = dict[str, float]()
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        for process in running.values():
            process.start()
        while len(minutes) < len(running):
            for name, process in running.items():
                process.join(1)
                if name not in minutes and process.exitcode is not None:
                    minutes[name] = round((time.perf_counter() - started) / 60, 1)
                    if process.exitcode:
                        raise SystemExit(f"training the {name} failed with exit code {process.exitcode}")
    finally:  # none goes on alone
        for process in running.values():
            if process.is_alive():
                process.terminate()
        signal.signal(signal.SIGTERM, before)
    return minutes
