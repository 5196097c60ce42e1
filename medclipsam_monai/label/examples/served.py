"""Examples of the served classes: folders that the server was started with, and the labels that annotators submitted.

A request that asks for examples gets those of each of its classes: first the folder's, then the slices of the images
whose final labels show the class, the most recent first, at most 16 together; of labels never that of the image itself
that is asked about. They are found and encoded anew only where a label, an image or the folder has changed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.memory_cache import MemoryCache
from medclipsam_monai.io.examples import MOST_EXAMPLES, Examples, find_examples, read_examples
from medclipsam_monai.io.records import hash_files, joined_hash
from medclipsam_monai.label.label_files import read_laid
from medclipsam_monai.label.opened_images import file_state, files_of
from medclipsam_monai.label.served_classes import ServedClasses, plain_name
from medclipsam_monai.label.tasks.submitted import Submitted
from medclipsam_monai.label.tasks.training_labels import class_numbers
from medclipsam_monai.prompts import TextTarget, WordlessTarget
from medclipsam_monai.zero_shot.examples.network import ExampleSegmenter
from medclipsam_monai.zero_shot.opened import OpenedImage
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter

EXAMPLE_BYTES = 512 * 1024**2
LABELS = "labels"
"""Of ``--conf examples``: the submitted labels alone."""
_TOKEN_SHARE = 2  # what an encoder keeps of an example takes no more memory than its picture
logger = logging.getLogger(__name__)

Opener = Callable[[Path], OpenedImage]
"""Opens an image as the request says, and keeps it no longer than it is used."""


Pair = tuple[torch.Tensor, torch.Tensor]
"""A picture (3, H, W) in [0, 1], and where in it the class lies (H, W) bool."""


@dataclass(frozen=True)
class _Seen:
    """What was seen of a submitted label.

    Attributes:
        numbers: that it holds, 0 aside.
        sha256: of its image.
        state: of its files; another one once they change.
    """

    numbers: tuple[int, ...]
    sha256: str
    state: str


_Labels = list[tuple[Submitted, _Seen]]


class ServedExamples:
    """Finds the examples of a class, and keeps the networks that were shown them; to be used by one thread at a time.

    Args:
        classes: of the server, by which the numbers of labels are named.

    Attributes:
        folders: of examples, by the plain name of their class.
        labelled: the submitted labels; none where nobody says how to find them.
        by_default: whether a request that does not say so is answered by examples.
    """

    def __init__(self, classes: ServedClasses) -> None:
        self.classes = classes
        self.folders: Mapping[str, Path] = {}
        self.labelled: Callable[[], Sequence[Submitted]] = tuple
        self.by_default = False
        self._seen: dict[Path, tuple[str, _Seen | None]] = {}
        self._shown: MemoryCache[TextSegmenter] = MemoryCache(EXAMPLE_BYTES)

    def use(self, setting: str) -> None:
        """Take folders of examples from a setting of the server.

        Args:
            setting: `LABELS`, "NAME=FOLDER", several with ";" between, or a FOLDER of the server's only class; empty
                for none, and examples only where a request asks for them.

        Raises:
            InputError: a folder that cannot be used, or whose class is not said.
        """
        setting = setting.strip()
        self.by_default = bool(setting)
        self.folders = {} if setting in ("", LABELS) else self._read_folders(setting)
        for folder in self.folders.values():
            find_examples(folder)

    def _read_folders(self, setting: str) -> dict[str, Path]:
        names, folders = self.classes.first_names(), {}
        for part in (part.strip() for part in setting.split(";")):
            name, equals, folder = part.partition("=")
            if not equals and len(names) != 1:
                listed = ", ".join(names)
                raise InputError(f"examples must name the class of a folder, NAME={part}, with one of {listed}")
            folders[plain_name(name if equals else names[0])] = Path(folder if equals else part).expanduser()
        return folders

    def shown(
        self, segmenter: TextSegmenter, target: TextTarget, asked: OpenedImage, window: str | None, opener: Opener
    ) -> tuple[TextSegmenter, TextTarget, int]:
        """The networks with the examples of a class, how it is asked for, and how many examples there are.

        A text that the weights do not know is left out; where there is no example the text stays alone.

        Args:
            segmenter: always the same object for the same networks and settings.
            target: the class, under the name that it is served by.
            asked: the image that is asked about, which is no example.
            window: of the request.
            opener: of other images.
        """
        folder = self.folders.get(plain_name(target.name))
        room = MOST_EXAMPLES - (len(find_examples(folder)) if folder else 0)
        labels = self._labels(target, asked.sha256, room, opener)
        if not labels and folder is None:
            return segmenter, target, 0
        states = [f"{seen.state} {one.label_info}" for one, seen in labels]
        key = (segmenter, plain_name(target.name), window, asked.slice_axis, _folder_state(folder), *states)
        found = self._shown.get(key)
        if found is None:
            given = None if folder is None else read_examples(folder, window)
            try:
                examples = _joined(given, self._pairs(labels, target, room, opener), labels)
            except InputError as error:  # such as labels that leave no background anywhere
                logger.warning("a class is asked for without its examples: %s", type(error).__name__)
                return segmenter, target, 0
            found = segmenter.with_examples(examples)
            size = sum(picture.untyped_storage().nbytes() for picture in examples.pictures)
            self._shown.put(key, found, _TOKEN_SHARE * size)
        return found, _known_words(segmenter, target), len(cast(ExampleSegmenter, found.network).examples)

    def _labels(self, target: TextTarget, but: str, room: int, opener: Opener) -> _Labels:
        """The most recent labels that show a class; of those of one second, the first by name."""
        found: _Labels = []
        submitted = sorted(self.labelled(), key=lambda one: (-one.when, str(one.image)))
        self._seen = {one.label: self._seen[one.label] for one in submitted if one.label in self._seen}
        for one in submitted:
            if len(found) == room:
                break
            seen = self._see(one, opener)
            if seen is not None and seen.sha256 != but and self._mask(np.array(seen.numbers), one, target).any():
                found.append((one, seen))
        return found

    def _see(self, one: Submitted, opener: Opener) -> _Seen | None:
        """What a label holds, read once; None where it cannot be read."""
        try:
            state = file_state(*files_of(one.image), one.label)
        except OSError:  # it is gone meanwhile
            return None
        kept = self._seen.get(one.label)
        if kept is None or kept[0] != state:
            kept = self._seen[one.label] = (state, self._read(one, state, opener))
        return kept[1]

    def _read(self, one: Submitted, state: str, opener: Opener) -> _Seen | None:
        try:
            image = opener(one.image)
            numbers = tuple(int(number) for number in np.unique(read_laid(one.label, image.geometry)) if number)
            return _Seen(numbers, image.sha256, state)
        except InputError as error:
            logger.warning("a submitted label cannot be an example: %s", type(error).__name__)
            return None

    def _mask(self, labels: np.ndarray, one: Submitted, target: TextTarget) -> np.ndarray:
        """Where a label shows a class: bool, of the shape of the label; nowhere where it says nothing of the class."""
        names, first = self.classes.names(), self.classes.first_names()
        try:
            return np.asarray(class_numbers(labels, one.label_info, [target.name], names, first) == 1)
        except InputError:
            return np.zeros(labels.shape, bool)

    def _pairs(self, labels: _Labels, target: TextTarget, room: int, opener: Opener) -> Iterator[Pair]:
        """The examples that labels give: a picture one, a volume its share of the room, evenly over its slices."""
        share = room // max(len(labels), 1)
        for one, _ in labels:
            image = opener(one.image)
            mask = torch.from_numpy(self._mask(read_laid(one.label, image.geometry), one, target))
            if mask.ndim == 2:
                yield image.display, mask
                continue
            there = mask.any(dim=0).any(dim=0).nonzero().flatten()
            count = min(share, len(there))
            for k in range(count):
                number = int(there[(2 * k + 1) * len(there) // (2 * count)])
                yield image.display[..., number].clone(), mask[..., number].clone()


def _folder_state(folder: Path | None) -> str:
    if folder is None:
        return ""
    files = [file for source, mask in find_examples(folder) for file in (*source.files, mask)]
    try:
        return file_state(*files)
    except OSError as error:
        raise InputError(f"{folder}: cannot be read: {error.strerror or error}") from error


def _joined(given: Examples | None, pairs: Iterable[Pair], labels: _Labels) -> Examples:
    """The examples of a folder and those of labels; their hash is that of the folder and of the labels' files."""
    every = [*([] if given is None else given.pairs), *pairs]
    digests = [joined_hash([seen.sha256, hash_files([one.label])]) for one, seen in labels]
    pictures, masks = zip(*every, strict=True)
    return Examples(pictures, masks, joined_hash([*([] if given is None else [given.sha256]), *digests]))


def _known_words(segmenter: TextSegmenter, target: TextTarget) -> TextTarget:
    """A class by its text, without words where the weights are known not to know them."""
    (nearest,) = segmenter.request([target]).nearest
    return target if nearest is None or nearest.familiar else WordlessTarget(target.name)
