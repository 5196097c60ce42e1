"""The zero-shot chain with labelled examples: they say where a class is, alone or together with a text."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.examples import Examples
from medclipsam_monai.networks.protocols import PatchEncoder
from medclipsam_monai.presets.parameters import ExampleParameters
from medclipsam_monai.presets.settings import Settings
from medclipsam_monai.prompts import WordlessTarget
from medclipsam_monai.saliency.prototypes import ByExamples
from medclipsam_monai.zero_shot.network import ZeroShotSegmenter

CUT = {"coarse.threshold": 0.5}
"""The maps of examples are probabilities: the coarse mask is where they are at least that."""


class ExampleSegmenter(ZeroShotSegmenter):
    """A `ZeroShotSegmenter` whose saliency is `ByExamples`; all other stages are the same.

    It takes one class at a time, a text or `WordlessTarget`. Presence is told by the text where there is one.

    Args:
        network: whose networks are used.
        examples: labelled pictures.
        patches: an encoder of pictures whose tokens are compared in place of the CLIP's.
        settings: None for the network's own with `CUT`.

    Raises:
        InputError: settings that cannot go together with examples, or a layer that the encoder does not have.
    """

    examples: Examples
    patches: PatchEncoder | None

    def __init__(
        self,
        network: ZeroShotSegmenter,
        examples: Examples,
        patches: PatchEncoder | None = None,
        settings: Settings | None = None,
    ) -> None:
        # `_use`, which the next line calls, reads these; a network among them is no part of this one's weights.
        self.__dict__.update(examples=examples, patches=patches, _by_examples=None)
        super().__init__(
            network.encoder,
            network.segmenter,
            network.settings.replace(CUT) if settings is None else settings,
            amp=network.amp,
            text=WordlessTarget() if network.text is None else network.text,
            known_pictures=network.known_pictures,
            calibrated_presence=network.calibrated_presence,
        )

    @property
    def told(self) -> dict[str, Any]:
        """What a record says of the examples: how many, their hash, and the parameters of the method."""
        parameters = asdict(ExampleParameters(**self.settings.examples))
        return {"count": len(self.examples), "sha256": self.examples.sha256, **parameters}

    def _use(self, settings: Settings) -> None:
        super()._use(settings)
        if settings.prompt_ensemble != "embeddings":
            raise InputError("prompt_ensemble=maps is for texts alone; with examples it must be embeddings")
        made = self.__dict__["_by_examples"]
        wanted = (self.encoder, settings.examples, settings.saliency)
        if made is None or made[0] != wanted:  # examples are encoded anew only where something else is made of them
            patches = None if self.patches is None else self.patches.with_fit(settings.fit)
            parameters = ExampleParameters(**settings.examples)
            method = ByExamples(self.encoder, self.examples, parameters, self.saliency, patches)
            made = self.__dict__["_by_examples"] = (wanted, method)
        self.saliency = made[1]
