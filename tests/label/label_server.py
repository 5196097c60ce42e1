"""A real MONAI Label server for the tests, on loopback, and the phantoms it serves."""

from __future__ import annotations

import io
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import requests
from PIL import Image

from medclipsam_monai.label.server.app_folder import write_app_folder
from medclipsam_monai.phantoms import make_phantom

START_SECONDS = 600  # a busy machine takes minutes to import everything
FIRST_SEED = 3_300_000


def write_phantoms(folder: Path, count: int, side: int = 64) -> dict[str, np.ndarray]:
    """Small chest X-ray phantoms as ``IMAGE.png``; returns masks of the lungs (rows, columns) by image."""
    folder.mkdir(parents=True, exist_ok=True)
    masks: dict[str, np.ndarray] = {}
    phantoms = (make_phantom("chest_xray", seed) for seed in itertools.count(FIRST_SEED))
    while len(masks) < count:
        phantom = next(phantoms)
        if {"lungs", "heart"} <= set(phantom.masks):
            step = phantom.image.shape[0] // side
            name = f"image_{len(masks)}"
            pixels = (255 * phantom.image[::step, ::step]).round().astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{name}.png")
            masks[name] = phantom.masks["lungs"][::step, ::step].astype(np.uint8)
    return masks


def as_png(pixels: np.ndarray) -> bytes:
    """An array as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


class LabelServer:
    """A started server; `stop` ends it and everything it started.

    Args:
        app: folder of the app; written if it is not there.
        studies: folder of images.
        app_conf: settings of the app.
    """

    def __init__(self, app: Path, studies: Path, **app_conf: str) -> None:
        self.app, self.studies = app, studies
        app.mkdir(parents=True, exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        words = [word for name, value in app_conf.items() for word in ("--conf", name, value)]
        self.log = app.with_suffix(".log")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.command(), "--port", str(self.port), *words],
                env={
                    **os.environ,
                    "LABEL_APP": str(app),
                    "MONAI_LABEL_AUTO_UPDATE_SCORING": "false",
                    "MONAI_LABEL_SESSION_PATH": str(app / "sessions"),
                    "MEDCLIPSAM_HOME": str(app / "weights"),
                    "NO_PROXY": "127.0.0.1",
                },
                stdout=log,
                stderr=log,
                cwd=app,
            )
        self._wait_until_up()

    def command(self) -> list[str]:
        """What starts the server, without its port and settings."""
        if not (self.app / "main.py").is_file():
            write_app_folder(self.app)
        places = ["--app", str(self.app), "--studies", str(self.studies), "--host", "127.0.0.1"]
        return [sys.executable, "-m", "monailabel.main", "start_server", *places]

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                requests.get(f"{self.url}/info/", timeout=START_SECONDS)
                return
            except requests.ConnectionError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise RuntimeError(f"the server did not start:\n{self.log.read_text()[-3000:]}") from None
                time.sleep(0.2)

    def stop(self) -> None:
        """End the server and what it started."""
        for process in [*self.children(), psutil.Process(self.process.pid)] if self.process.poll() is None else []:
            process.kill()
        self.process.wait()

    def addresses(self) -> set[str]:
        """The addresses on which the server listens."""
        found = [psutil.Process(self.process.pid), *self.children()]
        connections = [connection for process in found for connection in process.net_connections("tcp")]
        return {connection.laddr.ip for connection in connections if connection.status == psutil.CONN_LISTEN}

    def kill(self) -> list[psutil.Process]:
        """Kill the server alone, as a crash would, and name the processes that it had started."""
        children = self.children()
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        return children

    def children(self) -> list[psutil.Process]:
        """Every process that the server has started."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def info(self) -> dict[str, Any]:
        return requests.get(f"{self.url}/info/").json()

    def infer(
        self, model: str, image: str, output: str = "json", files: Any = None, **params: Any
    ) -> requests.Response:
        return requests.post(
            f"{self.url}/infer/{model}",
            params={"image": image, "output": output},
            data={"params": json.dumps(params)},
            files=files,
        )

    def mask(self, model: str, image: str, **params: Any) -> np.ndarray:
        """The mask of a picture, as the server sends it."""
        answer = self.infer(model, image, output="image", **params)
        assert answer.status_code == 200, answer.text
        with Image.open(io.BytesIO(answer.content)) as picture:
            return np.asarray(picture)

    def save_label(self, image: str, content: bytes, name: str = "label.png", **params: Any) -> requests.Response:
        return requests.put(
            f"{self.url}/datastore/label",
            params={"image": image},
            data={"params": json.dumps(params)},
            files={"label": (name, content)},
        )

    def add_image(self, image: str, content: bytes, name: str = "image.png") -> requests.Response:
        return requests.put(f"{self.url}/datastore/image", params={"image": image}, files={"file": (name, content)})

    def train(self, enqueue: bool = False, **params: Any) -> requests.Response:
        return requests.post(f"{self.url}/train/weak", params={"enqueue": enqueue}, json=params)

    def wait_for_training(self, until: Any = None) -> dict[str, Any]:
        """The status once the training has ended, or once ``until(status)`` holds."""
        while True:
            status = requests.get(f"{self.url}/train/").json()
            if status["status"] not in ("SUBMITTED", "RUNNING") or (until is not None and until(status)):
                return status
            time.sleep(0.2)
