"""The images that requests asked about last, kept open: another text or a click reads and encodes nothing again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.memory_cache import MemoryCache
from medclipsam_monai.zero_shot.opened import OpenedImage
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter

_IMAGE_BYTES = 2**16  # what an open image takes beside its pixels, at most


class OpenedImages:
    """Opens images, and finds those again that are open; not to be used by two threads at once.

    Args:
        image_bytes: most memory for the images: 4 bytes a pixel or voxel, 12 in colour. One that takes more is not
            kept.
        network_bytes: most memory for what the networks made of them.
    """

    def __init__(self, image_bytes: int, network_bytes: int) -> None:
        self.images: MemoryCache[OpenedImage] = MemoryCache(image_bytes)
        self.made: MemoryCache[object] = MemoryCache(network_bytes)

    def open(
        self,
        segmenter: TextSegmenter,
        path: str | Path,
        window: str | None = None,
        slice_axis: str = "acquired",
        keep: bool = True,
    ) -> OpenedImage:
        """An image as its files are now, read where it is not open already.

        Args:
            segmenter: whose weights it will be seen by; other settings of the same weights share the image.
            path: a file, or the folder of a DICOM series.
            window: see `DisplayRange`.
            slice_axis: see `TextSegmenter.open`.
            keep: leave it open, and what the networks make of it too. Without it an image that is open is taken all
                the same; for passes over all images, which would push out the one that somebody works on.

        Raises:
            InputError: an image that cannot be used.
        """
        weights = tuple(sorted(segmenter.weights.items()))
        try:  # before it is read: a change meanwhile is another state
            files = files_of(Path(path))
            key = (file_state(*files), window, slice_axis, weights)
        except OSError as error:
            raise InputError(f"{path}: cannot be opened: {error.strerror or error}") from error
        opened = self.images.get(key)
        if opened is None:
            memory = self.made if keep else MemoryCache[object](0)
            opened = segmenter.open(path, window, slice_axis, memory=memory)
            known = set(opened.files) <= set(files)  # else its voxels lie beside it, of which the state says nothing
            if keep and known:
                self.images.put(key, opened, opened.display.untyped_storage().nbytes() + _IMAGE_BYTES)
        return opened


def files_of(path: Path) -> Sequence[Path]:
    """The file, or all files below a folder."""
    return sorted(found for found in path.rglob("*") if found.is_file()) if path.is_dir() else (path,)


def file_state(*files: Path) -> str:
    """A hash of what a file system says of files; it is another one once their content is.

    Raises:
        OSError: one is not there.
    """
    digest = hashlib.sha256()
    for file in files:
        stat = file.stat()
        stamp = (str(file), stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        digest.update(f"{stamp}\n".encode())
    return digest.hexdigest()
