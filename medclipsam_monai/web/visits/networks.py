"""The networks of a server: loaded once, shared by all visitors, with one bound of memory for what they make."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from typing import Any

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.memory_cache import MemoryCache
from medclipsam_monai.presets import Preset, load_preset, preset_names
from medclipsam_monai.web.visits.jobs import Turns
from medclipsam_monai.web.visits.question import Question
from medclipsam_monai.weights.registry import HUB_PREFIX, resolve
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter

_LOADED = 2  # presets whose weights stay in memory
_TUNED = 64  # segmenters with other settings; they share their weights
_KINDS = {"tokens": "the picture's tokens", "embedding": "SAM's embedding", "saliency": "saliency"}


class NotingCache(MemoryCache[Any]):
    """A memory that notes which kinds of things were made anew, see `EncodedImages`; for one job at a time."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(max_bytes)
        self._made = threading.local()

    def put(self, key: Hashable, value: Any, size: int) -> None:
        """See `MemoryCache`."""
        what = key[-1] if isinstance(key, tuple) else None
        if isinstance(what, tuple) and what[0] in _KINDS:
            self.made.add(what[0])
        super().put(key, value, size)

    @property
    def made(self) -> set[str]:
        """Kinds of what this thread made since it last cleared this."""
        if not hasattr(self._made, "kinds"):
            self._made.kinds = set()
        kinds: set[str] = self._made.kinds
        return kinds

    def told(self) -> tuple[str, ...]:
        """The same in words."""
        return tuple(words for kind, words in _KINDS.items() if kind in self.made)


class Networks:
    """Segmenters by preset, task and settings.

    Args:
        preset: the one that is offered first, a name or a JSON file.
        device: see `resolve_device`.
        memory_bytes: for what the networks make of all images that are open.

    Raises:
        InputError: a preset or weights that are not there.
    """

    def __init__(self, preset: str, device: str = "auto", memory_bytes: int = 1024**3) -> None:
        self.first, self.device = preset, device
        self.turns = Turns()
        self.memory = NotingCache(memory_bytes)
        self.presets: Mapping[str, Preset] = {
            name: found for name in dict.fromkeys([preset, *preset_names()]) if (found := _there(name, name == preset))
        }
        self._loaded: OrderedDict[str, TextSegmenter] = OrderedDict()
        self._tuned: OrderedDict[Hashable, TextSegmenter] = OrderedDict()

    def preset(self, question: Question) -> Preset:
        """A question's preset, with its task.

        Raises:
            InputError: it is not offered, or has no such task.
        """
        return offered_preset(question.preset, self.presets).for_task(question.task or None)

    def segmenter(self, question: Question) -> TextSegmenter:
        """The segmenter of a question; to be called by the job whose turn it is.

        Raises:
            InputError: a setting that cannot be.
        """
        plain = self.preset(question)
        preset = plain.with_settings(question.changes(plain))
        key = (question.preset, question.task, repr(preset.settings.values))
        if key not in self._tuned:
            loaded = self._load(question.preset)
            made = TextSegmenter(loaded.network.using(preset.settings), preset, loaded.weights)
            self._tuned[key] = same_known(made, loaded)
            while len(self._tuned) > _TUNED:
                self._tuned.popitem(last=False)
        self._tuned.move_to_end(key)
        return self._tuned[key]

    def _load(self, name: str) -> TextSegmenter:
        if name not in self._loaded:
            while len(self._loaded) >= _LOADED:
                old, _ = self._loaded.popitem(last=False)
                for key in [key for key in self._tuned if isinstance(key, tuple) and key[0] == old]:
                    del self._tuned[key]
            self._loaded[name] = TextSegmenter.from_preset(self.presets[name], self.device)
        self._loaded.move_to_end(name)
        return self._loaded[name]


def offered_preset(name: str, presets: Mapping[str, Preset]) -> Preset:
    """A preset by its name.

    Raises:
        InputError: it is not offered.
    """
    if name not in presets:
        raise InputError(f"preset must be one of {', '.join(presets)}, got {name!r}")
    return presets[name]


def same_known(made: TextSegmenter, of: TextSegmenter) -> TextSegmenter:
    """A segmenter of the same weights: what they know is not encoded again for each of its settings."""
    made.known = of.known
    return made


def _there(name: str, needed: bool) -> Preset | None:
    """A preset whose weights are on this machine; None where they are not, unless it is needed."""
    try:
        preset = load_preset(name)
        for weights in (preset.clip, preset.sam):
            if not needed and weights.startswith(HUB_PREFIX):
                return None
            resolve(weights)
    except InputError:
        if needed:
            raise
        return None
    return preset
