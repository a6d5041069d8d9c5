"""A model to talk to: a real HTTP server that speaks the OpenAI chat dialect from a script.

===========================  ====================================================================
``POST /v1/chat/completions``  an answer, streamed or whole
``GET /v1/models``             the names of the scripts
``GET /healthz``               ``{"status": "ok"}``
``GET /log``                   every request so far, see `Record`
===========================  ====================================================================

Which script answers: the one that the header ``x-puckstream-script`` names (404 if there is none
of that name); else the one named like the model, or like what follows the last slash of the
model's name; else the server's own scripts without a name, in turn; else ``story``.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from puckstream.errors import InvalidOption
from puckstream.testing.builtin_scripts import BUILTIN_SCRIPTS
from puckstream.testing.chat_dialect import BadRequest, ChatReply, ChatRequest, error_body
from puckstream.testing.connection import Connection, Incoming
from puckstream.testing.gate import Gate
from puckstream.testing.record import Ending, Record
from puckstream.testing.script import Fault, Piece, Script

__all__ = ["SCRIPT_HEADER", "ModelServer", "Scripts"]

SCRIPT_HEADER = "x-puckstream-script"

Scripts = Script | Sequence[Script] | Mapping[str, Script | Sequence[Script]]
"""One script, several in turn, or either by name (``""`` for requests that name none)."""

_JSON = {"content-type": "application/json"}
_SSE = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
_BREATH = 32
"""Chunks sent without a pause before the loop gets its turn."""


@dataclass(slots=True, eq=False)
class _Exchange:
    """One request while it is answered."""

    id: str
    chat: ChatRequest
    name: str
    script: Script
    connection: Connection
    pieces: tuple[Piece, ...]
    started: float
    sent: int = 0
    ended: Ending | None = None
    when: float | None = None

    def record(self) -> Record:
        return Record(
            id=self.id,
            model=self.chat.model,
            script=self.name,
            stream=self.chat.stream,
            connection=self.connection.number,
            started=self.started,
            tokens_sent=self.sent,
            tokens_total=sum(piece.tokens for piece in self.pieces),
            ended=self.ended,
            when=self.when,
            closed=self.connection.lost,
        )


class ModelServer:
    """The scripted model, listening while the ``async with`` lasts.

    Args:
        scripts: what to answer; the built-in scripts are always there by their names.
        host: the address to listen on.
        port: the port; 0 takes a free one.
        gated: let nothing out but what `release` allows, so that a test decides what has come.
        on_record: called with the record of every request when it ends.
        remember: how many requests the log keeps.

    Raises:
        OSError: on entering, if the address cannot be had.
        InvalidOption: if there is no script for a name.
    """

    def __init__(
        self,
        scripts: Scripts | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        gated: bool = False,
        on_record: Callable[[Record], None] | None = None,
        remember: int = 10_000,
    ) -> None:
        own = scripts if isinstance(scripts, Mapping) else {"": scripts or BUILTIN_SCRIPTS["story"]}
        self._scripts = {name: _in_turn(name, each) for name, each in _all(own)}
        self._turns = {name: itertools.cycle(each) for name, each in self._scripts.items()}
        self._host = host
        self._port = port
        self._gate = Gate(open=not gated)
        self._on_record = on_record
        self._exchanges: deque[_Exchange] = deque(maxlen=remember)
        self._connections: dict[Connection, None] = {}
        self._numbers = itertools.count(1)
        self._ids = itertools.count(1)
        self._waiting: list[tuple[Callable[[Record], bool], asyncio.Future[Record]]] = []
        self._server: asyncio.Server | None = None
        self._stopping = False

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: self._connected(), self._host, self._port, backlog=4096
        )
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopping = True
        if self._server is not None:
            self._server.close()
        for connection in tuple(self._connections):
            await connection.aclose()
        if self._server is not None:
            await self._server.wait_closed()

    @property
    def url(self) -> str:
        """The ``base_url`` for clients of the OpenAI dialect, with its ``/v1``."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}/v1"

    @property
    def records(self) -> tuple[Record, ...]:
        """Every request so far, oldest first, running ones included."""
        return tuple(exchange.record() for exchange in self._exchanges)

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    def release(self, chunks: int = 1) -> None:
        """Let ``chunks`` more chunks out of a gated server; the end of an answer counts as one.

        Whoever waited longest sends first, whichever request it belongs to. Chunks released
        ahead of time are kept.
        """
        self._gate.release(chunks)

    def release_all(self) -> None:
        """Open the gate for good."""
        self._gate.open()

    async def wait_record(self, predicate: Callable[[Record], bool]) -> Record:
        """Return the first record of which ``predicate`` holds, now or as soon as one does."""
        for record in self.records:
            if predicate(record):
                return record
        found: asyncio.Future[Record] = asyncio.get_running_loop().create_future()
        self._waiting.append((predicate, found))
        return await found

    async def wait_closed(self, request: str) -> Record:
        """Return the record of the request with that id once its connection is closed."""
        return await self.wait_record(lambda record: record.id == request and record.closed)

    async def wait_connections(self, count: int) -> None:
        """Return when exactly ``count`` connections are open."""
        while self.connections != count:
            self._changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            await self._changed
