"""`WriteOutputs`: files of an engine's run, written by a handler, for hosts that write themselves run no handlers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ignite.engine import Engine
from monai.data import decollate_batch
from monai.engines import IterationEvents
from monai.utils import CommonKeys


class WriteOutputs:
    """Handler of MONAI's evaluators: give each item of the network's output to a transform that writes files.

    The transform gets an item as the network left it, before any postprocessing: its image and its prediction. What it
    returns is not kept. So a bundle's postprocessing has no side effects, and MONAI Label or MONAI Deploy, which take a
    bundle's transforms and not its handlers, write one answer.

    Args:
        transform: takes an item, such as `WriteMaskd`.
    """

    def __init__(self, transform: Callable[[dict[str, Any]], Any]) -> None:
        self.transform = transform

    def attach(self, engine: Engine) -> None:
        """
        Args:
            engine: an evaluator of MONAI.
        """
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Write the items of the batch that was predicted just now.

        Raises:
            InputError: a file cannot be written.
        """
        output: Mapping[str, Any] = engine.state.output  # type: ignore[assignment]
        batch = {key: output[key] for key in (CommonKeys.IMAGE, CommonKeys.PRED)}
        for item in decollate_batch(batch):
            self.transform(item)
