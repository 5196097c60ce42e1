"""How often a password may be tried: whoever gives wrong ones waits the longer for the next answer."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from medclipsam_monai.web.entry.guard import asks
from medclipsam_monai.web.entry.password import same_password

FREE = 3
"""Wrong passwords that cost no time."""
LONGEST_PAUSE = 64.0
"""Seconds between two answers to a client that gave many."""
FORGOTTEN = 3600.0
"""Seconds after which a client's wrong passwords count no more."""
_MOST_CLIENTS = 10_000
_NETWORK_BITS = 64  # of an IPv6 address, which one visitor has all the rest of


@dataclass
class _Client:
    tried: int = 0
    free_at: float = 0.0


class Attempts:
    """Gives each client a time for its next password; to be used by one thread.

    Args:
        now: seconds of a clock that never goes back.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._clients: OrderedDict[str, _Client] = OrderedDict()

    def take(self, address: str) -> float | None:
        """How many seconds a client has to wait for an answer; it counts as a wrong password until `forget`.

        Args:
            address: of the client.

        Returns:
            None where so many of its passwords wait already that this one gets no answer.
        """
        now, name = self._now(), _network(address)
        client = self._clients.setdefault(name, _Client())
        if now - client.free_at > FORGOTTEN:
            client.tried = 0
        wait = max(client.free_at - now, 0.0)
        if wait > LONGEST_PAUSE:
            return None
        client.tried += 1
        client.free_at = now + wait + _pause(client.tried)
        self._clients.move_to_end(name)
        if len(self._clients) > _MOST_CLIENTS:
            self._clients.popitem(last=False)
        return wait

    def forget(self, address: str) -> None:
        """The password was right."""
        self._clients.pop(_network(address), None)


def _pause(tried: int) -> float:
    """Seconds after so many wrong passwords: 0 for the first ones, then 1, 2, 4, ..."""
    return 0.0 if tried <= FREE else min(2.0 ** min(tried - FREE - 1, 30), LONGEST_PAUSE)


def _network(address: str) -> str:
    """What one visitor's addresses have in common."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if found.version == 4:
        return str(found)
    mapped = found.ipv4_mapped
    return str(mapped or ipaddress.ip_network((int(found), _NETWORK_BITS), strict=False))


def guarded_password(password: str) -> Callable[[str, str], Awaitable[bool]]:
    """What Gradio asks whether a name and a password are right.

    Args:
        password: the right one; any name goes with it.
    """
    from fastapi import HTTPException

    attempts = Attempts()

    async def is_right(_: str, given: str) -> bool:
        address = asks.get()
        wait = attempts.take(address)
        if wait is None:
            raise HTTPException(429, "too many wrong passwords; try again in some minutes")
        await asyncio.sleep(wait)
        if not same_password(given, password):
            return False
        attempts.forget(address)
        return True

    return is_right
