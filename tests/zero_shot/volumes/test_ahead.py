"""Items made in another thread, one ahead of what is used."""

from __future__ import annotations

import threading

import pytest

from medclipsam_monai.zero_shot.volumes.ahead import ahead


def test_items_keep_their_order_and_are_made_in_another_thread():
    threads = []

    def made():
        for number in range(5):
            threads.append(threading.current_thread())
            yield number

    assert list(ahead(made())) == [0, 1, 2, 3, 4]
    assert len(set(threads)) == 1 and threads[0] is not threading.current_thread()
    assert list(ahead([])) == []


def test_one_is_made_while_the_one_before_it_is_used_and_no_more():
    started = [threading.Event() for _ in range(4)]

    def made():
        for number, event in enumerate(started):
            event.set()
            yield number

    items = ahead(made())
    assert next(items) == 0
    assert started[1].wait(10), "the second is made while the first is used"
    assert not started[2].wait(0.2)
    assert next(items) == 1 and started[2].wait(10)
    items.close()
    assert not started[3].wait(0.2)


def test_what_goes_wrong_is_raised_in_its_place():
    def made():
        yield 1
        raise ValueError("no third hand")

    items = ahead(made())
    assert next(items) == 1
    with pytest.raises(ValueError, match="no third hand"):
        next(items)
