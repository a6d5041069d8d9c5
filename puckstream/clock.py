"""Time as a parameter: everything in puckstream that waits takes a `Clock`.

`LoopClock` is the asyncio loop's own time. `puckstream.testing` ships a virtual clock with the
same two methods, so that a test moves time by hand and never sleeps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["Clock", "LoopClock", "Timer"]


class Timer(Protocol):
    """A pending callback that can be taken back."""

    def cancel(self) -> None:
        """Take the callback back; does nothing if it has run."""
        ...


class Clock(Protocol):
    """Monotonic time and callbacks on it. Never wall-clock time."""

    def now(self) -> float:
        """Return monotonic seconds; the origin has no meaning."""
        ...

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Timer:
        """Run ``callback(*args)`` on the loop's thread after ``delay`` seconds.

        Must be called on the loop's thread. Callbacks that fall due together run in the order
        in which they were asked for.
        """
        ...


class LoopClock:
    """The time of an asyncio event loop."""

    __slots__ = ("_loop",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def now(self) -> float:
        """Return the loop's monotonic time in seconds."""
        return self._loop.time()

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Timer:
        """Run ``callback(*args)`` on the loop after ``delay`` seconds."""
        return self._loop.call_later(delay, callback, *args)
