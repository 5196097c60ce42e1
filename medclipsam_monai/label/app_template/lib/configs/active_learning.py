from __future__ import annotations

from monailabel.interfaces.config import TaskConfig
from monailabel.interfaces.tasks.scoring import ScoringMethod
from monailabel.interfaces.tasks.strategy import Strategy

from medclipsam_monai.label.active.embeddings import ImageEmbeddings
from medclipsam_monai.label.active.scoring import (
    ENSEMBLE_ENTROPY,
    PROMPT_DISAGREEMENT,
    EnsembleEntropyScoring,
    PromptDisagreementScoring,
)
from medclipsam_monai.label.active.strategies import Diverse, Mixed, MostUncertain, RandomImage


class ActiveLearning(TaskConfig):
    """Which image comes next, and the scores by which it is chosen."""

    def infer(self) -> None:
        return None

    def trainer(self) -> None:
        return None

    def strategy(self) -> dict[str, Strategy]:
        embeddings = ImageEmbeddings(self.kwargs["models"], self.conf["preset"])
        return {
            "mixed": Mixed(embeddings),
            "most_uncertain": MostUncertain(),
            "diverse": Diverse(embeddings),
            "random": RandomImage(),
        }

    def scoring_method(self) -> dict[str, ScoringMethod]:
        models = self.kwargs["models"]
        return {
            PROMPT_DISAGREEMENT: PromptDisagreementScoring(models, self.conf["text"], self.conf["preset"]),
            ENSEMBLE_ENTROPY: EnsembleEntropyScoring(models),
        }
