"""Phantom pictures that come with the package: for the first minute with it, and as the bundles' default data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medclipsam_monai.base.errors import InputError

_FOLDER = Path(__file__).parent.parent / "resources" / "samples"


def sample_folder() -> Path:
    """Folder with ``images`` and, under the same names, ``labels`` (0 background, 1 the target, here the lungs)."""
    return _FOLDER / "lungs"


def sample_pictures() -> dict[str, Path]:
    """Phantoms of four modalities by name: brain MR, breast ultrasound, chest CT and chest X-ray."""
    return {path.stem: path for path in sorted((_FOLDER / "pictures").glob("*.png"))}


def pair_by_name(images: Sequence[str | Path], labels: Sequence[str | Path]) -> list[dict[str, str]]:
    """Images with their labels, matched by `file_stem`, never by the order of two listings.

    Args:
        images: image files.
        labels: label files.

    Returns:
        ``{"image": ..., "label": ...}`` for each image, sorted by name.

    Raises:
        InputError: if there is no image, an image without a label, or two images or labels of one name.
    """
    from medclipsam_monai.io.inputs.stems import by_stem  # here, for what reads images is slow to import

    if not images:
        raise InputError("there is no image; expected files in the data set's folder 'images'")
    by_name, pairs = by_stem(labels), by_stem(images)
    missing = sorted(pairs.keys() - by_name.keys())
    if missing:
        raise InputError(
            f"{len(missing)} of {len(pairs)} images have no label of their name, the first is {missing[0]}"
        )
    return [{"image": pairs[name], "label": by_name[name]} for name in sorted(pairs)]
