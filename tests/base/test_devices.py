"""Half precision only where the device computes in it."""

from __future__ import annotations

import pytest
import torch

from medclipsam_monai.base.devices import autocast, half_precision


def _cpu_with(monkeypatch: pytest.MonkeyPatch, **units: bool) -> None:
    found = {"avx2": True, "architecture": "x86_64", **units}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)


@pytest.mark.parametrize("unit", ["avx512_bf16", "amx_bf16", "bf16"])
def test_cpu_with_bfloat16_units_uses_them(monkeypatch: pytest.MonkeyPatch, unit: str) -> None:
    _cpu_with(monkeypatch, **{unit: True})
    assert half_precision("cpu") is torch.bfloat16
    with autocast("cpu"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is torch.bfloat16


def test_cpu_without_bfloat16_units_stays_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    _cpu_with(monkeypatch, avx512_bf16=False)
    assert half_precision("cpu") is None
    with autocast("cpu"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is torch.float32


def test_a_torch_that_cannot_tell_stays_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert half_precision("cpu") is None


def test_autocast_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    _cpu_with(monkeypatch, amx_bf16=True)
    with autocast("cpu", enabled=False):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is torch.float32


def test_accelerators_have_a_type_of_their_own() -> None:
    assert half_precision("cuda:1") is torch.bfloat16
    assert half_precision("mps") is torch.float16
