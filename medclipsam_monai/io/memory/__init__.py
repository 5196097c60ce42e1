"""Images that are in memory already: arrays, tensors, and the images of Pillow, nibabel, SimpleITK and ITK.

They become the same `StoredImage` that a file does, so that what a file would be refused for, they are refused for.
"""

from __future__ import annotations

from medclipsam_monai.io.memory.read import read_memory

__all__ = ["read_memory"]
