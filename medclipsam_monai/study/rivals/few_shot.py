"""Methods that are shown a few labelled pictures, to be compared with those that are given a text.

Prototypes are this package's `ExampleSegmenter` without a text, the idea of ProtoSAM (arXiv:2407.07042); UniverSeg
(arXiv:2304.06131) has a network of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from medclipsam_monai.io.examples import Examples
from medclipsam_monai.networks.universeg import UniverSeg, load_universeg
from medclipsam_monai.prompts import WordlessTarget
from medclipsam_monai.study.cases import Case
from medclipsam_monai.study.conditions import PROTOTYPES, UNIVERSEG
from medclipsam_monai.study.rivals.shots import Shots
from medclipsam_monai.weights.registry import resolve, weight_hash
from medclipsam_monai.zero_shot.encoded import EncodedImages
from medclipsam_monai.zero_shot.examples.network import ExampleSegmenter
from medclipsam_monai.zero_shot.network import ZeroShotSegmenter

Way = Callable[[EncodedImages], Tensor]
"""One picture to a mask (H, W) bool."""


def by_prototypes(network: ExampleSegmenter, images: EncodedImages) -> Tensor:
    """The mask (H, W) bool of what the examples show in one picture, by the whole chain without a text."""
    (found,) = network.segment_encoded(images, network.encode_texts((WordlessTarget(),)))
    return found.mask[0].bool().cpu()


def by_universeg(network: UniverSeg, examples: Examples, images: EncodedImages) -> Tensor:
    """The mask (H, W) bool of what the examples show in one picture."""
    return network.segment(images.pictures[0], examples.pairs).cpu() > 0.5


class FewShot:
    """The methods with the examples of some tasks; what they make of these is made once.

    Args:
        examples: by task.
        device: of UniverSeg.
    """

    def __init__(self, examples: Mapping[str, Examples], device: str | torch.device = "cpu") -> None:
        self.examples, self.device = examples, device
        self._universeg: UniverSeg | None = None
        self._prototypes: dict[str, ExampleSegmenter] = {}

    @classmethod
    def of(cls, shots: Shots | None, cases: Sequence[Case], folder: Path, device: str | torch.device) -> FewShot | None:
        """The methods with examples of the tasks that are measured; None where no examples are given.

        Args:
            shots: where they come from.
            cases: that are measured.
            folder: phantoms are drawn into it.
            device: of UniverSeg.

        Raises:
            InputError: examples that cannot be used, or too few.
        """
        if shots is None:
            return None
        return cls(shots.draw(list(dict.fromkeys(case.task for case in cases)), folder), device)

    def text(self, task: str) -> str:
        """What a table says in place of a text."""
        count = len(self.examples[task])
        return f"{count} example{'s' if count > 1 else ''}"

    def way(self, name: str, task: str, network: ZeroShotSegmenter) -> Way:
        """A method with a task's examples.

        Args:
            name: `PROTOTYPES` or `UNIVERSEG`, which is also the name of its weights.
            task: whose examples are shown.
            network: always the same networks for a task; UniverSeg does not use them.

        Raises:
            InputError: UniverSeg's weights are not there, or are of another network.
        """
        if name == PROTOTYPES:
            if task not in self._prototypes:
                self._prototypes[task] = ExampleSegmenter(network, self.examples[task])
            return partial(by_prototypes, self._prototypes[task])
        if self._universeg is None:
            self._universeg = load_universeg(resolve(UNIVERSEG), self.device)
        return partial(by_universeg, self._universeg, self.examples[task])


def shown_settings(names: Sequence[str], few_shot: FewShot | None) -> dict[str, object]:
    """What decides the scores of some methods beside the preset, for `StudyTable`: examples and weights by hash.

    Args:
        names: some of `medclipsam_monai.study.conditions.FEW_SHOT`.
        few_shot: the methods; None where no examples are given.

    Raises:
        InputError: UniverSeg's weights are not there.
    """
    if not names or few_shot is None:
        return {}
    shown = {task: [len(one), one.sha256] for task, one in few_shot.examples.items()}
    own = {"own weights": {UNIVERSEG: weight_hash(resolve(UNIVERSEG))}} if UNIVERSEG in names else {}
    return {"examples": shown, **own}
