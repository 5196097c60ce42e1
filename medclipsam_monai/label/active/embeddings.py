"""CLIP's embeddings of the datastore's images, by which unlike ones are told apart; computed once, kept in a file."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import write_atomically
from medclipsam_monai.label.active.judged_slices import judged_slices
from medclipsam_monai.label.models import ServedModels
from medclipsam_monai.presets import DEFAULT_PRESET
from medclipsam_monai.zero_shot.opened import OpenedImage
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter

logger = logging.getLogger(__name__)


def image_embedding(opened: OpenedImage, segmenter: TextSegmenter | None = None) -> Tensor:
    """An image as the CLIP's unit vector (E,) on the CPU; of a volume the mean over some slices, see `judged_slices`.

    Args:
        opened: the image.
        segmenter: with other settings; None for the image's own.
    """
    vectors = torch.cat([picture.vectors() for picture in judged_slices(opened, segmenter)])
    return F.normalize(vectors.mean(dim=0), dim=0).cpu()


def file_key(path: str | Path) -> str:
    """Of a file, or a folder, as it is now: another one once its path, size or time change. Names no file."""
    stat = Path(path).stat()
    stamp = f"{Path(path).absolute()} {stat.st_size} {stat.st_mtime_ns}"
    return hashlib.sha256(stamp.encode()).hexdigest()


class EmbeddingFile:
    """Vectors by key in one safetensors file, which several processes may add to.

    Args:
        path: of the file; it need not be there yet. One that is damaged, or of another network, counts as empty: what
            it held is computed again.
        network: hash of the weights that the vectors are from.
    """

    def __init__(self, path: str | Path, network: str) -> None:
        self.path, self.network = Path(path), network

    def read(self) -> dict[str, Tensor]:
        """All vectors."""
        if not self.path.is_file():
            return {}
        try:
            with safe_open(self.path, "pt") as file:
                if (file.metadata() or {}).get("network") != self.network:
                    return {}
                return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError):
            logger.warning("%s is damaged: the embeddings are computed again", self.path.name)
            return {}

    def add(self, vectors: Mapping[str, Tensor]) -> None:
        """Put vectors beside those that are there.

        Raises:
            InputError: the file cannot be written.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.path}.lock"):
            content = {**self.read(), **{key: vector.contiguous() for key, vector in vectors.items()}}
            write_atomically(self.path, lambda part: save_file(content, part, {"network": self.network}))


class ImageEmbeddings:
    """The embeddings of a datastore's images, from the file where they are there and by the CLIP where they are not.

    Args:
        models: the networks; the file lies in their folder.
        preset: whose CLIP.
    """

    def __init__(self, models: ServedModels, preset: str = DEFAULT_PRESET) -> None:
        self.models, self.preset = models, preset

    def of(self, datastore: Any, images: Sequence[str]) -> dict[str, Tensor]:
        """The embedding (E,) of each image; those that cannot be read are left out, with a warning.

        Args:
            datastore: MONAI Label's.
            images: ids.

        Raises:
            InputError: weights are missing or broken, or the file cannot be written.
        """
        segmenter = self.models.text_segmenter(self.preset)
        file = EmbeddingFile(self.models.folder / "image_embeddings.safetensors", segmenter.weights["clip"])
        known, new, found = file.read(), {}, {}
        for image in images:
            try:
                path = datastore.get_image_uri(image)
                key = file_key(path)
                if key not in known:
                    with self.models.lock:
                        opened = self.models.open(segmenter, path, keep=False)
                        known[key] = new[key] = image_embedding(opened, segmenter)
                found[image] = known[key]
            except (InputError, OSError) as error:
                logger.warning("image %s cannot be embedded: %s", image, error)
        if new:
            file.add(new)
        return found
