"""DICOM's display mappings, values of interest (VOI), as PS3.3 C.11.2 and C.11.2.1.3 define them.

A mapping travels in an image's meta data under "voi" as JSON text, which passes through every data loader:
``{"function": "LINEAR" | "LINEAR_EXACT" | "SIGMOID", "windows": [[centre, width], ...], "axis": 2}``, with one window,
or one for each position along that axis of the picture; or ``{"function": "TABLE", "x": [...], "y": [...]}``, the
corners of a curve from values to [0, 1].
"""

from __future__ import annotations

import json

import numpy as np
import torch
from torch import Tensor

__all__ = ["apply_voi"]


def apply_voi(values: Tensor, text: str) -> Tensor:
    """Map values to [0, 1].

    Args:
        values: (C, H, W) or (C, H, W, D), any numbers.
        text: the mapping, see above. Where it has another number of windows than the picture has positions, as after
            cropping, the middle one is used for all.

    Returns:
        float32 of the same shape; NaN becomes 0.
    """
    voi = json.loads(text)
    numbers = values.double()
    if voi["function"] == "TABLE":
        mapped = torch.from_numpy(np.interp(numbers.cpu().numpy(), voi["x"], voi["y"])).to(values.device)
        return mapped.nan_to_num_(nan=0.0).float()
    windows = torch.tensor(voi["windows"], dtype=torch.float64, device=values.device)
    axis = voi.get("axis", 2) + 1
    if len(windows) > 1 and (axis >= values.ndim or values.shape[axis] != len(windows)):
        windows = windows[len(windows) // 2][None]
    shape = [1] * values.ndim
    shape[axis if len(windows) > 1 else 0] = len(windows)
    centre, width = (part.reshape(shape) for part in windows.unbind(dim=1))
    if voi["function"] == "SIGMOID":
        mapped = torch.sigmoid(4 * (numbers - centre) / width)
    elif voi["function"] == "LINEAR_EXACT":
        mapped = (numbers - centre) / width + 0.5
    else:  # a width of 1 is a step: what is above the centre less a half is white
        mapped = (numbers - (centre - 0.5)) / (width - 1).clamp(min=1e-9) + 0.5
    return mapped.nan_to_num_(nan=0.0, posinf=1.0, neginf=0.0).clamp_(0, 1).float()
