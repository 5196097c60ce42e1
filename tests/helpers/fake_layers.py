"""Image layers as napari has them, without napari."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class FakeLayer:
    """What the plugin reads of an image layer."""

    data: Any
    matrix: np.ndarray | None = None
    rgb: bool = False
    multiscale: bool = False
    units: tuple[str, ...] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    name: str = "layer"

    @property
    def ndim(self) -> int:
        data = self.data[0] if self.multiscale else self.data
        return len(data.shape) - self.rgb

    def data_to_world(self, index: np.ndarray) -> tuple[float, ...]:
        matrix = np.eye(self.ndim + 1) if self.matrix is None else self.matrix
        return tuple(matrix[:-1, :-1] @ index + matrix[:-1, -1])
