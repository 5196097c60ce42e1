"""Checkpoint ensemble of a cyclic nnU-Net: mean probability, entropy and mutual information in one pass.

The image is read and preprocessed once, each checkpoint takes its turn in one network, and only running sums stay: the
memory is that of one network and two maps, however many checkpoints there are. Sliding window, mirroring and
resampling are nnU-Net's own, so the mean is what averaging nnU-Net's saved probabilities gives. The method is that of
"Efficient Bayesian uncertainty estimation for nnU-Net" (MICCAI 2022), used by MedCLIP-SAMv2.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medclipsam_monai.base.errors import InputError, InputWarning
from medclipsam_monai.base.windows import WindowLike
from medclipsam_monai.io import ImageSource
from medclipsam_monai.weak.ensemble.ensemble_file import (
    ensemble_in,
    ensemble_state,
    read_ensemble_file,
    write_ensemble_file,
)
from medclipsam_monai.weak.ensemble.members import Member, check_weights, read_training
from medclipsam_monai.weak.ensemble.members_pass import MembersPass
from medclipsam_monai.weak.ensemble.prediction import EnsemblePrediction
from medclipsam_monai.weak.ensemble.uncertainty import entropy, mutual_information
from medclipsam_monai.weak.folders import WorkFolders
from medclipsam_monai.weak.nnunet.case_image import PICTURE_SPACING, CaseImage, read_case_image
from medclipsam_monai.weak.nnunet.dataset import OWN_KEY
from medclipsam_monai.weak.nnunet.network_plan import NetworkPlan


class CheckpointEnsemble:
    """The checkpoints of one training as one predictor.

    Args:
        plan: how to prepare images and build the network.
        members: the checkpoints; all are looked at now, and read when it is their turn.
        device: "auto", "cpu", "cuda", ...
        tile_step: step of nnU-Net's sliding window, as a part of the patch, in (0, 1].
        mirroring: also predict mirrored images, along the axes that training mirrored, and average.

    Raises:
        InputError: a member is not of the plan's network, or the device is not there.
        ValueError: no member, or a step that is none.
    """

    def __init__(
        self,
        plan: NetworkPlan,
        members: Sequence[Member],
        device: str | torch.device = "auto",
        tile_step: float = 0.5,
        mirroring: bool = True,
    ) -> None:
        if not members:
            raise ValueError("an ensemble needs at least one member, got none")
        if not 0 < tile_step <= 1:
            raise ValueError(f"tile_step must lie in (0, 1], got {tile_step}")
        self.plan = plan
        self.members = tuple(members)
        self.network = plan.build_network()
        for member in self.members:
            check_weights(self.network, member.weights(), member.name)
        self._pass = MembersPass(plan, self.network, self.members, device, tile_step, mirroring)
        self._options: dict[str, Any] = {"device": device, "tile_step": tile_step, "mirroring": mirroring}

    @classmethod
    def from_training(
        cls,
        folders: WorkFolders | str | Path,
        device: str | torch.device = "auto",
        tile_step: float = 0.5,
        mirroring: bool = True,
    ) -> CheckpointEnsemble:
        """The ensemble that a finished training left in its work folder.

        Raises:
            InputError: the training is not finished, or a checkpoint is missing, damaged or would run code.
        """
        if not isinstance(folders, WorkFolders):
            folders = WorkFolders(Path(folders))
        return cls(*read_training(folders), device=device, tile_step=tile_step, mirroring=mirroring)

    @classmethod
    def from_file(
        cls, path: str | Path, device: str | torch.device = "auto", tile_step: float = 0.5, mirroring: bool = True
    ) -> CheckpointEnsemble:
        """The ensemble in one file, as `export` writes it.

        Raises:
            InputError: the file is missing, damaged, of another kind or would run code.
        """
        return cls(*read_ensemble_file(Path(path)), device=device, tile_step=tile_step, mirroring=mirroring)

    @classmethod
    def from_state(
        cls,
        state: Mapping[str, Tensor],
        device: str | torch.device = "auto",
        tile_step: float = 0.5,
        mirroring: bool = True,
    ) -> CheckpointEnsemble:
        """The ensemble in a state dict, as `state` gives it and the file holds it.

        Raises:
            InputError: the state dict is of another kind.
        """
        found = ensemble_in({name: value.cpu() for name, value in state.items()}, "the state dict")
        return cls(*found, device=device, tile_step=tile_step, mirroring=mirroring)

    @property
    def state(self) -> dict[str, Tensor]:
        """Plan and all members' weights as one state dict; weights in a file stay there until they are read."""
        return ensemble_state(self.plan, self.members, self.network)

    def place(self, device: torch.device) -> None:
        """Predict on another device from now on."""
        self._pass.place(device)
        self._options["device"] = device

    def member_alone(self, number: int) -> CheckpointEnsemble:
        """The predictor of one member, by its place; -1 is the last checkpoint of the training."""
        return CheckpointEnsemble(self.plan, [self.members[number]], **self._options)

    def export(self, path: str | Path, dtype: torch.dtype = torch.float16) -> Path:
        """Write plans and all members' weights as one file, which opens with ``weights_only=True``.

        Args:
            path: where to, such as ``models/model.pt``.
            dtype: type of the weights in the file; half precision rounds them, and moves probabilities a little.

        Raises:
            InputError: the file cannot be written, or a weight is too large for the type.
        """
        return write_ensemble_file(Path(path), self.plan, self.members, self.network, dtype)

    @property
    def names(self) -> tuple[str, ...]:
        """Classes, the background first."""
        return self.plan.names

    @property
    def reading(self) -> dict[str, Any]:
        """How images were read for training: "window" and "slice_axis", the arguments of `predict`."""
        known = self.plan.dataset_json.get(OWN_KEY, {})
        return {"window": known.get("window"), "slice_axis": known.get("slice_axis", "axial")}

    def predict(
        self,
        image: str | Path | ImageSource,
        window: WindowLike | None = None,
        slice_axis: str = "acquired",
        progress: bool = False,
    ) -> EnsemblePrediction:
        """Predict an image file.

        Args:
            image: a file, a DICOM series' folder, or one of `find_inputs`.
            window: how a 2-D image's intensities become grey levels, as it was in training, see `DisplayRange`.
            slice_axis: which way volumes are cut, as it was in training: "acquired", "axial", "coronal" or "sagittal".
            progress: show a bar over the members.

        Raises:
            InputError: the image cannot be used, or not by this ensemble.
        """
        return self.predict_case(read_case_image(image, window, slice_axis), progress)

    def predict_case(self, case: CaseImage, progress: bool = False) -> EnsemblePrediction:
        """Predict an image that is read already, as it was read for training.

        Args:
            case: of `read_case_image` or `to_case_image`.
            progress: show a bar over the members.

        Raises:
            InputError: the image cannot be used by this ensemble.
        """
        case = self._fitting(case)
        array, properties = case.for_nnunet()
        mean, shared = (torch.from_numpy(case.upright(m.numpy())) for m in self._pass(array, properties, progress))
        return self._prediction(mean, shared, geometry=case.geometry, source=case.source)

    def predict_tensor(
        self, image: Tensor, spacing: Sequence[float] | None = None, progress: bool = False
    ) -> EnsemblePrediction:
        """Predict an image in memory.

        Args:
            image: (C, H, W), or a volume (C, H, W, D) in display orientation, any size, in the numbers that training
                saw: 0..255 for pictures, the file's own for volumes. C = 1 or 3.
            spacing: millimetres of a volume's rows, columns and slices; None for that of training. No part in pictures.
            progress: show a bar over the members.

        Raises:
            InputError: an image of another kind than training saw, or without finite numbers.
        """
        array = self._checked(image)
        volume = array.ndim == 4
        properties = {"spacing": self._spacing(spacing) if volume else list(PICTURE_SPACING)}
        array = np.moveaxis(array if volume else array[..., None], -1, 1)
        mean, shared = (values.movedim(-3, -1) for values in self._pass(array, properties, progress))
        return self._prediction(mean, shared) if volume else self._prediction(mean[..., 0], shared[..., 0])

    def _prediction(self, mean: Tensor, mean_entropy: Tensor, **where: Any) -> EnsemblePrediction:
        members = tuple(member.name for member in self.members)
        total = entropy(mean)
        shared = mutual_information(total, mean_entropy)
        return EnsemblePrediction(mean.contiguous(), total, shared, self.names, members, **where)

    def _fitting(self, case: CaseImage) -> CaseImage:
        """The image with the channels that the networks were trained on."""
        label, wanted = case.source.label, self.plan.channels
        if case.is_volume == self.plan.of_pictures:
            found, wanted_kind = ("volume", "pictures") if case.is_volume else ("picture", "volumes")
            raise InputError(f"{label}: is a {found}, the networks were trained on {wanted_kind}; give one of those")
        if case.channels > wanted:
            warnings.warn(
                f"{label}: is in colour and the networks were trained on grey; its luminance is used",
                InputWarning,
                stacklevel=3,
            )
        return case.with_channels(wanted)

    def _checked(self, image: Tensor) -> np.ndarray:
        """A tensor as an array with the channels that the networks were trained on."""
        array = image.detach().cpu().float().numpy()
        wanted = self.plan.channels
        if array.ndim != (3 if self.plan.of_pictures else 4):
            expected = "pictures (C, H, W)" if self.plan.of_pictures else "volumes (C, H, W, D)"
            raise InputError(f"the networks were trained on {expected}, got an image of shape {array.shape}")
        if len(array) == 3 and wanted == 1 and (array == array[:1]).all():
            array = array[:1]
        if len(array) == 1 and wanted == 3:
            array = np.repeat(array, 3, axis=0)
        if len(array) != wanted:
            kind = {1: "grey (1 channel)", 3: "RGB (3 channels)"}.get(wanted, f"of {wanted} channels")
            raise InputError(f"the networks were trained on {kind}, got an image of {len(array)}; convert it first")
        if not np.isfinite(array).all():
            raise InputError("an image must hold finite numbers, got NaN or infinity")
        return array

    def _spacing(self, spacing: Sequence[float] | None) -> list[float]:
        """Of slices, rows and columns."""
        if spacing is None:
            median = self.plan.plans["original_median_spacing_after_transp"]
            return [float(median[axis]) for axis in self.plan.plans["transpose_backward"]]
        if len(spacing) != 3 or min(spacing) <= 0:
            raise InputError(f"spacing must be 3 positive numbers (rows, columns, slices), got {list(spacing)}")
        rows, columns, slices = map(float, spacing)
        return [slices, rows, columns]
