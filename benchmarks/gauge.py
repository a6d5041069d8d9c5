"""The instruments: time, CPU time, memory, and the state the process is measured in.

Garbage collection is the same for everybody: on, with Python's own thresholds; everything is
collected once before a turn, and what collections cost during the turn counts.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import psutil

__all__ = ["Stopwatch", "cpu_seconds", "median", "on_asyncio", "on_uvloop", "resident", "settle"]

T = TypeVar("T")


class Stopwatch:
    """Wall-clock seconds since it was made."""

    def __init__(self) -> None:
        self.begun = time.perf_counter()

    def seconds(self) -> float:
        """Return the seconds so far."""
        return time.perf_counter() - self.begun

    def micros(self, operations: int) -> float:
        """Return the microseconds so far, per operation."""
        return self.seconds() / operations * 1e6


def cpu_seconds() -> float:
    """Return the CPU time of this process so far, user and system, all threads."""
    return time.process_time()


def resident() -> int:
    """Return the resident memory of this process, in bytes."""
    return int(psutil.Process().memory_info().rss)
