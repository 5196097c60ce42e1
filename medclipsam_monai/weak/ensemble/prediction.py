"""What an ensemble says of one image, and its files."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medclipsam_monai.base.files import check_beside_inputs
from medclipsam_monai.base.json_files import write_json
from medclipsam_monai.io import (
    Geometry,
    ImageSource,
    class_sizes,
    hash_files,
    hash_outputs,
    write_float_map,
    write_mask,
)
from medclipsam_monai.version import __version__
from medclipsam_monai.weak.ensemble.uncertainty import uncertainty_score


@dataclass(frozen=True)
class EnsemblePrediction:
    """Mean and uncertainty of an ensemble's members, upright as `read_image` gives the image.

    Attributes:
        probability: (C, H, W[, D]) float32, mean of the members' softmax; the background first.
        entropy: (H, W[, D]) float32, total entropy of ``probability`` in bits, 0 to log2 C.
        mutual_information: (H, W[, D]) float32 in bits, the part of the entropy that is the members' disagreement;
            None where only their mean is known.
        names: of the C classes.
        members: files that the members came from.
        geometry: puts maps back on the file's own array; None if the image was a tensor.
        source: the image's file; None if it was a tensor.
    """

    probability: Tensor
    entropy: Tensor
    mutual_information: Tensor | None
    names: tuple[str, ...]
    members: tuple[str, ...]
    geometry: Geometry | None = None
    source: ImageSource | None = None

    def label_map(self, threshold: float = 0.5) -> Tensor:
        """The likeliest class but the background where 1 - p(background) reaches the threshold.

        With one class that is p >= threshold. The papers take 0.5, and 0.2 for breast ultrasound.

        Args:
            threshold: in (0, 1].

        Returns:
            (H, W[, D]) uint8, 0 for the background.

        Raises:
            ValueError: a threshold that is none.
        """
        return label_map(self.probability, threshold)

    def score(self, threshold: float = 0.5) -> float:
        """Boundary-normalised uncertainty of the image, see `uncertainty_score`; the boundary is that of all classes.

        Raises:
            ValueError: a threshold that is none.
        """
        return uncertainty_score(self.entropy, self.label_map(threshold))

    def save(self, folder: str | Path, stem: str | None = None, threshold: float = 0.5) -> list[Path]:
        """Write mask, maps and, last, the record, in the input's own geometry.

        ``STEM_mask`` (labels), ``STEM_probability`` (or ``STEM_probability_CLASS`` for each of several classes),
        ``STEM_entropy`` and ``STEM_mutual_information`` as PNG, NIfTI or NRRD, whatever the input was, and
        ``STEM.json``. The last two maps are divided by the most that is possible, log2 C bits; for one class that is 1.

        Args:
            folder: made if it is not there.
            stem: start of the files' names; None for that of the input.
            threshold: see `label_map`.

        Returns:
            The files written.

        Raises:
            InputError: a file cannot be written, or lies beside the image already.
            ValueError: the image was a tensor, which has no geometry, or the threshold is none.
        """
        if self.geometry is None or self.source is None:
            raise ValueError("only the prediction of a file can be saved, got that of a tensor")
        start = Path(folder) / (self.source.stem if stem is None else stem)
        maps = self._maps()
        for end in (*(f"_{name}{self.geometry.suffix}" for name in ("mask", *maps)), "_overlay.png", ".json"):
            check_beside_inputs(Path(f"{start}{end}"), self.source.files)
        labels = self.label_map(threshold)
        files = [write_mask(labels, self.geometry, f"{start}_mask")]
        files += [write_float_map(values, self.geometry, f"{start}_{name}") for name, values in maps.items()]
        files.append(write_json(self._record(labels, threshold, files), f"{start}.json"))
        return files

    @property
    def _largest_entropy(self) -> float:
        return math.log2(len(self.names))

    def _maps(self) -> dict[str, Tensor]:
        """The maps to write, in [0, 1], by the ends of their files' names."""
        classes = dict(zip(self.names[1:], self.probability[1:], strict=True))
        several = len(classes) > 1
        maps = {f"probability_{_plain(name)}" if several else "probability": p for name, p in classes.items()}
        maps["entropy"] = self.entropy / self._largest_entropy
        if self.mutual_information is not None:
            maps["mutual_information"] = self.mutual_information / self._largest_entropy
        return {name: values.clamp(0, 1) for name, values in maps.items()}

    def _record(self, labels: Tensor, threshold: float, files: list[Path]) -> dict[str, Any]:
        assert self.source is not None and self.geometry is not None
        shared = self.mutual_information
        return {
            "input": self.source.name,
            "input_sha256": hash_files(self.source.files),
            "version": __version__,
            "members": list(self.members),
            "threshold": threshold,
            "score": uncertainty_score(self.entropy, labels),
            "mean_entropy": float(self.entropy.mean()),
            "mean_mutual_information": None if shared is None else float(shared.mean()),
            "full_scale_bits": self._largest_entropy,
            "classes": class_sizes(labels, self.geometry.display_spacing, self.names[1:], self.geometry.voxel_volumes),
            "outputs": hash_outputs(files),
        }


def label_map(probability: Tensor, threshold: float = 0.5) -> Tensor:
    """(C, H, W[, D]) probabilities, the background first, to (H, W[, D]) uint8; see `EnsemblePrediction.label_map`.

    Raises:
        ValueError: a threshold that is none.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must lie in (0, 1], got {threshold}")
    likeliest = probability[1:].argmax(dim=0) + 1
    foreground = probability[1] if len(probability) == 2 else 1 - probability[0]
    return torch.where(foreground >= threshold, likeliest, 0).to(torch.uint8)


def _plain(name: str) -> str:
    """A class's name as part of a file's name."""
    return "".join(letter if letter.isalnum() or letter in "-." else "_" for letter in name)
