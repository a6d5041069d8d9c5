"""Which workloads there are, in the order of the table; each is a file of ``workloads/``."""

from __future__ import annotations

import importlib
from typing import Final

from benchmarks.workload import Workload

__all__ = ["NAMES", "load"]

NAMES: Final = (
    "spawn",
    "spawn_memory",
    "stop",
    "tell",
    "ask",
    "ask_from_thread",
    "ping_pong",
    "ring",
    "fan_out",
    "skynet",
    "restart",
    "tell_from_thread",
    "streams",
    "streams_open",
    "one_stream",
    "join",
    "cancel",
    "slow_subscriber",
)


def load(name: str) -> Workload:
    """Return the workload of that name.

    Raises:
        ModuleNotFoundError: if there is none.
    """
    module = importlib.import_module(f"benchmarks.workloads.{name}")
    workload = module.WORKLOAD
    assert isinstance(workload, Workload)
    return workload
