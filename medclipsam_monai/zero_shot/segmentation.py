"""A segmented image, what was asked of it, and the files that it is saved as."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import (
    Geometry,
    build_record,
    even_grid,
    hash_outputs,
    request_key,
    restore_geometry,
    write_float_map,
    write_label_descriptions,
    write_mask,
    write_picture,
)
from medclipsam_monai.io.dicom_seg.algorithm import Algorithm
from medclipsam_monai.io.dicom_seg.segmentation import write_segmentation
from medclipsam_monai.io.outputs import ImageOutputs, Question, Replace, open_outputs
from medclipsam_monai.networks.known_pictures import NearestPicture, picture_warnings
from medclipsam_monai.networks.known_texts import Nearest
from medclipsam_monai.prompts import TextTarget
from medclipsam_monai.prompts.denials import denial_warning
from medclipsam_monai.transforms import saliency_picture
from medclipsam_monai.zero_shot.class_records import class_records
from medclipsam_monai.zero_shot.output_files import OutputFiles, class_numbers
from medclipsam_monai.zero_shot.result import ZeroShotResult
from medclipsam_monai.zero_shot.shown.picture import outlined, png
from medclipsam_monai.zero_shot.shown.viewer import volume_viewer
from medclipsam_monai.zero_shot.volumes.result import VolumeResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORDLESS = "examples without a text say where, not whether: no presence is told, so look at masks of what may be absent"


@dataclass(frozen=True)
class Request:
    """What is asked of an image, and with what: the part of a record that does not depend on the image.

    Attributes:
        targets: the classes.
        preset: its name.
        weights: hashes by role.
        parameters: every other setting.
        nearest: of what the weights know, what each class is nearest to; None where nobody has listed that.
    """

    targets: tuple[TextTarget, ...]
    preset: str
    weights: Mapping[str, str]
    parameters: Mapping[str, Any]
    nearest: tuple[Nearest | None, ...] = ()

    @property
    def texts(self) -> dict[str, list[str]]:
        """Sentences by class."""
        return {target.name: list(target.sentences) for target in self.targets}

    @property
    def strange(self) -> list[str]:
        """A line for each class that is near nothing that the weights know; one that is denied is said to be that."""
        return [
            f"{target.name!r} is outside of what the weights of preset {self.preset} were trained on (nearest: "
            f"{near.text!r}, {near.similarity:.2f}): its mask may mean nothing"
            for target, near in self._asked
            if not near.familiar
        ]

    @property
    def warnings(self) -> list[str]:
        """A line for each class that denies, see `denial_warning`, that has no words, or that is strange."""
        denied = [line for target in self.targets if (line := denial_warning(target))]
        wordless = [WORDLESS] if any(not target.sentences for target in self.targets) else []
        return denied + wordless + self.strange

    @property
    def _asked(self) -> list[tuple[TextTarget, Nearest]]:
        """The classes that ask for something, with what they are nearest to, where that is known."""
        pairs = zip(self.targets, self.nearest, strict=True) if self.nearest else ()
        return [(target, near) for target, near in pairs if near is not None and denial_warning(target) is None]

    def picture_warnings(self, picture: NearestPicture | None) -> list[str]:
        """Lines on a picture of another kind than the weights know, or than what is asked is known on."""
        return [] if picture is None else picture_warnings(picture, [near for _, near in self._asked], self.preset)

    def key(self, input_sha256: str) -> str:
        """Hash of the request for one input; equal keys have equal results."""
        return request_key(self.texts, self.preset, self.weights, self.parameters, input_sha256)


@dataclass(frozen=True)
class Segmentation:
    """A segmented image.

    Attributes:
        found: masks, probabilities, saliency and the rest, upright, (K, H, W[, D]); of a volume probabilities and
            saliency only where they were asked for.
        display: (3, H, W[, D]) in [0, 1], what the networks saw; the channels of a grey volume share their memory.
        geometry: puts a mask back on the file's own array.
        spacing: millimetres along the display's axes, None where unknown.
        name: base name of the input.
        stem: start of the names of the files that `save` writes.
        input_sha256: of the input.
        request: what was asked.
        seconds: time it took, without reading and writing.
        files: the input's own, which its outputs never replace.
    """

    found: ZeroShotResult | VolumeResult
    display: Tensor
    geometry: Geometry
    spacing: tuple[float, ...] | None
    name: str
    stem: str
    input_sha256: str
    request: Request
    seconds: float
    files: tuple[Path, ...] = ()

    @property
    def label_map(self) -> Tensor:
        """(H, W[, D]) uint8, upright: 0 background, else the class's place from 1."""
        return self.found.label_map

    def stored_mask(self) -> np.ndarray:
        """`label_map` on the grid of the input itself, uint8, of exactly the shape of the file's or the array's pixels.

        The axes are those of the file: (rows, columns) of a picture, also of one that EXIF turns; index order of
        nibabel for NIfTI and DICOM; x, y, z for NRRD and MetaImage, so ``.T`` of it is what SimpleITK calls an array.
        """
        return restore_geometry(self.label_map, self.geometry)

    @property
    def warnings(self) -> list[str]:
        """A line for each thing that a person should know before using the masks."""
        return [*self.request.warnings, *self.request.picture_warnings(self.found.picture)]

    def __repr__(self) -> str:
        """Two lines: what was segmented, and how much of it each class takes."""
        labels, names = self.label_map, (" ".join(name.split()) for name in self.found.names)
        shape = f"{' x '.join(map(str, labels.shape))} {'pixels' if labels.ndim == 2 else 'voxels'}"
        classes = [f"{name} {float((labels == k).float().mean()):.1%}" for k, name in enumerate(names, start=1)]
        return f"Segmentation of {self.name}, {shape}\n{', '.join(classes)}"

    def _repr_png_(self) -> bytes:
        """The overlay as a PNG file, which notebooks show; of a volume the slices that show a class."""
        return png(self._overlay())

    def plot(self, slice_number: int | None = None) -> Figure:
        """The stages side by side, a row for each class: image, saliency, coarse mask with boxes, mask.

        Args:
            slice_number: of a volume, from 1; None for each class's slice with the largest mask.

        Returns:
            A figure of matplotlib's, which notebooks show; ``savefig`` writes it.

        Raises:
            InputError: there is no such slice.
        """
        from medclipsam_monai.zero_shot.shown.figure import stages_figure  # here, for matplotlib is slow to import

        return stages_figure(self, slice_number)

    def view(self) -> Any:
        """A volume with its masks to scroll and turn, in a notebook (`pip install 'medclipsam-monai[notebook]'`).

        Returns:
            A widget of ipyniivue's.

        Raises:
            InputError: ipyniivue is not installed, or the image is no volume.
        """
        return volume_viewer(self.display, self.geometry, self.name, self.label_map)

    def save(
        self,
        folder: str | Path,
        overlay: bool = True,
        save_saliency: bool = False,
        save_probability: bool = False,
        stem: str | None = None,
        overwrite: bool = False,
        format: str | None = None,
        dicom_seg: bool = False,
    ) -> list[Path]:
        """Write the mask in the input's own geometry, a picture of it, and the record last.

        Args:
            folder: made if it is not there.
            overlay: the picture with masks and legend drawn in.
            save_saliency: each class's map, and it over the image.
            save_probability: each class's SAM probability.
            stem: start of the files' names in place of the input's own.
            overwrite: replace what is there. Without it only unchanged outputs of the same request are replaced.
            format: "nrrd" for a mask with the names of its segments, for 3D Slicer; None for the input's own kind.
            dicom_seg: of a DICOM image also a DICOM SEG, unless nothing was found, see `write_segmentation`.

        Returns:
            The files, the record last.

        Raises:
            InputError: if a file cannot be written or is in the way, a map of a volume was not kept, see
                `TextSegmenter.__call__`, or there can be no DICOM SEG.
        """
        files = OutputFiles(overlay, save_saliency, save_probability, format, dicom_seg)
        replace = Replace.EVERYTHING if overwrite else Replace.SAME_REQUEST
        with open_outputs(folder, stem or self.stem) as place:
            return self.save_in(place, self.question(replace), files)

    def question(self, replace: Replace, inputs: Iterable[Path] = ()) -> Question:
        """What the outputs answer, and what they may replace; the image's own files and ``inputs`` never."""
        protected = frozenset(path.resolve() for path in (*self.files, *inputs))
        return Question(self.request.key(self.input_sha256), self.input_sha256, replace, protected)

    def save_in(self, place: ImageOutputs, question: Question, files: OutputFiles) -> list[Path]:
        """What `save` does, where the outputs are open already."""
        try:
            base = place.staging / place.stem
            staged = self._write_mask(base, files.format) + (self._write_dicom_seg(base) if files.dicom_seg else [])
            staged += self._write_rest(base, files)
            record = self.record(hash_outputs(staged))
        except OSError as error:
            raise InputError(f"cannot write in {place.folder}: {error.strerror or error}") from error
        return place.commit(staged, record, question)

    def _write_mask(self, base: Path, format: str | None) -> list[Path]:
        """Write the mask and what says its labels' names; `OutputFiles.names` says how they are called."""
        names = self.found.names
        mask = write_mask(self.label_map, self.geometry, f"{base}_mask", names=names, format=format)
        if mask.name.endswith(".nii.gz"):
            return [mask, write_label_descriptions(f"{base}_labels.txt", names)]
        return [mask]

    def _write_dicom_seg(self, base: Path) -> list[Path]:
        made_by = Algorithm(self.request.preset, self.request.weights)
        path = Path(f"{base}_seg.dcm")
        written = write_segmentation(
            self.label_map, self.found.names, self.geometry, self.files, path, made_by, self.input_sha256
        )
        return [] if written is None else [written]

    def _write_rest(self, base: Path, files: OutputFiles) -> list[Path]:
        """Write the pictures and maps; `OutputFiles.names` says how they are called."""
        written = []
        if files.overlay:
            written.append(write_picture(self._overlay(), f"{base}_overlay.png"))
        for k, number in enumerate(class_numbers(len(self.found.names))):
            if files.save_saliency:
                written.append(write_float_map(self.found.saliency[k], self.geometry, f"{base}_saliency{number}"))
                if self.display.ndim == 3:
                    heat = saliency_picture(self.found.saliency[k], self.display, spacing=self.spacing)
                    written.append(write_picture(heat, f"{base}_saliency{number}_overlay.png"))
            if files.save_probability:
                written.append(write_float_map(self.found.probability[k], self.geometry, f"{base}_probability{number}"))
        return written

    def _overlay(self) -> np.ndarray:
        """The display image with the masks and a legend, (H, W, 3) uint8."""
        labels = self.label_map
        masks = torch.stack([labels == k + 1 for k in range(len(self.found.names))])
        return outlined(self.display, self.geometry, self.spacing, masks, self.found.names)

    def record(self, outputs: Mapping[str, str]) -> dict[str, Any]:
        """What is written beside the mask; holds nothing about a patient but the file's own name.

        Args:
            outputs: SHA-256 of the files by name, see `build_record`.
        """
        found = self.found
        record = build_record(
            input_name=self.name,
            input_sha256=self.input_sha256,
            texts=self.request.texts,
            preset=self.request.preset,
            weights=self.request.weights,
            parameters=self.request.parameters,
            classes=class_records(found, self.geometry, self.spacing, self.request.nearest),
            nearest_picture=None if found.picture is None else asdict(found.picture),
            warnings=self.warnings,
            outputs=outputs,
            seconds=self.seconds,
        )
        told = {"plane": self.geometry.plane, "grid": even_grid(self.geometry)}
        return {**record, **{name: str(value) for name, value in told.items() if value is not None}}
