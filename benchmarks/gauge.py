"""The instruments: time, CPU time, memory, and the state a turn begins in.

Garbage collection is the same for everybody: on, with Python's own thresholds. Everything is
collected once before a turn; what collections cost during the turn counts.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["Stopwatch", "cpu_seconds", "on_asyncio", "settle"]

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


def settle() -> None:
    """Collect what the turn before has left."""
    gc.collect()
    gc.collect()


def on_asyncio(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run ``main`` on a fresh loop."""
    return asyncio.run(main())
