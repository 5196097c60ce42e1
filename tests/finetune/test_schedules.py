from __future__ import annotations

import pytest
import torch

from medclipsam_monai.finetune import WarmupCosine, WarmupHalving


def rates(make, steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = make(optimizer)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda o: WarmupCosine(o, total=5, warmup=1), [1.0, 2.0, 1.7071, 1.0, 0.2929, 0.0, 0.0]),
        (lambda o: WarmupCosine(o, total=2), [2.0, 1.0, 0.0]),
        (lambda o: WarmupCosine(o, total=1, warmup=3), [0.5, 1.0, 1.5, 2.0]),
        (lambda o: WarmupHalving(o, every=2), [2.0, 2.0, 1.0, 1.0, 0.5]),
        (lambda o: WarmupHalving(o, every=1, warmup=2), [2 / 3, 4 / 3, 2.0, 1.0]),
    ],
)
def test_rates_step_by_step(make, expected):
    assert rates(make, len(expected)) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    "make", [lambda o: WarmupCosine(o, total=0), lambda o: WarmupHalving(o, 0), lambda o: WarmupHalving(o, 1, -1)]
)
def test_impossible_lengths_are_refused(make):
    with pytest.raises(ValueError, match="must be positive"):
        rates(make, 1)


def test_a_schedule_goes_on_from_its_state():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = WarmupCosine(optimizer, 10, 2)
    for _ in range(6):
        optimizer.step()
        schedule.step()
    other = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    resumed = WarmupCosine(other, 10, 2)
    other.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(schedule.state_dict())
    for one in (optimizer, other):
        one.step()
    schedule.step()
    resumed.step()
    assert other.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]
