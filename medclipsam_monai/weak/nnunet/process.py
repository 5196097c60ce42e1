"""Runs nnU-Net's own commands in a process of their own, which has the environment variables nnU-Net wants.

The caller's environment is neither read for them nor changed: two runs in one program do not disturb each other, and
what a user has set for other nnU-Net projects has no effect here.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.interrupts import end_with_parent
from medclipsam_monai.weak.folders import WorkFolders

_POLL_SECONDS = 0.5
_KEPT_LINES = 60
_ERROR = re.compile(r"^[\w.]*(Error|Exception|Interrupt)\b.*")
_PACKAGES = Path(__file__).parents[3]  # where this package was imported from
_COMPILERS = ("cc", "gcc", "clang")


def nnunet_environment(folders: WorkFolders, workers: int, device: torch.device | None = None) -> dict[str, str]:
    """The environment of one of nnU-Net's processes.

    Args:
        folders: of the run.
        workers: processes for augmentation; 0 augments in the training process itself.
        device: with an index, the only GPU the process may see.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("nnUNet_")}
    environment.update(
        nnUNet_raw=str(folders.nnunet_raw),
        nnUNet_preprocessed=str(folders.nnunet_preprocessed),
        nnUNet_results=str(folders.nnunet_results),
        nnUNet_extTrainer=str(Path(__file__).parent / "trainer"),
        nnUNet_n_proc_DA=str(workers),
        nnUNet_def_n_proc=str(max(1, workers)),
        PYTHONPATH=os.pathsep.join(filter(None, (str(_PACKAGES), environment.get("PYTHONPATH")))),
        PYTHONUNBUFFERED="1",
        PYTHONSAFEPATH="1",  # a random.py where the user happens to be is not imported
        TORCH_FORCE_WEIGHTS_ONLY_LOAD="1",  # nnU-Net opens the checkpoint it goes on from as a pickle with code
    )
    # threads that spin while they wait cost much time where other processes use the cores too
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if not any(shutil.which(name) for name in _COMPILERS):
        environment["nnUNet_compile"] = "f"  # nnU-Net's default on a GPU, and nothing it could work with
    if device is not None and device.type == "cuda" and device.index is not None:
        visible = environment.get("CUDA_VISIBLE_DEVICES")
        names = visible.split(",") if visible else [str(index) for index in range(torch.cuda.device_count())]
        environment["CUDA_VISIBLE_DEVICES"] = names[device.index]
    return environment


def run_nnunet(
    entry: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    log: Path,
    on_line: Callable[[str], None] | None = None,
) -> None:
    """Run one of nnU-Net's entry points, or a function that calls them, and wait for it.

    Args:
        entry: "module:function"; it reads its arguments from ``sys.argv``.
        arguments: its command line.
        environment: of the process.
        log: everything it prints is appended to this file.
        on_line: called with each line it prints.

    Raises:
        InputError: it failed; the message is its last line and where the log lies.
    """
    module, function = entry.split(":")
    here = f"from {end_with_parent.__module__} import end_with_parent; end_with_parent()"
    command = [sys.executable, "-c", f"{here}; from {module} import {function}; {function}()", *arguments]
    log.parent.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        command,
        env=dict(environment),
        stdin=subprocess.PIPE,  # see end_with_parent
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    last: deque[str] = deque(maxlen=_KEPT_LINES)
    try:
        with log.open("a", encoding="utf-8") as file:
            for line in _lines(process):
                with contextlib.suppress(OSError):  # a full disk must not hide the reason from the user
                    file.write(line + "\n")
                    file.flush()
                if line.strip():
                    last.append(line.strip())
                if on_line is not None:
                    on_line(line)
    finally:
        _end(process)
    if process.returncode:
        raise InputError(f"nnU-Net ({function}) failed: {_why(process.returncode, last)}; all it printed is in {log}")


def _lines(process: subprocess.Popen[str]) -> Iterator[str]:
    """The lines a process prints, until it has ended; a worker it leaves behind does not keep us waiting."""
    lines: queue.Queue[str | None] = queue.Queue()
    stream = process.stdout
    assert stream is not None

    def read() -> None:
        with contextlib.suppress(ValueError, OSError):  # closed under the reader when the process is ended
            for line in stream:
                lines.put(line.rstrip("\n"))
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            if process.poll() is not None:
                _end(process)
            continue
        if line is None:
            process.wait()
            return
        yield line


def _end(process: subprocess.Popen[str]) -> None:
    """End the process, if it has not, and every worker it has started."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL if process.poll() is not None else signal.SIGTERM)
    elif process.poll() is None:
        process.terminate()
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _why(code: int, last: Sequence[str]) -> str:
    """One line: the last exception it printed, else its last line; for a signal, which one."""
    if code < 0:
        hint = " (out of memory?)" if -code == signal.SIGKILL else ""
        return f"it was ended by signal {-code}{hint}"
    errors = [line for line in last if _ERROR.match(line)]
    text = (errors or list(last) or ["it printed nothing"])[-1]
    return text[:300].rstrip(" .")
