"""The numbers that the small valid files hold."""

from __future__ import annotations

from typing import Any

import numpy as np

OBLIQUE = np.array([[-1.4, 0.2, 0.1, 30], [0.2, 1.9, -0.3, -20], [0.15, 0.28, 2.9, 5], [0, 0, 0, 1]])
"""An affine that is along no axis."""


def numbers(shape: tuple[int, ...], kind: Any) -> np.ndarray:
    """Smooth values with noise, negative ones too where the type has them."""
    rng = np.random.default_rng(7)
    ramp = np.add.outer(np.linspace(0, 60, shape[0]), np.linspace(0, 40, shape[1]))
    ramp = ramp.reshape(*shape[:2], *[1] * (len(shape) - 2)) + rng.integers(0, 20, shape)
    return (ramp - (50 if np.issubdtype(kind, np.signedinteger) else 0)).astype(kind)
