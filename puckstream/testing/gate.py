"""A gate that lets a counted number of waiters through."""

from __future__ import annotations

import asyncio
from collections import deque

__all__ = ["Gate"]


class Gate:
    """Lets one waiter through for each release, the longest waiting first.

    Args:
        open: whether everybody may pass.
    """

    def __init__(self, *, open: bool = False) -> None:  # noqa: A002  it is what gates are
        self._is_open = open
        self._ahead = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def wait(self) -> None:
        """Pass, now or when it is this caller's turn. A cancelled caller takes no turn."""
        if self._is_open:
            return
        if self._ahead:
            self._ahead -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()
            raise

    def release(self, count: int = 1) -> None:
        """Let ``count`` more through; what nobody waits for is kept."""
        for _ in range(count):
            while self._waiting and self._waiting[0].done():
                self._waiting.popleft()
            if self._waiting:
                self._waiting.popleft().set_result(None)
            else:
                self._ahead += 1

    def open(self) -> None:
        """Let everybody through from now on."""
        self._is_open = True
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
