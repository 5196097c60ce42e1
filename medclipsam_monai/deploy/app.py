"""The App SDK application: series -> skip what is done -> segment -> write DICOM -> report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monai.deploy.conditions import BooleanCondition
from monai.deploy.core import Application, Fragment, Operator, OperatorSpec

from medclipsam_monai.deploy.report import RunSummary, SeriesWork
from medclipsam_monai.deploy.steps import Job, Step, steps

PORT = "series"


class WorkSource(Operator):
    """Emits one series after the other; the next one waits until the first operator after it is free.

    Args:
        fragment: the application.
        works: the series, at least one.
        name: of the operator.
    """

    def __init__(self, fragment: Fragment, works: Sequence[SeriesWork], name: str) -> None:
        self._waiting = list(works)
        self._more = BooleanCondition(fragment, enable_tick=True, name="more")
        super().__init__(fragment, self._more, name=name)

    def setup(self, spec: OperatorSpec) -> None:
        """One output."""
        spec.output(PORT)

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Emit the next series, and stop after the last."""
        op_output.emit(self._waiting.pop(0), PORT)
        if not self._waiting:
            self._more.disable_tick()


class StepOperator(Operator):
    """Runs one step on each series.

    Args:
        fragment: the application.
        step: what to do.
        last: no operator comes after it.
        name: of the operator.
    """

    def __init__(self, fragment: Fragment, step: Step, last: bool, name: str) -> None:
        self._step, self._last = step, last
        super().__init__(fragment, name=name)

    def setup(self, spec: OperatorSpec) -> None:
        """One input, and one output but for the last."""
        spec.input(PORT)
        if not self._last:
            spec.output(PORT)

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Receive a series, run the step, pass the series on."""
        work = self._step(op_input.receive(PORT))
        if not self._last:
            op_output.emit(work, PORT)


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
