"""An upstream that says what a test tells it to, byte by byte if need be, and knows who left."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from types import TracebackType
from typing import Literal, Self

from puckstream.testing.conditions import Conditions
from puckstream.testing.connection import Connection, Incoming

__all__ = ["Upstream"]

Ending = Literal["end", "stall", "cut"]


class Upstream:
    """A server that answers every request alike, while the ``async with`` lasts.

    The attributes may be changed between two requests.

    Args:
        body: what it answers.
        media: the answer's media type.
        status: the answer's status.
        headers: further headers of the answer.
        piece: how many bytes go out at a time; ``None`` is all at once.
        then: what follows the body: its ``end``, silence (``stall``), or a ``cut`` connection.
        head: whether there is an answer at all, or silence before it.
    """

    def __init__(
        self,
        body: bytes = b"",
        *,
        media: str = "text/event-stream",
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        piece: int | None = None,
        then: Ending = "end",
        head: bool = True,
    ) -> None:
        self.body = body
        self.media = media
        self.status = status
        self.headers = dict(headers or {})
        self.piece = piece
        self.then: Ending = then
        self.head = head
        self.requests: list[Incoming] = []
        """What was asked, in order."""
        self._numbers = itertools.count(1)
        self._connections: dict[Connection, None] = {}
        self._conditions = Conditions()
        self._server: asyncio.Server | None = None
        self._port = 0

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connected, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for connection in tuple(self._connections):
            await connection.aclose()
        await self.wait_connections(0)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        """Its address, without a path."""
        return f"http://127.0.0.1:{self._port}"

    async def wait_requests(self, count: int) -> None:
        """Return when at least ``count`` requests have come."""
        await self._conditions.until(lambda: len(self.requests) >= count)

    async def wait_connections(self, count: int) -> None:
        """Return when exactly ``count`` connections are open."""
        await self._conditions.until(lambda: len(self._connections) == count)

    def _connected(self) -> Connection:
        connection = Connection(next(self._numbers), self._answer, self._lost)
        self._connections[connection] = None
        self._conditions.changed()
        return connection

    def _lost(self, connection: Connection) -> None:
        del self._connections[connection]
        self._conditions.changed()

    async def _answer(self, connection: Connection, incoming: Incoming) -> None:
        self.requests.append(incoming)
        self._conditions.changed()
        if self.head:
            await connection.head(self.status, {"content-type": self.media, **self.headers})
            size = self.piece or len(self.body) or 1
            for start in range(0, len(self.body), size):
                await connection.send(self.body[start : start + size])
        if self.then == "stall" or not self.head:
            await asyncio.get_running_loop().create_future()
        elif self.then == "cut":
            connection.cut()
        else:
            await connection.end()
