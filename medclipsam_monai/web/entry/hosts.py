"""Names of hosts: whether only this machine reaches one, and what a request says of them."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

_LOCAL_NAMES = ("localhost", "localhost.localdomain")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address to listen on."""
    if host.lower() in _LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def name_of(host: str) -> str:
    """A host header without its port; "" of what is none."""
    try:
        return urlsplit(f"//{host}").hostname or "" if "/" not in host and "@" not in host else ""
    except ValueError:  # such as a bracket that is not closed
        return ""


def place_of(origin: str) -> str | None:
    """The host and port of an origin header; None of what is none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None
