"""What this machine trains best with: number type, compiled or not, and memory that is kept."""

from __future__ import annotations

import ctypes
import logging
import sys
import time
from collections.abc import Callable
from functools import cache

import torch

logger = logging.getLogger(__name__)

_MMAP_MAX, _TRIM_THRESHOLD = -4, -1  # mallopt(3)


def keep_memory() -> None:
    """Let glibc keep what is freed: handing large tensors back and forth to the kernel took a third of a CPU step."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_MMAP_MAX, 0)
        libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)


def matmul_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where its matrix products are clearly faster than float32's (GPUs, CPUs with AVX512-BF16 or AMX)."""
    if device.type != "cpu":
        return torch.bfloat16
    faster = _seconds(torch.bfloat16) * 1.5 < _seconds(torch.float32)
    return torch.bfloat16 if faster else torch.float32


def compiled(function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """`function` compiled; as it is from the first failure on, because a missing compiler must not cost a run."""
    fast, working = torch.compile(function, dynamic=False), True

    def call(*given: object) -> torch.Tensor:
        nonlocal working
        if working:
            try:
                return fast(*given)
            except Exception as error:  # what a compiler raises has no common base
                working = False
                logger.warning("torch.compile does not work here (%s); training goes on without it", error)
        return function(*given)

    return call


@cache
def _seconds(dtype: torch.dtype) -> float:
    """The best of six products; of two where bfloat16 is emulated, and one takes a tenth of a second or more."""
    matrix = torch.ones(512, 512, dtype=dtype)
    taken: list[float] = []
    while len(taken) < 2 or (len(taken) < 6 and sum(taken) < 0.2):
        began = time.perf_counter()
        torch.mm(matrix, matrix)
        taken.append(time.perf_counter() - began)
    return min(taken)
