"""What nnU-Net needs besides weights: plans, labels, configuration. Read from untrusted files, and checked here.

nnU-Net finds classes and functions by the names in its plans and calls them. Plans travel inside model files, so only
names of its own networks and of torch's layers are let through: a model file holds data, never code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from medclipsam_monai.errors import InputError

_NETWORKS = "dynamic_network_architectures.architectures."
_LAYERS = "torch.nn."
_KNOWN_NAMES: Mapping[str, tuple[str, ...]] = {
    "preprocessor_name": ("DefaultPreprocessor",),
    "resampling_fn_data": ("resample_data_or_seg_to_shape", "resample_torch_fornnunet", "no_resampling_hack"),
    "resampling_fn_probabilities": ("resample_data_or_seg_to_shape", "resample_torch_fornnunet", "no_resampling_hack"),
}
_NORMALISATIONS = (
    "ZScoreNormalization",
    "CTNormalization",
    "NoNormalization",
    "RescaleTo01Normalization",
    "RGBTo01Normalization",
)
_PICTURE_READER = "NaturalImage2DIO"


@dataclass(frozen=True)
class NetworkPlan:
    """How to prepare an image for a trained nnU-Net, and how its network is built.

    Attributes:
        plans: nnU-Net's plans.json.
        dataset_json: nnU-Net's dataset.json: channels and labels.
        configuration: name of the configuration in the plans, such as "2d".
        mirroring_axes: axes of the patch along which training mirrored images, and inference may.

    Raises:
        InputError: on creation, if anything in it is missing, unknown, or not nnU-Net's.
    """

    plans: dict[str, Any]
    dataset_json: dict[str, Any]
    configuration: str
    mirroring_axes: tuple[int, ...]

    def __post_init__(self) -> None:
        try:
            _check_names(self.manager.configuration)
            labels = self.dataset_json["labels"]
            plain = all(isinstance(label, int) for label in labels.values())
            dimensions = len(self.manager.patch_size)
            self.channels  # noqa: B018  # raises if they are not told
        except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"these are no whole nnU-Net plans ({error}); expected what a training wrote") from error
        if not plain or sorted(labels.values()) != list(range(len(labels))) or "ignore" in labels:
            raise InputError(f"labels must be numbered 0, 1, ... without regions or an ignore label, got {labels}")
        if any(axis not in range(dimensions) for axis in self.mirroring_axes):
            raise InputError(f"mirroring axes must lie in 0..{dimensions - 1}, got {self.mirroring_axes}")

    @property
    def plans_manager(self) -> PlansManager:
        """nnU-Net's view of the plans."""
        return PlansManager(self.plans)

    @property
    def manager(self) -> ConfigurationManager:
        """nnU-Net's view of the configuration."""
        return self.plans_manager.get_configuration(self.configuration)

    @property
    def names(self) -> tuple[str, ...]:
        """Classes in the order of the network's outputs, the background first."""
        labels: dict[str, int] = self.dataset_json["labels"]
        return tuple(sorted(labels, key=lambda name: labels[name]))

    @property
    def channels(self) -> int:
        """Channels of an image: 1 (grey) or 3 (RGB)."""
        return len(self.dataset_json["channel_names"])

    @property
    def of_pictures(self) -> bool:
        """Whether training saw pictures (PNG); else it saw volumes."""
        return bool(self.plans["image_reader_writer"] == _PICTURE_READER)

    def build_network(self) -> nn.Module:
        """The network with arbitrary weights, in evaluation mode."""
        manager = self.manager
        network: nn.Module = get_network_from_plans(
            manager.network_arch_class_name,
            manager.network_arch_init_kwargs,
            manager.network_arch_init_kwargs_req_import,
            self.channels,
            len(self.names),
            allow_init=False,
            deep_supervision=False,
        )
        return network.eval()


def _check_names(configuration: Mapping[str, Any]) -> None:
    """Refuse plans that name anything but nnU-Net's own networks, steps and torch's layers."""
    architecture = configuration["architecture"]
    given = {"network_class_name": architecture["network_class_name"]}
    layers = {name: architecture["arch_kwargs"][name] for name in architecture["_kw_requires_import"]}
    for key, name in given.items():
        if not str(name).startswith(_NETWORKS):
            raise InputError(f"the plans' {key} must be one of nnU-Net's networks ({_NETWORKS}...), got {name!r}")
    for key, name in layers.items():
        if name is not None and not str(name).startswith(_LAYERS):
            raise InputError(f"the plans' {key} must be one of torch's layers ({_LAYERS}...), got {name!r}")
    for key, known in _KNOWN_NAMES.items():
        if configuration[key] not in known:
            raise InputError(f"the plans' {key} must be one of {', '.join(known)}, got {configuration[key]!r}")
    for scheme in configuration["normalization_schemes"]:
        if scheme not in _NORMALISATIONS:
            raise InputError(f"the plans' normalisation must be one of {', '.join(_NORMALISATIONS)}, got {scheme!r}")
