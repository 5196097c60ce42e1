"""Which phantoms are drawn for what: one table of seed ranges, so that nothing is tested on what it learnt from.

A phantom is a task and a seed; a range holds for every task. No two ranges share a seed. The shipped weights were made
from the ranges `DEMO_...`, and published figures from those that measure: to move one of these is to make them again.
"""

from __future__ import annotations

from dataclasses import dataclass

from medclipsam_monai.base.errors import InputError


@dataclass(frozen=True)
class SeedRange:
    """Seeds ``first`` to ``first + count - 1``, and what their phantoms are for."""

    name: str
    first: int
    count: int
    use: str

    def seeds(self, count: int, start: int = 0) -> range:
        """Some seeds of the range.

        Args:
            count: how many.
            start: how many of the range to pass over.

        Raises:
            InputError: the range has not so many.
        """
        if start < 0 or count < 0 or start + count > self.count:
            raise InputError(
                f"phantoms of {self.name} have numbers from 0 to {self.count - 1}, got {count} from {start} on"
            )
        return range(self.first + start, self.first + start + count)


DEMO_TRAINING = SeedRange("demo training", 0, 100_000, "the demo CLIP and SAM learn from them")
DEMO_PARTNERS = SeedRange(
    "demo training's partners", 50_000_000, 100_000, "partners of those pictures in which no target can be flipped"
)
DEMO_WORDS = SeedRange("demo words", 10_000_000, 1_000, "the demo CLIP's tokenizer learns their captions")
DEMO_SELECTION = SeedRange("demo selection", 900_000, 100_000, "they decide which targets the model card keeps")
DEMO_EVALUATION = SeedRange("demo evaluation", 2_100_000, 100_000, "the figures of the model card")
SAMPLES = SeedRange("samples", 3_000_000, 10_000, "the pictures that ship, and the floor in the tests")
GATE = SeedRange("quality gate", 3_200_000, 100_000, "the figures of the quality gate")
ENSEMBLE_BENCHMARK = SeedRange("ensemble benchmark", 3_300_000, 100_000, "pictures to time the ensemble on")
THROUGHPUT = SeedRange("throughput", 3_400_000, 10_000, "folders of pictures to time")
WEAK_SUPERVISION = SeedRange(
    "weak supervision", 4_000_000, 1_000_000, "folders that a network is trained, and those that it is tested on"
)
STUDY = SeedRange("study", 5_000_000, 1_000_000, "`medclipsam study phantoms`")
FINE_TUNING = SeedRange("fine-tuning", 6_000_000, 1_000_000, "default pairs to train and to validate on")
SALIENCY_SCORES = SeedRange("saliency scores", 7_000_000, 1_000_000, "how well a fine-tuned CLIP points")
DICOM = SeedRange("DICOM", 8_000_127, 100_000, "DICOM series; the first shows lungs and heart, a brain tumour, a cyst")
VOLUMES = SeedRange("volumes", 9_000_000, 100_000, "phantom volumes, for tests and demos")
REAL_TRAINING = SeedRange("training on real images", 60_000_000, 100_000, "phantoms among real images to learn from")
TORSO_TRAINING = SeedRange("training on torsos", 61_000_000, 1_000_000, "sections of phantom volumes to learn from")
HEAD_TRAINING = SeedRange("training on heads", 62_000_000, 1_000_000, "sections of phantom volumes to learn from")
REAL_PARTNERS = SeedRange("their partners", 110_000_000, 100_000, "as the partners of demo training")

SEED_RANGES = tuple(value for value in vars().values() if isinstance(value, SeedRange))
