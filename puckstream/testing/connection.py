"""One client's connection to the scripted model: HTTP/1.1 by h11 on an asyncio transport."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import cast

import h11

__all__ = ["Connection", "Handler", "Incoming"]

_LARGEST = 64 * 1024 * 1024
"""Bytes of a request's body: prompts with images are large."""


class Incoming:
    """A request, complete with its body."""

    __slots__ = ("body", "headers", "method", "path")

    def __init__(self, request: h11.Request) -> None:
        self.method = request.method.decode()
        self.path = request.target.decode("ascii", "replace").partition("?")[0]
        self.headers: Mapping[str, str] = {
            name.decode(): value.decode("latin-1") for name, value in request.headers
        }
        self.body = b""


Handler = Callable[["Connection", Incoming], Awaitable[None]]


class Connection(asyncio.Protocol):
    """Reads requests, one at a time, and lets ``handler`` answer each in a task.

    The task is cancelled the moment the client closes, also while it is silent.

    Args:
        number: what the log calls the connection.
        handler: answers a request by `head`, `send` and `end`, or `cut`.
        on_lost: called once, when the connection is closed.
    """

    def __init__(
        self, number: int, handler: Handler, on_lost: Callable[[Connection], None]
    ) -> None:
        self.number = number
        self.lost = False
        self._handler = handler
        self._on_lost = on_lost
        self._http = h11.Connection(h11.SERVER)
        self._incoming: Incoming | None = None
        self._task: asyncio.Task[None] | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._transport = cast("asyncio.Transport", None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        self._http.receive_data(data)
        self._read()

    def eof_received(self) -> None:
        """Called by the loop: a client that closes its half is gone."""
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's
        """Called by the loop."""
        self.lost = True
        self._room.set()
        self._stop()
        self._on_lost(self)

    def pause_writing(self) -> None:
        """Called by the loop: the client does not read."""
        self._room.clear()

    def resume_writing(self) -> None:
        """Called by the loop."""
        self._room.set()

    async def head(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the head of the response."""
        sent = [(name, value) for name, value in headers.items()]
        await self._send(h11.Response(status_code=status, headers=sent))

    async def send(self, data: bytes) -> None:
        """Send a part of the body; waits while the client does not read."""
        await self._send(h11.Data(data=data))

    async def end(self) -> None:
        """Send the end of the response."""
        await self._send(h11.EndOfMessage())

    async def whole(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        """Send a response that is not a stream."""
        await self.head(status, {**headers, "content-length": str(len(body))})
        await self.send(body)
        await self.end()

    def cut(self) -> None:
        """Drop the connection as a crashed server does."""
        self._transport.abort()

    async def aclose(self) -> None:
        """Drop the connection and wait for the task that answers on it."""
        task = self._task
        self._transport.abort()
        self._stop()
        if task is not None:
            await asyncio.wait({task})

    async def _send(self, event: h11.Event) -> None:
        if self.lost or self._transport.is_closing():
            # The task is about to be cancelled: here it waits for that.
            await asyncio.get_running_loop().create_future()
        data = self._http.send(event)
        if data:
            self._transport.write(data)
        if not self._room.is_set():
            await self._room.wait()

    def _read(self) -> None:
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError:
                self._transport.abort()
                return
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return
            if isinstance(event, h11.Request):
                self._incoming = Incoming(event)
                if self._http.they_are_waiting_for_100_continue:
                    go = h11.InformationalResponse(status_code=100, headers=[])
                    self._transport.write(self._http.send(go) or b"")
            elif isinstance(event, h11.Data) and self._incoming is not None:
                self._incoming.body += event.data
                if len(self._incoming.body) > _LARGEST:
                    self._transport.abort()
                    return
            elif isinstance(event, h11.EndOfMessage) and self._incoming is not None:
                self._task = asyncio.ensure_future(self._answer(self._incoming))
                self._task.set_name(f"puckstream:model:{self.number}")
                self._incoming = None

    async def _answer(self, incoming: Incoming) -> None:
        try:
            await self._handler(self, incoming)
        except asyncio.CancelledError:
            return
        except BaseException:
            self._transport.abort()
            raise
        self._task = None
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            self._read()
        elif not self.lost:
            self._transport.close()

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
