"""One request to the scripted model while it is answered: plays a script, fault included."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping

from puckstream.testing.connection import Connection
from puckstream.testing.dialect import Asked, Dialect, Reply
from puckstream.testing.gate import Gate
from puckstream.testing.record import Ending, Record
from puckstream.testing.script import Fault, Piece, Script

__all__ = ["Exchange"]

_JSON = {"content-type": "application/json"}

_BREATH = 32
"""Tokens sent without a pause before the loop gets its turn."""


class Exchange:
    """Answers ``asked`` on ``connection`` as ``script`` says, in the words of ``dialect``.

    Args:
        id: what the log calls the request.
        name: the script's name.
        gate: what every chunk of a stream waits at.
        on_change: called when the record has changed.
    """

    def __init__(
        self,
        *,
        id: str,
        dialect: Dialect,
        asked: Asked,
        name: str,
        script: Script,
        connection: Connection,
        gate: Gate,
        on_change: Callable[[], None],
    ) -> None:
        self.id = id
        self._dialect = dialect
        self._asked = asked
        self._name = name
        self._script = script
        self._connection = connection
        self._gate = gate
        self._on_change = on_change
        self._pieces = script.pieces(asked.said)
        self._total = sum(piece.tokens for piece in self._pieces)
        self._started = time.time()
        self._sent = 0
        self._ended: Ending | None = None
        self._when: float | None = None

    def record(self) -> Record:
        """What there is to know by now."""
        return Record(
            id=self.id,
            model=self._asked.model,
            script=self._name,
            stream=self._asked.stream,
            connection=self._connection.number,
            started=self._started,
            tokens_sent=self._sent,
            tokens_total=self._total,
            ended=self._ended,
            when=self._when,
            closed=self._connection.lost,
            dialect=self._dialect.name,
        )

    def end(self, how: Ending) -> None:
        """Note how it ended."""
        self._ended = how
        self._when = time.time()

    async def play(self) -> Ending:
        """Answer, and return how the answer ended.

        Raises:
            asyncio.CancelledError: if the client closed its connection, or the server stops.
        """
        script, connection = self._script, self._connection
        await asyncio.sleep(script.delay_head)
        fault = script.fault
        if fault is not None and fault.before_head:
            return await self._refuse(fault)
        reply = self._dialect.reply(self._asked, script, self.id, int(self._started))
        known = {"x-request-id": self.id}
        if not self._asked.stream:
            return await self._answer_whole(reply, known)
        streamed = {"content-type": self._dialect.media, "cache-control": "no-cache"}
        await connection.head(200, {**streamed, **known})
        await connection.send(reply.opening())
        await asyncio.sleep(script.delay)
        start = asyncio.get_running_loop().time()
        for due, gone in self._plan():
            await self._until_due(gone, start)
            if isinstance(due, Fault):
                if due.kind != "malformed":
                    return await self._break_off(due, reply)
                await connection.send(reply.fault(due))
                continue
            await self._gate.wait()
            self._sent += due.tokens
            await connection.send(reply.piece(due))
            self._on_change()
        await self._gate.wait()
        await connection.send(b"".join(reply.ending(self._pieces)))
        await connection.end()
        return "complete"

    def _plan(self) -> Iterator[tuple[Piece | Fault, int]]:
        """Yield every piece, and the fault in its place, with the tokens that come before."""
        fault, gone = self._script.fault, 0
        for piece in self._pieces:
            if fault is not None and gone >= (fault.after or 0):
                yield fault, gone
                fault = None
            yield piece, gone
            gone += piece.tokens
        if fault is not None:
            yield fault, gone

    async def _until_due(self, tokens: int, start: float) -> None:
        """Wait until ``tokens`` tokens have had their time since ``start``."""
        if self._script.rate:
            due = start + tokens / self._script.rate
            await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
        elif tokens % _BREATH == 0:
            await asyncio.sleep(0)

    async def _refuse(self, fault: Fault) -> Ending:
        """Do what goes wrong before the head of the response."""
        if fault.kind != "status":
            return await self._vanish(fault)
        headers = dict(_JSON)
        if fault.retry_after is not None:
            headers["retry-after"] = f"{fault.retry_after:g}"
        body = self._dialect.error(fault.message, fault.type)
        await self._connection.whole(fault.status, body, headers)
        return "fault"

    async def _break_off(self, fault: Fault, reply: Reply) -> Ending:
        """Do what goes wrong in the middle of a stream, and ends it."""
        if fault.kind == "error":
            await self._connection.send(reply.fault(fault))
            await self._connection.end()
            return "fault"
        return await self._vanish(fault)

    async def _vanish(self, fault: Fault) -> Ending:
        if fault.kind == "stall":
            await asyncio.get_running_loop().create_future()
        self._connection.cut()
        return "fault"

    async def _answer_whole(self, reply: Reply, headers: Mapping[str, str]) -> Ending:
        """Answer a request that is not streamed; a fault in the middle ends it."""
        await asyncio.sleep(self._script.delay)
        start = asyncio.get_running_loop().time()
        for due, gone in self._plan():
            await self._until_due(gone, start)
            if isinstance(due, Fault):
                if due.kind in ("stall", "cut"):
                    return await self._vanish(due)
                failed = due.kind == "error"
                body = self._dialect.error(due.message, due.type) if failed else b'{"id": "cha'
                status = 500 if failed else 200
                await self._connection.whole(status, body, {**_JSON, **headers})
                return "fault"
            self._sent += due.tokens
        await self._connection.whole(200, reply.whole(self._pieces), {**_JSON, **headers})
        return "complete"
