"""Values within a bound of memory."""

from __future__ import annotations

import sys
import threading

import pytest

from medclipsam_monai.base.memory_cache import MemoryCache


def test_the_longest_unused_value_goes_first():
    cache: MemoryCache[str] = MemoryCache(10)
    for key in "ab":
        cache.put(key, key, 5)
    assert cache.get("a") == "a"
    cache.put("c", "c", 5)
    assert [cache.get(key) for key in "abc"] == ["a", None, "c"]
    cache.put("d", "d", 11)
    assert cache.get("d") is None and cache.bytes == 10


def test_what_an_owner_has_is_forgotten_and_nothing_else():
    cache: MemoryCache[int] = MemoryCache(100)
    mine, other = object(), object()
    for owner in (mine, other):
        for part in range(3):
            cache.put((owner, part), part, 10)
    cache.forget(mine)
    assert cache.bytes == 30
    assert [cache.get((mine, part)) for part in range(3)] == [None] * 3
    assert [cache.get((other, part)) for part in range(3)] == [0, 1, 2]


def test_threads_that_put_and_forget_leave_the_count_right():
    cache: MemoryCache[int] = MemoryCache(50)
    failed: list[Exception] = []

    def work(owner: object) -> None:
        try:
            for number in range(3000):
                cache.put((owner, number % 7), number, 3)
                cache.get((owner, number % 5))
                if number % 11 == 0:
                    cache.forget(owner)
            cache.forget(owner)
        except Exception as error:
            failed.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(object(),)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert failed == [] and cache.bytes == 0


def test_a_bound_below_zero_is_refused():
    with pytest.raises(ValueError, match="must not be negative, got -1"):
        MemoryCache(-1)
