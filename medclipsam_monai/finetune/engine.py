"""What MONAI's SupervisedTrainer and SupervisedEvaluator need to work on image-text pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.finetune.gradcache import contrastive_backward

_NAMED = 8  # images of a bad batch that the message names


def prepare_pairs(
    batch: Mapping[str, Any], device: str | torch.device | None = None, non_blocking: bool = False, **options: Any
) -> tuple[Tensor, dict[str, Tensor], tuple[Tensor], dict[str, Any]]:
    """A batch of `ImageTextDataset` as the engines want it: inputs, labels, further arguments, named arguments."""
    image, text, case, caption = (
        batch[key].to(device=device, non_blocking=non_blocking) for key in ("image", "text", "case", "caption")
    )
    return image, {"case": case, "caption": caption}, (text,), {}


def retrieval_features(output: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    """From an evaluator's output to what the retrieval metrics take."""
    image, text = output["pred"]
    return image, text, output["label"]["caption"]


class ContrastiveUpdate:
    """One optimiser step of `SupervisedTrainer`, over the joint batch of all ranks.

    Give it as `iteration_update`; the trainer's `decollate` must be off. The output is a list of one dictionary, as
    MONAI's handlers expect, with "loss", and "temperature" where it is learned.

    Args:
        chunk_size: pairs that go through the network at once; None for all. The gradient is the same.
        max_grad_norm: gradients are scaled down to this norm; None leaves them.
    """

    def __init__(self, chunk_size: int | None = None, max_grad_norm: float | None = 1.0) -> None:
        if max_grad_norm is not None and max_grad_norm <= 0:
            raise ValueError(f"max_grad_norm must be positive, got {max_grad_norm}")
        self.chunk_size = chunk_size
        self.max_grad_norm = max_grad_norm

    def __call__(self, engine: Any, batch: Mapping[str, Any]) -> list[dict[str, float]]:
        """Run the step.

        Raises:
            InputError: if the loss is not a finite number; it names the batch.
        """
        image, labels, (text,), _ = engine.prepare_batch(batch, engine.state.device, engine.non_blocking)
        scaler = engine.scaler if engine.amp else None

        def autocast() -> Any:
            return torch.autocast(image.device.type, enabled=engine.amp, **engine.amp_kwargs)

        def backward(loss: Tensor) -> None:
            (loss if scaler is None else scaler.scale(loss)).backward()

        engine.network.train()
        engine.optimizer.zero_grad(set_to_none=True)
        loss = contrastive_backward(
            engine.network,
            engine.loss_function,
            image,
            text,
            (labels["case"], labels["caption"]),
            self.chunk_size,
            autocast,
            backward,
        )
        if not torch.isfinite(loss):
            raise InputError(_describe(float(loss), engine.state, batch["name"]))
        self._step(engine.optimizer, scaler)
        return [{"loss": float(loss), **_temperature(engine.loss_function)}]

    def _step(self, optimizer: torch.optim.Optimizer, scaler: Any) -> None:
        if scaler is not None:
            scaler.unscale_(optimizer)
        if self.max_grad_norm is not None:
            parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            nn.utils.clip_grad_norm_(parameters, self.max_grad_norm)
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()


def _temperature(loss: nn.Module) -> dict[str, float]:
    tau = getattr(loss, "temperature", None)
    return {"temperature": float(tau.detach())} if isinstance(tau, Tensor) else {}


def _describe(loss: float, state: Any, names: Sequence[str]) -> str:
    named = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    return (
        f"the loss is {loss} in epoch {state.epoch}, iteration {state.iteration}, and training stopped; "
        f"lower the learning rate or look at the batch: {named}"
    )
