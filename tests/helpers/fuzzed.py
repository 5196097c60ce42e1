"""How many examples the property tests try: a few, always the same, or as many others as FUZZ_EXAMPLES says."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_MANY = os.environ.get("FUZZ_EXAMPLES")
few = settings(
    max_examples=int(_MANY or 15),
    derandomize=_MANY is None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
