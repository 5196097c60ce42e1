"""What nnU-Net needs besides weights: plans, labels, configuration. Read from untrusted files, and checked here.

nnU-Net finds classes and functions by the names in its plans and calls them. Plans travel inside model files, so
`plan_checks` lets through what nnU-Net writes and nothing else, and the network is built from this package's own list
of classes: a model file holds data, never code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.weak.nnunet.plan_checks import check_dataset, check_plans
from medclipsam_monai.weak.nnunet.plan_tables import LAYERS, NETWORKS

_PICTURE_READER = "NaturalImage2DIO"
_MOST_WEIGHTS = 10**9  # nnU-Net's largest preset has a seventh of that


@dataclass(frozen=True)
class NetworkPlan:
    """How to prepare an image for a trained nnU-Net, and how its network is built.

    Attributes:
        plans: nnU-Net's plans.json.
        dataset_json: nnU-Net's dataset.json: channels and labels.
        configuration: name of the configuration in the plans, such as "2d".
        mirroring_axes: axes of the patch along which training mirrored images, and inference may.

    Raises:
        InputError: on creation, if anything in it is missing, unknown, or not as nnU-Net writes it.
    """

    plans: dict[str, Any]
    dataset_json: dict[str, Any]
    configuration: str
    mirroring_axes: tuple[int, ...]

    def __post_init__(self) -> None:
        check_dataset(self.dataset_json)
        dimensions = len(check_plans(self.plans, self.configuration, self.channels)["patch_size"])
        axes = self.mirroring_axes
        if any(type(axis) is not int or axis not in range(dimensions) for axis in axes) or len(set(axes)) < len(axes):
            raise InputError(f"mirroring axes must lie in 0..{dimensions - 1}, each once, got {axes}")
        self._check_weights()

    def _check_weights(self) -> None:
        """Refuse a network that would take all memory, before any is taken."""
        try:
            with torch.device("meta"):
                weights = sum(parameter.numel() for parameter in self.build_network().parameters())
        except (RuntimeError, ValueError, TypeError, AssertionError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(f"the plans describe no network that can be built: {reason}") from error
        if weights > _MOST_WEIGHTS:
            raise InputError(f"the plans' network has {weights:,} weights; expected at most {_MOST_WEIGHTS:,}")

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
        kwargs = dict(manager.network_arch_init_kwargs)
        for key, layers in LAYERS[len(manager.patch_size)].items():
            name = kwargs.get(key)
            kwargs[key] = None if name is None else layers[name]
        network = NETWORKS[manager.network_arch_class_name](
            input_channels=self.channels, num_classes=len(self.names), deep_supervision=False, **kwargs
        )
        return network.eval()
