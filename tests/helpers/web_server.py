"""A page that is served in the process of the tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Served:
    """Where a page is, and who visits it."""

    url: str
    visits: Any


@contextmanager
def served_page(password: str | None = None) -> Iterator[Served]:
    """Serve a page of the preset `small` that takes 20 MB."""
    from medclipsam_monai.web.server import serving
    from medclipsam_monai.web.visits.answer import Limits
    from medclipsam_monai.web.visits.networks import Networks
    from medclipsam_monai.web.visits.question import Question
    from medclipsam_monai.web.visits.registry import Visits

    visits = Visits(Networks("small", "cpu"), Limits(upload=20_000_000))
    visits.networks.segmenter(Question())
    with serving(visits, password) as url:
        yield Served(url, visits)
