"""One image through all members of an ensemble, with nnU-Net's own preprocessing, sliding window and resampling."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape
from torch import Tensor, nn
from tqdm import tqdm

from medclipsam_monai.base.devices import resolve_device
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.limits import check_size
from medclipsam_monai.weak.ensemble.members import Member, load_weights
from medclipsam_monai.weak.ensemble.uncertainty import entropy
from medclipsam_monai.weak.nnunet.network_plan import NetworkPlan


class MembersPass:
    """Running means over the members; the memory does not depend on their number.

    Args:
        plan: how to prepare images.
        network: the network that the members take turns in.
        members: the checkpoints.
        device: "auto", "cpu", "cuda", ...
        tile_step: step of the sliding window as a part of the patch.
        mirroring: also predict mirrored images.

    Raises:
        InputError: the device is not there.
    """

    def __init__(
        self,
        plan: NetworkPlan,
        network: nn.Module,
        members: Sequence[Member],
        device: str | torch.device,
        tile_step: float,
        mirroring: bool,
    ) -> None:
        device = resolve_device(device)
        self.network = network.to(device)
        self.members = members
        self.dataset_json = plan.dataset_json
        self.plans = plan.plans_manager
        self.configuration = self.plans.get_configuration(plan.configuration)
        self.labels = self.plans.get_label_manager(plan.dataset_json)
        with contextlib.redirect_stdout(io.StringIO()):  # it prints advice about the device
            self.predictor = nnUNetPredictor(
                tile_step_size=tile_step,
                use_mirroring=mirroring,
                perform_everything_on_device=device.type == "cuda",
                device=device,
                allow_tqdm=False,
            )
        axes = plan.mirroring_axes or None
        arguments = (self.plans, self.configuration, None, plan.dataset_json, "", axes)
        self.predictor.manual_initialization(self.network, *arguments)
        self.predictor.network = self.network  # not compiled, whatever nnU-Net's environment variable says

    def place(self, device: torch.device) -> None:
        """Predict on another device from now on."""
        self.network.to(device)
        self.predictor.device = device
        self.predictor.perform_everything_on_device = device.type == "cuda"

    @torch.no_grad()
    def __call__(self, array: np.ndarray, properties: dict[str, Any], progress: bool) -> tuple[Tensor, Tensor]:
        """Mean probability (C, D, H, W) and mean entropy (D, H, W), on nnU-Net's axes.

        Args:
            array: (channels, D, H, W) as nnU-Net's reader gives it.
            properties: with its spacing.
            progress: show a bar over the members.

        Raises:
            InputError: too few pixels, colours outside 0..255, or a member that gives NaN.
        """
        if "RGBTo01Normalization" in self.configuration.normalization_schemes:
            low, high = array.min(), array.max()
            if low < 0 or high > 255:
                raise InputError(f"a colour picture's values must lie in 0..255, got {low:g}..{high:g}")
        self._check_size(array.shape[1:], properties["spacing"])
        preprocessor = self.configuration.preprocessor_class(verbose=False)
        data, _, properties = preprocessor.run_case_npy(
            array, None, properties, self.plans, self.configuration, self.dataset_json
        )
        prepared = torch.from_numpy(np.ascontiguousarray(data, dtype=np.float32))
        probability, doubt = self._means(prepared, properties, progress)
        probability = _uncropped(probability, properties, background=1)
        doubt = _uncropped(doubt[None], properties, background=0)[0]
        axes = self.plans.transpose_backward
        return probability.permute(0, *(axis + 1 for axis in axes)), doubt.permute(*axes)

    def _check_size(self, shape: Sequence[int], spacing: Sequence[float]) -> None:
        """Refuse an image of which resampling would leave nothing, or far too much."""
        axes = self.plans.transpose_forward
        target = self.configuration.spacing
        sides, lengths = [shape[axis] for axis in axes], [spacing[axis] for axis in axes]
        resampled = compute_new_shape(sides[-len(target) :], lengths[-len(target) :], target)
        if min(resampled) < 1:
            raise InputError(f"an image of {' x '.join(map(str, shape))} pixels is too small for these networks")
        check_size((*sides[: -len(target)], *resampled), "the image, resampled for these networks,")

    def _means(self, data: Tensor, properties: dict[str, Any], progress: bool) -> tuple[Tensor, Tensor]:
        """Means over the members of their probabilities and of their entropies, on the cropped image."""
        shape = properties["shape_after_cropping_and_before_resampling"]
        total, doubt = torch.zeros(self.labels.num_segmentation_heads, *shape), torch.zeros(*shape)
        for member in tqdm(self.members, disable=not progress, unit="member"):
            load_weights(self.network, member)
            logits = self.predictor.predict_sliding_window_return_logits(data).cpu()
            probability = self._probability(logits, properties)
            if not torch.isfinite(probability).all():
                raise InputError(f"{member.name}: its network gives NaN; train again")
            total += probability
            doubt += entropy(probability)
        return total.div_(len(self.members)), doubt.div_(len(self.members))

    def _probability(self, logits: Tensor, properties: dict[str, Any]) -> Tensor:
        """Softmax of the logits on the image's own grid, as nnU-Net does it when it saves probabilities."""
        shape = properties["shape_after_cropping_and_before_resampling"]
        spacing = [properties["spacing"][axis] for axis in self.plans.transpose_forward]
        current = self.configuration.spacing
        if len(current) < len(shape):  # a 2-D configuration leaves the slices where they are
            current = [spacing[0], *current]
        resampled = self.configuration.resampling_fn_probabilities(logits, shape, current, spacing)
        probability: Tensor = self.labels.apply_inference_nonlin(resampled)
        return probability


def _uncropped(maps: Tensor, properties: dict[str, Any], background: float) -> Tensor:
    """(C, D, H, W) maps of the cropped image on the whole one; outside the first is ``background``, the others 0."""
    shape = tuple(properties["shape_before_cropping"])
    if maps.shape[1:] == shape:
        return maps
    inside = tuple(slice(low, high) for low, high in properties["bbox_used_for_cropping"])
    whole = maps.new_zeros(len(maps), *shape)
    whole[0] = background
    for channel, values in zip(whole, maps, strict=True):
        channel[inside] = values
    return whole
