"""Names of devices, refused before torch is imported where no device can have them."""

from __future__ import annotations

import re

from medclipsam_monai.base.errors import InputError


def check_device_name(name: str) -> None:
    """Refuse a name that no device has; whether the device is there says `resolve_device`.

    Raises:
        InputError: with the names that there are.
    """
    if not re.fullmatch(r"(auto|cpu|cuda|mps|xpu)(:\d+)?", name):
        raise InputError(f"device {name!r} is not available here; expected auto, cpu, cuda or mps")
