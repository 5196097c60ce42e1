"""One ``device`` setting for the whole package."""

from __future__ import annotations

import torch

from medclipsam_monai.errors import InputError


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """The device asked for, and no other.

    Args:
        device: "auto" (the first of cuda, mps and cpu that is there), or a name such as "cpu", "cuda:1", "mps".

    Raises:
        InputError: if the device is not there.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        wanted = torch.device(device)
        torch.empty(1, device=wanted)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"device {str(device)!r} is not available here; expected auto, cpu, cuda or mps") from error
    return wanted
