"""Which images of a table are kept for testing."""

from __future__ import annotations

import hashlib


def is_held_out(name: str, share: float) -> bool:
    """Whether an image is kept for testing; depends on its name alone, and a greater share holds the smaller one."""
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 2**32 < share
