"""The noise of the bottleneck is that of its seed, kept or not."""

import pytest
import torch

from medclipsam_monai.saliency import noise
from medclipsam_monai.saliency.noise import noise_of_steps

CPU = torch.device("cpu")


@pytest.mark.parametrize("most", [0, 10**6])
def test_noise_is_what_one_generator_draws_step_by_step(most, monkeypatch):
    monkeypatch.setattr(noise, "_MOST_KEPT", most)
    generator = torch.Generator().manual_seed(7)
    wanted = [torch.randn(2, 3, 4, generator=generator) for _ in range(5)]
    for _ in range(2):
        assert torch.equal(torch.stack(list(noise_of_steps(7, 5, (2, 3, 4), CPU))), torch.stack(wanted))


def test_little_noise_is_kept_and_much_is_not(monkeypatch):
    monkeypatch.setattr(noise, "_MOST_KEPT", 120)
    first, again = (list(noise_of_steps(7, 5, (2, 3, 4), CPU)) for _ in range(2))
    assert first[0] is again[0]
    first, again = (list(noise_of_steps(7, 6, (2, 3, 4), CPU)) for _ in range(2))
    assert first[0] is not again[0]
    assert torch.equal(first[0], again[0])


def test_another_seed_gives_other_noise():
    one, other = (next(iter(noise_of_steps(seed, 1, (8,), CPU))) for seed in (1, 2))
    assert not torch.equal(one, other)
