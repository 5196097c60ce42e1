"""The schedule of a cyclic training: cycles of the learning rate, and which checkpoints of each are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.value_checks import BOOLEAN, check_object, integer, number, one_of

_RULES = ("late", "sparse", "both")
_SPARSE = 14  # epochs of a cycle that hold 7 different ones from its middle on


@dataclass(frozen=True)
class CyclicSchedule:
    """The schedule of a cyclic training (MedCLIP-SAMv2, arXiv 2409.19483; its values are the defaults).

    Args:
        epochs: all epochs T, a multiple of ``cycles``.
        cycles: how often the learning rate starts anew.
        gamma: in (0, 1]; the part of a cycle over which the rate falls.
        per_cycle: members kept of each cycle under the rule "late".
        rule: "late" keeps the last ``per_cycle`` epochs of a cycle, "sparse" 7 that lie evenly from its middle to its
            last epoch, "both" keeps both.
        iterations: optimiser steps of an epoch.
        validation_iterations: batches by which an epoch is validated.
        initial_lr: the rate at the start of each cycle.
        final_validation: let nnU-Net validate the last checkpoint in the end, by whole pictures, as it does by itself.
        seed: with augmentation in the training process (as on a CPU) the same seed gives the same members.

    Raises:
        InputError: for a value that cannot be used.
    """

    epochs: int = 600
    cycles: int = 3
    gamma: float = 0.8
    per_cycle: int = 10
    rule: str = "late"
    iterations: int = 250
    validation_iterations: int = 50
    initial_lr: float = 0.01
    final_validation: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "cycles", "per_cycle", "iterations", "validation_iterations"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"{name} must be a whole number from 1 on, got {value!r}")
        if self.epochs % self.cycles:
            raise InputError(f"epochs must be a multiple of cycles, got {self.epochs} epochs in {self.cycles} cycles")
        if not 0 < self.gamma <= 1:
            raise InputError(f"gamma must be above 0 and at most 1, got {self.gamma}")
        if not self.initial_lr > 0:
            raise InputError(f"initial_lr must be positive, got {self.initial_lr}")
        if self.rule not in _RULES:
            raise InputError(f"rule must be one of {', '.join(_RULES)}, got {self.rule!r}")
        if self.seed < 0:
            raise InputError(f"seed must be zero or positive, got {self.seed}")
        self._check_cycle(self.epochs // self.cycles)

    def _check_cycle(self, length: int) -> None:
        if self.rule != "sparse" and self.per_cycle > length:
            raise InputError(f"per_cycle must be at most the {length} epochs of a cycle, got {self.per_cycle}")
        if self.rule != "late" and length < _SPARSE:
            raise InputError(f"rule {self.rule!r} needs {_SPARSE} epochs in a cycle or more, got {length}")


def check_cyclic(cyclic: Any) -> None:
    """Make sure that a schedule out of a file is one of `CyclicSchedule`.

    Raises:
        InputError: it holds a name or a value that cannot be used.
    """
    whole = integer(0, 10**7)
    kinds = {
        **dict.fromkeys(("epochs", "cycles", "per_cycle", "iterations", "validation_iterations"), whole),
        "seed": integer(0, 2**63 - 1),
        "gamma": number(0, 1),
        "initial_lr": number(0, 1000),
        "final_validation": BOOLEAN,
        "rule": one_of(*_RULES),
    }
    CyclicSchedule(**check_object(cyclic, {}, kinds, "cyclic in the plans"))
