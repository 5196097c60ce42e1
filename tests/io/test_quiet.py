"""Libraries are quiet inside a block, in one thread; the process is afterwards what it was, however blocks overlap."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.quiet import collected, silenced, silent_stderr
from medclipsam_monai.io import InputWarning, read_image
from medclipsam_monai.io.guard import only_our_warnings, reading
from medclipsam_monai.weights.clip_folder import quiet_open_clip as quiet_loading
from medclipsam_monai.zero_shot.one_image.steps import notes

BLOCKS: dict[str, Callable] = {
    "reading": lambda: reading(Path("a.dcm"), "a DICOM file"),
    "only_our_warnings": only_our_warnings,
    "loading": quiet_loading,
    "collected": lambda: collected(InputWarning),
    "stderr": silent_stderr,
}
LOGGERS = ["", "pydicom", "nibabel", "nibabel.global", "PIL", "PIL.TiffImagePlugin", "transformers", "monai"]


def state() -> dict[str, object]:
    """All that belongs to the process and that a block may touch."""
    loggers = {name: logging.getLogger(name) for name in LOGGERS}
    handlers = [*logging.getLogger().handlers, logging.lastResort]
    return {
        "filters": list(warnings.filters),
        "showwarning": warnings.showwarning,
        "levels": {name: (logger.level, logger.disabled, logger.propagate) for name, logger in loggers.items()},
        "filters of loggers": {name: list(logger.filters) for name, logger in loggers.items()},
        "filters of handlers": [list(handler.filters) for handler in handlers if handler],
        "disable": logging.root.manager.disable,
        "stderr": sys.stderr,
        "descriptor": os.fstat(2)[:3],
    }


@pytest.fixture(autouse=True)
def unchanged() -> Iterator[None]:
    before = state()
    yield
    assert state() == before


class InThread:
    """A context manager that lives in a thread of its own and is entered and left when asked to."""

    def __init__(self, block: Callable) -> None:
        self.ask, self.done = threading.Barrier(2, timeout=20), threading.Barrier(2, timeout=20)
        self.jobs: list[Callable] = []
        self.thread = threading.Thread(target=self._run, args=(block,))
        self.thread.start()

    def _run(self, block: Callable) -> None:
        self.ask.wait()
        with block():
            self.done.wait()
            self.ask.wait()
            while self.jobs:
                self.jobs.pop(0)()
                self.done.wait()
                self.ask.wait()
        self.done.wait()

    def step(self, job: Callable | None = None) -> None:
        """Enter the block, do a job in it, or without a job leave it."""
        self.jobs += [job] if job else []
        self.ask.wait()
        self.done.wait()

    enter = leave = step


@pytest.mark.parametrize("first", BLOCKS)
@pytest.mark.parametrize("second", BLOCKS)
@pytest.mark.parametrize("order", ["A in, B in, A out, B out", "A in, B in, B out, A out"])
def test_blocks_that_overlap_leave_the_process_as_it_was(first, second, order):
    before = state()
    a, b = InThread(BLOCKS[first]), InThread(BLOCKS[second])
    a.enter(), b.enter()
    for one in (a, b) if order.endswith("B out") else (b, a):
        one.leave()
    a.thread.join(), b.thread.join()
    assert state() == before


def test_many_threads_at_once_leave_the_process_as_it_was():
    def work(number: int) -> None:
        random = np.random.default_rng(number)
        for _ in range(50):
            with ExitStack() as stack:
                for name in random.choice(list(BLOCKS), 3):
                    stack.enter_context(BLOCKS[name]())

    before = state()
    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert state() == before


@pytest.mark.parametrize("name", BLOCKS)
def test_an_exception_leaves_the_process_as_it_was(name):
    before = state()
    with pytest.raises((ZeroDivisionError, InputError)), BLOCKS[name](), BLOCKS[name]():
        raise ZeroDivisionError
    assert state() == before


def test_own_warnings_are_dropped_and_another_threads_are_not():
    own = InThread(only_our_warnings)
    with pytest.warns(UserWarning) as caught:
        own.enter()
        warnings.warn("of another thread", UserWarning, stacklevel=1)
        own.step(lambda: warnings.warn("of the library", UserWarning, stacklevel=1))
        own.step(lambda: warnings.warn("ours", InputWarning, stacklevel=1))
        own.leave()
    assert [(str(one.message), one.category) for one in caught] == [
        ("of another thread", UserWarning),
        ("ours", InputWarning),
    ]


def test_another_threads_filters_hold_while_a_block_is_open():
    own = InThread(only_our_warnings)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        own.enter()
        with pytest.raises(RuntimeWarning, match="of another thread"):
            warnings.warn("of another thread", RuntimeWarning, stacklevel=1)
        warnings.warn("nobody sees this", DeprecationWarning, stacklevel=1)
        own.step(lambda: warnings.warn("not raised in the block", RuntimeWarning, stacklevel=1))
        own.leave()


def test_filters_that_another_thread_sets_meanwhile_stay():
    with warnings.catch_warnings():
        own = InThread(only_our_warnings)
        own.enter()
        warnings.simplefilter("error", BytesWarning)
        own.leave()
        assert warnings.filters[0] == ("error", None, BytesWarning, None, 0)
        with pytest.raises(BytesWarning):
            warnings.warn("raised", BytesWarning, stacklevel=1)


@pytest.mark.parametrize("block_goes_first", [True, False])
def test_another_threads_catch_warnings_brings_nothing_of_ours_back(block_goes_first):
    before = state()
    own, theirs = InThread(only_our_warnings), InThread(warnings.catch_warnings)
    own.enter(), theirs.enter()
    for one in (own, theirs) if block_goes_first else (theirs, own):
        one.leave()
    assert state() == before


def test_a_read_in_one_thread_and_a_read_in_another_warn_each_in_its_own():
    a, b = InThread(lambda: collected(InputWarning)), InThread(lambda: collected(InputWarning))
    found: dict[str, list[str]] = {}

    def warn(name: str) -> None:
        with collected(InputWarning) as messages, only_our_warnings():
            warnings.warn(name, InputWarning, stacklevel=1)
        found[name] = messages

    a.enter(), b.enter()
    a.step(lambda: warn("a")), b.step(lambda: warn("b"))
    a.leave(), b.leave()
    assert found == {"a": ["a"], "b": ["b"]}


def test_what_is_collected_is_not_shown_and_the_rest_is(recwarn):
    with collected(InputWarning) as messages:
        warnings.warn("kept", InputWarning, stacklevel=1)
        warnings.warn("kept", InputWarning, stacklevel=1)
        warnings.warn("shown", UserWarning, stacklevel=1)
    assert messages == ["kept", "kept"] and [str(one.message) for one in recwarn] == ["shown"]


def test_log_records_are_dropped_in_the_blocks_thread_only(caplog):
    names = ["pydicom", "pydicom.pixels", "nibabel.global", "PIL.TiffImagePlugin", "pydicomx", "mine"]

    def log(where: str) -> None:
        for name in names:
            logging.getLogger(name).error("%s %s", where, name)

    own = InThread(only_our_warnings)
    own.enter()
    log("outside")
    own.step(lambda: log("inside"))
    own.leave()
    assert caplog.messages == [*(f"outside {name}" for name in names), "inside pydicomx", "inside mine"]


def test_loading_drops_remarks_and_lets_errors_through(caplog):
    caplog.set_level(logging.INFO)
    with quiet_loading():
        for level in (logging.INFO, logging.WARNING, logging.ERROR):
            logging.getLogger("anybody").log(level, "%d", level)
            logging.log(level, "%d", level)
    assert caplog.messages == [str(logging.ERROR)] * 2


def test_a_nested_block_ends_alone(caplog):
    with silenced(["a"], dropped=(UserWarning,)):
        with silenced(["b"]):
            logging.getLogger("a").error("no")
            logging.getLogger("b").error("no")
        logging.getLogger("b").error("yes")
        logging.getLogger("a").error("no")
    assert caplog.messages == ["yes"]


def test_errors_of_warnings_come_out_as_they_are(make_series, tmp_path):
    paths = make_series(tmp_path / "ct", np.zeros((6, 20, 30), np.uint16))
    paths[2].unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputWarning, match="mm apart"):
            read_image(tmp_path / "ct")


def test_two_reads_in_two_threads_leave_the_process_as_it_was(tmp_path):
    for name in ("a", "b"):
        nib.save(nib.Nifti1Image(np.random.default_rng(0).random((20, 20, 3)), np.eye(4)), tmp_path / f"{name}.nii")
    (tmp_path / "broken.nii").write_bytes((tmp_path / "a.nii").read_bytes()[:400])
    before, failed = state(), []

    def read(name: str) -> None:
        for _ in range(20):
            try:
                read_image(tmp_path / name)
            except InputError:
                failed.append(name)

    threads = [threading.Thread(target=read, args=(name,)) for name in ("a.nii", "b.nii", "broken.nii")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == ["broken.nii"] * 20 and state() == before


def test_in_a_real_process_only_what_libraries_write_is_lost():
    code = """
import os, sys, threading, warnings
from medclipsam_monai.base.quiet import silent_stderr
def elsewhere():
    warnings.warn("a warning of another thread")
    print("printed in another thread", file=sys.stderr)
    sys.stderr.write("Lung \\u80ba\\n")
before = sys.stderr
with silent_stderr(), silent_stderr():
    os.write(2, b"of a library\\n")
    thread = threading.Thread(target=elsewhere); thread.start(); thread.join()
assert sys.stderr is before
os.write(2, b"after\\n")
"""
    done = subprocess.run([sys.executable, "-X", "utf8", "-c", code], capture_output=True, encoding="utf-8", check=True)
    lines = done.stderr.splitlines()
    assert lines[0].endswith("UserWarning: a warning of another thread")
    assert lines[-3:] == ["printed in another thread", "Lung 肺", "after"] and "of a library" not in done.stderr


def test_a_process_without_stderr_can_read():
    code = "import os; os.close(2); from medclipsam_monai.base.quiet import silent_stderr\n"
    code += "with silent_stderr(): print('read')"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "read\n"


def test_a_child_that_is_forked_during_a_read_can_read_too():
    own = InThread(only_our_warnings)
    own.enter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        child = os.fork()
    if child == 0:
        with only_our_warnings():
            os._exit(7)
    own.leave()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_notes_of_two_batches_at_once_are_each_ones_own_and_leave_nothing() -> None:
    before = state()
    told: dict[str, list[str]] = {"a": [], "b": []}
    a, b = (InThread(lambda name=name: notes(name, lambda kind, line: told[name].append(line))) for name in "ab")

    def warn(name: str) -> None:
        warnings.warn(f"{name}: seen", InputWarning, stacklevel=1)
        warnings.warn(f"{name}: seen", InputWarning, stacklevel=1)
        warnings.warn("of a library", UserWarning, stacklevel=1)

    a.enter(), b.enter()
    a.step(lambda: warn("a")), b.step(lambda: warn("b"))
    a.leave(), b.leave()
    assert told == {"a": ["a: seen"], "b": ["b: seen"]} and state() == before
