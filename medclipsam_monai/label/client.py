"""Annotate without a viewer: the server's next image, its mask by text, the label submitted, then training, and again.

A client needs no MONAI Label, only the address of a server.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import requests

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import write_atomically
from medclipsam_monai.io.label_maps import find_given
from medclipsam_monai.prompts import parse_targets

_BUSY = 429  # a task of the kind runs already
_RUNNING = ("SUBMITTED", "RUNNING")


class LabelClient:
    """The routes of a MONAI Label server that the loop needs.

    Args:
        url: of the server.
        timeout: seconds to wait for an answer.
    """

    def __init__(self, url: str = "http://127.0.0.1:8000", timeout: float = 600) -> None:
        self.url, self.timeout = url.rstrip("/"), timeout

    def next_image(self, strategy: str) -> str | None:
        """The id of the image to label next, None when all are labelled.

        Raises:
            InputError: the server cannot be reached, or refuses; so do all calls.
        """
        return self._call("POST", f"activelearning/{strategy}", json={}).json().get("id")

    def infer(self, image: str, folder: Path, model: str = "text", **params: Any) -> Path:
        """Segment an image and write the mask into a folder, under the image's id.

        Args:
            image: id.
            folder: where to.
            model: "text", or "weak" once there is an ensemble.
            params: the task's options, such as text="lungs; heart".
        """
        answer = self._call(
            "POST", f"infer/{model}", params={"image": image, "output": "image"}, data={"params": json.dumps(params)}
        )
        path = folder / f"{Path(image).name}{_suffix(answer)}"
        return write_atomically(path, lambda part: part.write_bytes(answer.content))

    def submit(self, image: str, label: Path, names: Sequence[str] = ()) -> str:
        """Save a finished label; returns its id.

        Args:
            image: id.
            label: the file.
            names: class ``names[i]`` has the number i + 1 in it. Without them the numbers are those of the server's
                classes, as in the masks that it sends.
        """
        files = {"label": (label.name, label.read_bytes())}
        said = [{"name": name, "idx": number} for number, name in enumerate(names, start=1)]
        form = {"params": json.dumps({"label_info": said})} if said else {}
        answer = self._call("PUT", "datastore/label", params={"image": image}, data=form, files=files)
        return str(answer.json()["label"])

    def train(self, model: str = "weak", **params: Any) -> dict[str, Any]:
        """Train and wait for the end; returns the task's status.

        Raises:
            InputError: also if the training failed; the message is its last line.
        """
        self._call("POST", f"train/{model}", json=params)
        return self._wait("train")

    def score(self, method: str, **params: Any) -> dict[str, Any]:
        """Score all images and wait for the end; where a scoring runs already, that is waited for first.

        Raises:
            InputError: also if the scoring failed.
        """
        route = f"scoring/{method}"
        while (answer := self._send("POST", route, json=params)).status_code == _BUSY:
            self._wait("scoring")
        self._checked(route, answer)
        return self._wait("scoring")

    def _wait(self, task: str) -> dict[str, Any]:
        shown = ""
        while True:
            status: dict[str, Any] = self._call("GET", f"{task}/").json()
            line = (status.get("details") or [""])[-1]
            if status["status"] not in _RUNNING:
                break
            if line != shown:
                print(f"  {line}", flush=True)
                shown = line
            time.sleep(0.5)
        if status["status"] != "DONE":
            raise InputError(f"{task} ended as {status['status']}: {line}")
        return status

    def _call(self, verb: str, route: str, **arguments: Any) -> requests.Response:
        return self._checked(route, self._send(verb, route, **arguments))

    def _checked(self, route: str, answer: requests.Response) -> requests.Response:
        if not answer.ok:
            raise InputError(f"{self.url}/{route} answered {answer.status_code}: {_detail(answer)}")
        return answer

    def _send(self, verb: str, route: str, **arguments: Any) -> requests.Response:
        try:
            return requests.request(verb, f"{self.url}/{route}", timeout=self.timeout, **arguments)
        except requests.RequestException as error:
            raise InputError(
                f"no answer from {self.url} ({type(error).__name__}); "
                "start the server with: medclipsam label serve IMAGES"
            ) from error


def _detail(answer: requests.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return answer.reason


def _suffix(answer: requests.Response) -> str:
    """Of the file that the server sent."""
    found = re.search(r'filename="?[^";]*?(\.nii\.gz|\.\w+)"?$', answer.headers.get("content-disposition", ""))
    return found.group(1) if found else ".png"


def annotate(
    client: LabelClient, text: str, count: int, output: Path, strategy: str, masks: Path | None = None
) -> list[str]:
    """Label up to ``count`` images; returns their ids, fewer if no more are left.

    Args:
        client: of the server.
        text: what to segment.
        count: of images.
        output: folder for the masks by text.
        strategy: by which the server chooses.
        masks: folder of true masks under the images' ids, numbered by the text's classes; None to let a human correct
            each mask.

    Raises:
        InputError: the server refuses, or an image has no mask.
    """
    names = [target.name for target in parse_targets([part for part in text.split(";") if part.strip()])]
    done: list[str] = []
    while len(done) < count:
        image = client.next_image(strategy)
        if image is None:
            break
        mask = client.infer(image, output, text=text)
        label = _correct(mask) if masks is None else find_given(masks, [image])[image]
        client.submit(image, label, () if masks is None else names)
        print(f"{image}: {label}", flush=True)
        done.append(image)
    return done


def _correct(mask: Path) -> Path:
    answer = input(f"{mask}: correct it in place, then press Enter (or type the path of another label): ")
    path = Path(answer.strip()).expanduser() if answer.strip() else mask
    if not path.is_file():
        raise InputError(f"{path} is no file; expected a label")
    return path


def run_rounds(
    client: LabelClient,
    text: str,
    rounds: int = 1,
    labels: int = 4,
    output: Path = Path("label_client"),
    strategy: str = "mixed",
    masks: Path | None = None,
    train_options: Mapping[str, Any] | None = None,
) -> None:
    """Score, label and train, round by round, until no image is left; prints how it goes.

    Args:
        client: of the server.
        text: what to segment, as in a viewer: "lungs; heart".
        rounds: how often to train.
        labels: images to label before each training.
        output: see `annotate`.
        strategy: see `annotate`.
        masks: see `annotate`.
        train_options: of the training, see the server's "trainers" in /info.

    Raises:
        InputError: the server refuses, or an image has no mask.
    """
    client.score("prompt_disagreement", text=text)
    for number in range(1, rounds + 1):
        done = annotate(client, text, labels, output, strategy, masks)
        print(f"round {number}: {len(done)} labelled", flush=True)
        if not done:
            break
        client.train(text=text, **(train_options or {}))
        client.score("ensemble_entropy")
