"""Values that may be needed again, within a bound of memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class MemoryCache(Generic[Value]):
    """The most recently used values within a bound of memory; may be used from several threads.

    Args:
        max_bytes: all values together.

    Raises:
        ValueError: a bound below 0.
    """

    def __init__(self, max_bytes: int) -> None:
        if max_bytes < 0:
            raise ValueError(f"max_bytes must not be negative, got {max_bytes}")
        self.max_bytes = max_bytes
        self.hits = self.misses = self.bytes = 0
        self._kept: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self._lock = threading.RLock()  # a finalizer may call `forget` within any other call

    def get(self, key: Hashable) -> Value | None:
        """The value of a key, or None if it is not there (any more)."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is None:
                self.misses += 1
                return None
            self.hits += 1
            self._kept.move_to_end(key)
            return kept[0]

    def put(self, key: Hashable, value: Value, size: int) -> None:
        """Keep a value of ``size`` bytes; the longest unused ones that have no room beside it go."""
        with self._lock:
            if key in self._kept or size > self.max_bytes:
                return
            while self.bytes + size > self.max_bytes:
                self._drop(next(iter(self._kept)))
            self._kept[key] = (value, size)
            self.bytes += size

    def forget(self, owner: object) -> None:
        """Drop the values whose keys are tuples that begin with ``owner``."""
        with self._lock:
            for key in list(self._kept):
                if isinstance(key, tuple) and key[0] is owner:
                    self._drop(key)

    def _drop(self, key: Hashable) -> None:
        _, size = self._kept.pop(key, (None, 0))
        self.bytes -= size
