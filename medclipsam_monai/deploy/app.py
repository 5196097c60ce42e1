"""The App SDK application: series -> skip what is done -> segment -> write DICOM -> report."""

from __future__ import annotations

from collections.abc import Sequence

from monai.deploy.core import Application

from medclipsam_monai.deploy.operators import StepOperator, WorkSource
from medclipsam_monai.deploy.report import RunSummary, SeriesWork
from medclipsam_monai.deploy.steps import Job, steps


class SegmentationApp(Application):
    """Segments the chosen series one after the other; memory holds few of them at a time.

    What was chosen is known before: a folder with nothing to do is refused before any network is loaded.

    Args:
        works: the chosen series, at least one.
        job: what to do with them.
        summary: filled while the application runs.
    """

    def __init__(self, works: Sequence[SeriesWork], job: Job, summary: RunSummary) -> None:
        self._works, self._steps = list(works), steps(job, summary)
        super().__init__()

    def compose(self) -> None:
        """Chain the operators."""
        before = WorkSource(self, self._works, name="series")
        names = list(self._steps)
        for name in names:
            operator = StepOperator(self, self._steps[name], last=name == names[-1], name=name)
            self.add_flow(before, operator)
            before = operator
