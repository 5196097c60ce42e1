"""A checkpoint ensemble as one network, for MONAI's engines, inferers and loaders of bundles."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from monai.data import MetaTensor
from torch import Tensor, nn

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.weak.ensemble.checkpoint_ensemble import CheckpointEnsemble
from medclipsam_monai.weak.ensemble.described import check_described
from medclipsam_monai.weights.bundles import log_weights

_log = logging.getLogger(__name__)


class EnsembleNetwork(nn.Module):
    """A `CheckpointEnsemble` as a network for MONAI: raw images in, mean probabilities out.

    Each image is preprocessed and predicted on its own, on the network's device, whatever its size; gradients do not
    pass. Its state dict is the whole ensemble, plans and all, so that any ensemble can be loaded into any other of the
    same classes, and into an empty one; weights in a file stay there until their member's turn.

    Args:
        ensemble: the checkpoints; None for an empty network, which has to load a state dict first.
        device: where an ensemble that is loaded later predicts: "auto", "cpu", "cuda", ...
        tile_step: of an ensemble that is loaded later, see `CheckpointEnsemble`.
        mirroring: the same.
    """

    def __init__(
        self,
        ensemble: CheckpointEnsemble | None = None,
        device: str | torch.device = "auto",
        tile_step: float = 0.5,
        mirroring: bool = True,
    ) -> None:
        super().__init__()
        self._options: dict[str, Any] = {"device": device, "tile_step": tile_step, "mirroring": mirroring}
        self._ensemble: CheckpointEnsemble | None = None
        self._empty = "the network is empty; load an ensemble's state dict first"
        if ensemble is not None:
            self._hold(ensemble)

    def _hold(self, ensemble: CheckpointEnsemble) -> None:
        self._ensemble = ensemble
        self.network = ensemble.network  # known to MONAI, which counts and moves parameters

    @classmethod
    def from_file(
        cls, path: str | Path, device: str | torch.device = "auto", tile_step: float = 0.5, mirroring: bool = True
    ) -> EnsembleNetwork:
        """See `CheckpointEnsemble.from_file`; where there is no file, the network is empty until it loads a state dict.

        Raises:
            InputError: the file is damaged, of another kind or would run code; it is a bundle's model file, and the
                bundle's metadata.json names other classes.
        """
        if not Path(path).exists():
            empty = cls(None, device, tile_step, mirroring)
            empty._empty = f"{path}: there is no such model file"
            return empty
        ensemble = CheckpointEnsemble.from_file(path, device, tile_step, mirroring)
        check_described(path, ensemble.names)
        network = cls(ensemble, device, tile_step, mirroring)
        log_weights(_log, {"ensemble": Path(path)})
        return network

    @property
    def ensemble(self) -> CheckpointEnsemble:
        """What predicts.

        Raises:
            InputError: there is none yet.
        """
        if self._ensemble is None:
            raise InputError(self._empty)
        return self._ensemble

    def state_dict(self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:
        """The ensemble as `CheckpointEnsemble.state` gives it; nothing for an empty network."""
        state = {} if destination is None else destination
        if self._ensemble is not None:
            state.update({prefix + name: value for name, value in self._ensemble.state.items()})
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Take over another ensemble, of whatever architecture.

        A host reads the names of the classes once, when it starts, and loads the file anew when it has changed.

        Raises:
            InputError: the state dict is of another kind, or of other classes than those that the network has.
        """
        known = self._ensemble
        device = self._options["device"] if known is None else next(self.network.parameters()).device
        ensemble = CheckpointEnsemble.from_state(state_dict, **{**self._options, "device": device})
        if known is not None and known.names != ensemble.names:
            raise InputError(
                f"the weights are of the classes {', '.join(ensemble.names)}, the network gives "
                f"{', '.join(known.names)}; start the program again to have the new ones"
            )
        self._hold(ensemble)
        return nn.Identity().load_state_dict({})  # nothing missing, nothing unexpected

    def forward(self, image: Tensor) -> Tensor:
        """
        Args:
            image: (B, C, H, W) or (B, C, H, W, D), see `CheckpointEnsemble.predict_tensor`.

        Returns:
            (B, n, H, W[, D]) float32 on the device of ``image``, n classes with the background first, summing to 1.

        Raises:
            InputError: see `CheckpointEnsemble.predict_tensor`.
        """
        ensemble = self.ensemble
        ensemble.place(next(self.network.parameters()).device)  # ``to`` may have moved it
        plain = image.as_tensor() if isinstance(image, MetaTensor) else image
        found = [ensemble.predict_tensor(one).probability for one in plain]
        out = torch.stack(found).to(image.device)
        return MetaTensor(out, meta=image.meta) if isinstance(image, MetaTensor) else out
