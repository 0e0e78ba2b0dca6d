"""What a machine trains best with is measured, and a GPU is not asked."""

from __future__ import annotations

import pytest
import torch

from pass_lsp.train import machine


@pytest.mark.parametrize(("half", "full", "wanted"), [(1.0, 5.0, torch.bfloat16), (1.0, 1.2, torch.float32)])
def test_half_precision_only_where_it_is_clearly_faster(
    monkeypatch: pytest.MonkeyPatch, half: float, full: float, wanted: torch.dtype
) -> None:
    monkeypatch.setattr(machine, "_seconds", lambda dtype: half if dtype == torch.bfloat16 else full)
    assert machine.matmul_dtype(torch.device("cpu")) == wanted
    assert machine.matmul_dtype(torch.device("cuda")) == torch.bfloat16


def test_products_are_timed_and_keeping_memory_does_no_harm() -> None:
    machine.keep_memory()
    assert all(machine._seconds(dtype) > 0 for dtype in (torch.bfloat16, torch.float32))


def test_a_compiler_that_fails_costs_no_run(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    tried: list[int] = []

    def broken(function: object, dynamic: bool) -> object:
        def call(x: torch.Tensor) -> torch.Tensor:
            tried.append(1)
            raise RuntimeError("no compiler here")

        return call

    monkeypatch.setattr(machine.torch, "compile", broken)
    doubled = machine.compiled(lambda x: 2 * x)
    assert doubled(torch.tensor(2)) == doubled(torch.tensor(2)) == 4
    assert len(tried) == 1 and "no compiler here" in caplog.text
