"""Time that a test moves by hand."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Any, Final

__all__ = ["VirtualClock"]

# Turns of a loop after which something keeps it busy that will never end.
TURNS: Final = 100_000
# Turns that have to do on a loop that does not show whether it has anything left to run.
BLIND_TURNS: Final = 50


class VirtualClock:
    """A `puckstream.clock.Clock` on which no time passes but by `advance` and `elapse`.

    Pass it as ``Node(clock=…)`` and nothing in the node waits for real time. Like every clock it
    belongs to the thread of one loop.

    Args:
        start: the first ``now()``, in seconds.
    """

    def __init__(self, start: float = 0.0) -> None:
        self._now = start
        self._numbers = itertools.count()
        self._timers: list[tuple[float, int, _Timer]] = []

    def __repr__(self) -> str:
        return f"<VirtualClock at {self._now:g} s, {len(self.delays)} pending>"

    def now(self) -> float:
        """Return the seconds this clock stands at."""
        return self._now

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> _Timer:
        """Run ``callback(*args)`` when time has been moved ``delay`` seconds on.

        Returns:
            A handle whose ``cancel()`` takes the callback back.
        """
        timer = _Timer(callback, args)
        heapq.heappush(self._timers, (self._now + max(delay, 0.0), next(self._numbers), timer))
        return timer

    @property
    def delays(self) -> list[float]:
        """The seconds that every pending callback still has to wait, in order."""
        return sorted(due - self._now for due, _, timer in self._timers if timer.pending)

    def advance(self, seconds: float) -> None:
        """Move time on and run the callbacks that fall due, in order.

        Each sees its own due time as ``now()``. What a callback asks for within these seconds
        runs as well; what an actor asks for once it has been told does not: see `elapse`.

        Raises:
            ValueError: if ``seconds`` is negative; time has not moved then.
            Exception: what a callback raises; the clock stands at its due time then.
        """
        end = self._end(seconds)
        while self._fire_next(end):
            pass
        self._now = end

    async def elapse(self, seconds: float) -> None:
        """Move time on like `advance`, and let the running loop come to rest after every callback.

        Raises:
            ValueError: if ``seconds`` is negative; time has not moved then.
            RuntimeError: if the loop does not come to rest.
            Exception: what a callback raises; the clock stands at its due time then.
        """
        end = self._end(seconds)
        await self.settle()
        while self._fire_next(end):
            await self.settle()
        self._now = end

    @staticmethod
    async def settle() -> None:
        """Let the running loop do what it can without time passing or the network answering.

        Where the loop does not show whether it has anything left to run (uvloop), it gets a
        fixed number of turns.

        Raises:
            RuntimeError: if something keeps the loop busy for ever.
        """
        ready: Any = getattr(asyncio.get_running_loop(), "_ready", None)
        if ready is None:
            for _ in range(BLIND_TURNS):
                await asyncio.sleep(0)
            return
        for _ in range(TURNS):
            await asyncio.sleep(0)
            if not ready:
                return
        msg = f"the event loop has not come to rest within {TURNS} turns"
        raise RuntimeError(msg)

    def _end(self, seconds: float) -> float:
        if seconds < 0:
            msg = f"time does not go back by {-seconds:g} seconds"
            raise ValueError(msg)
        return self._now + seconds

    def _fire_next(self, end: float) -> bool:
        """Run the next callback that is due by ``end``; false if there is none."""
        while self._timers and self._timers[0][0] <= end:
            due, _, timer = heapq.heappop(self._timers)
            if timer.pending:
                # Whoever moved the clock from within a callback has been here already.
                self._now = max(self._now, due)
                timer.fire()
                return True
        return False


class _Timer:
    """A pending callback."""

    __slots__ = ("_args", "_callback", "pending")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self._callback = callback
        self._args = args
        self.pending = True

    def fire(self) -> None:
        self.pending = False
        self._callback(*self._args)

    def cancel(self) -> None:
        """Take the callback back; does nothing if it has run."""
        self.pending = False
        # It stays in line until it is due, and must keep nothing alive till then.
        self._args = ()
