"""Figures of several engines as one text."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from types import SimpleNamespace

import pytest

pytest.importorskip("starlette")

from pass_lsp.serving.cluster import Replica
from pass_lsp.serving.gauges import Gauges, joined


def test_replicas_of_two_machines_whose_processes_have_one_number_are_two(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {}
    for host, refused in (("gpu-1", 2), ("gpu-2", 3)):
        monkeypatch.setattr(socket, "gethostname", lambda host=host: host)
        gauges = Gauges(lambda: 0)
        for _ in range(refused):
            gauges.refused(429)
        replica = Replica.__new__(Replica)  # without an engine
        replica.service = SimpleNamespace(gauges=gauges)  # type: ignore[assignment]
        name, families = asyncio.run(replica.figures())
        told[name] = families
    found = re.findall(
        r'^pass_lsp_requests_total{replica="(.+)",status="429"} (.+)$', joined(told).decode(), re.MULTILINE
    )
    assert found == [(f"gpu-1:{os.getpid()}", "2.0"), (f"gpu-2:{os.getpid()}", "3.0")]
