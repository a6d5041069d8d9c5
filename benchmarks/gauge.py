"""The instruments: time, CPU time, memory, and the state a turn begins in.

Garbage collection is the same for everybody: on, with Python's own thresholds. Everything is
collected once before a turn; what collections cost during the turn counts.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Coroutine
from statistics import median
from typing import Any, TypeVar

import psutil
import uvloop

__all__ = ["Stopwatch", "cpu_seconds", "on_asyncio", "on_uvloop", "percentile", "resident", "settle"]

T = TypeVar("T")


class Stopwatch:
    """Wall-clock time since it was made."""

    def __init__(self) -> None:
        self.begun = time.perf_counter()

    def seconds(self) -> float:
        """Return the seconds so far."""
        return time.perf_counter() - self.begun

    def micros(self, operations: int) -> float:
        """Return the microseconds so far, per operation."""
        return self.seconds() / operations * 1e6


def cpu_seconds() -> float:
    """Return the CPU time of this process so far: user and system, all threads."""
    return time.process_time()


def resident() -> int:
    """Return the resident memory of this process, in bytes."""
    return int(psutil.Process().memory_info().rss)


def percentile(values: list[float], share: float) -> float:
    """Return the value below which ``share`` of ``values`` lie."""
    if share == 0.5:
        return median(values)
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def settle() -> None:
    """Collect what the turn before has left."""
    gc.collect()
    gc.collect()


def on_asyncio(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run ``main`` on a fresh loop of asyncio's own kind."""
    return asyncio.run(main())


def on_uvloop(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run ``main`` on a fresh uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())
