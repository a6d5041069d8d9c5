"""A model for tests: it answers as it is told, waits at gates, and counts its connections."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import puckstream as puck
from puckstream.testing.gate import Gate

HEAD: Final = "<head>"
"""In an answer: what stands before it happens before the response's head is there."""

WAIT: Final = "<wait>"
"""In an answer: wait at the gate."""


class Upstream:
    """A backend; each request gets the next of ``answers``, the last one over and over.

    An answer is a sequence of chunks and texts to yield, exceptions to raise, `HEAD` and `WAIT`.

    Args:
        closing: what leaving the connection waits for.
        deaf: whether it swallows every cancellation while it waits.
    """

    def __init__(
        self,
        *answers: tuple[Any, ...],
        provider: str = "upstream",
        closing: asyncio.Event | None = None,
        deaf: bool = False,
    ) -> None:
        self.provider = provider
        self.model = f"{provider}-1"
        self.requests: list[puck.Request] = []
        self.open_now = 0
        self.gate = Gate()
        self._answers = answers or ((),)
        self._closing = closing
        self._deaf = deaf

    @property
    def calls(self) -> int:
        return len(self.requests)

    @asynccontextmanager
    async def open(
        self, request: puck.Request, resources: puck.Resources
    ) -> AsyncGenerator[AsyncIterator[puck.Chunk]]:
        self.requests.append(request)
        answer = self._answers[min(self.calls, len(self._answers)) - 1]
        head = answer.index(HEAD) if HEAD in answer else 0
        self.open_now += 1
        try:
            for item in answer[:head]:
                await self._do(item)
            yield self._chunks(answer[head:])
        finally:
            try:
                if self._closing is not None:
                    await self._patiently(self._closing.wait())
            finally:
                self.open_now -= 1

    async def _chunks(self, items: tuple[Any, ...]) -> AsyncGenerator[puck.Chunk]:
        for item in items:
            if item != HEAD and await self._do(item):
                yield item if isinstance(item, puck.Chunk) else puck.Chunk("content", item)

    async def _do(self, item: Any) -> bool:
        """Wait or raise; true for what is to be yielded."""
        if isinstance(item, BaseException):
            raise item
        if item == WAIT:
            await self._patiently(self.gate.wait())
            return False
        return True

    async def _patiently(self, waiting: Any) -> None:
        if not self._deaf:
            await waiting
            return
        task = asyncio.ensure_future(waiting)
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.shield(task)


def busy(retry_after: float | None = None, kind: Any = "overloaded") -> puck.StreamError:
    """Return an error that may be gone a moment later."""
    return puck.StreamError(kind, "try later", retryable=True, retry_after=retry_after)
