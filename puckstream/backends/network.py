"""The sockets under httpx: httpcore's network seam on plain asyncio.

Used instead of httpcore's own backend for two reasons. That one arms and disarms the selector
for every read, a quarter of the CPU a paced stream costs. And it times out by cancelling the
task it runs in, which could not be told from the caller's own cancellation. Here nothing cancels
the task, every wait for the network is a `Door`, and when `aclose` returns the socket is closed.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

import httpcore

from puckstream.backends.cancellation import Door, to_the_end
from puckstream.backends.dial import dial

__all__ = ["AsyncioNetwork"]

T = TypeVar("T")

_HIGH_WATER = 256 * 1024
"""Unread bytes above which the socket is not read any further."""


class AsyncioNetwork(httpcore.AsyncNetworkBackend):
    """Opens TCP connections on the running asyncio loop, uvloop included."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect; cancelled or failed, it leaves no socket behind.

        Raises:
            httpcore.ConnectError: if the host cannot be found or reached.
            httpcore.ConnectTimeout: after ``timeout`` seconds.
        """
        wire = _Wire()
        try:
            await _within(timeout, _connect(wire, host, port, local_address))
        except TimeoutError:
            await wire.aclose()
            msg = f"no connection within {timeout} s"
            raise httpcore.ConnectTimeout(msg) from None
        except OSError as error:
            raise httpcore.ConnectError(str(error) or type(error).__name__) from error
        except asyncio.CancelledError:
            await wire.aclose()
            raise
        if socket_options is not None:
            raw = wire.transport.get_extra_info("socket")
            for option in socket_options:
                raw.setsockopt(*option)
        return _Stream(wire)

    async def sleep(self, seconds: float) -> None:
        """Suspend for ``seconds``."""
        await asyncio.sleep(seconds)


async def _connect(wire: _Wire, host: str, port: int, local_address: str | None) -> None:
    sock = await dial(host, port, local_address)
    try:
        # A matter of two turns; uvloop, cancelled in between, forgets to say that it is closed.
        await to_the_end(asyncio.get_running_loop().create_connection(lambda: wire, sock=sock))
    finally:
        if wire.transport is None:
            sock.close()


async def _within(timeout: float | None, work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` in a task of its own; it has ended when this returns or raises."""
    task = asyncio.ensure_future(work)
    door = Door()
    task.add_done_callback(lambda _: door.open())
    timer = None
    if timeout is not None:
        timer = asyncio.get_running_loop().call_later(timeout, door.open)
    try:
        await door
    finally:
        if timer is not None:
            timer.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    if task.cancelled():
        raise TimeoutError
    return task.result()


class _Wire(asyncio.Protocol):
    """What the loop tells about one connection."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.unread = b""
        self.ended = False
        self.error: BaseException | None = None
        self._reader: Door | None = None
        self._writer: Door | None = None
        self._held_back = False
        self._paused = False
        self._lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.unread = self.unread + data if self.unread else data
        if len(self.unread) > _HIGH_WATER and not self._paused:
            self._paused = True
            self.transport.pause_reading()
        self._wake_reader()

    def eof_received(self) -> None:
        self.ended = True
        self._wake_reader()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True
        self.error = self.error or exc
        if not self._lost.done():
            self._lost.set_result(None)
        self._wake_reader()
        self.resume_writing()

    def pause_writing(self) -> None:
        self._held_back = True

    def resume_writing(self) -> None:
        self._held_back = False
        if self._writer is not None:
            self._writer.open()

    def _wake_reader(self) -> None:
        if self._reader is not None:
            self._reader.open()

    async def readable(self) -> None:
        """Wait until there is something unread, or nothing more to come."""
        if self.unread or self.ended:
            return
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
        self._reader = Door()
        try:
            await self._reader
        finally:
            self._reader = None

    async def writable(self) -> None:
        """Wait until the transport's buffer has room."""
        if not self._held_back or self.ended:
            return
        self._writer = Door()
        try:
            await self._writer
        finally:
            self._writer = None

    async def aclose(self) -> None:
        """Close at once, what is unsent is dropped, and wait until the socket is closed."""
        if self.transport is None:
            return
        self.transport.abort()
        await asyncio.shield(self._lost)


class _Stream(httpcore.AsyncNetworkStream):
    """One connection as httpcore sees it."""

    def __init__(self, wire: _Wire) -> None:
        self._wire = wire
        self._closed = False

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what has arrived, at most ``max_bytes``; ``b""`` at the end.

        Raises:
            httpcore.ReadError: if the connection broke, or was closed on this side.
            httpcore.ReadTimeout: after ``timeout`` seconds.
        """
        wire = self._wire
        if self._closed:
            msg = "the connection was closed on this side"
            raise httpcore.ReadError(msg)
        if not wire.unread and not wire.ended:
            if timeout is None:
                await wire.readable()
            else:
                try:
                    await _within(timeout, wire.readable())
                except TimeoutError:
                    msg = f"nothing to read for {timeout} s"
                    raise httpcore.ReadTimeout(msg) from None
        data = wire.unread
        if not data and wire.error is not None:
            raise httpcore.ReadError(str(wire.error)) from wire.error
        wire.unread = data[max_bytes:]
        return data[:max_bytes]

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send ``buffer``; waits while the peer does not take it.

        Raises:
            httpcore.WriteError: if the connection is gone.
            httpcore.WriteTimeout: after ``timeout`` seconds.
        """
        wire = self._wire
        if not buffer:
            return
        if wire.ended or self._closed:
            msg = "the connection is closed"
            raise httpcore.WriteError(msg)
        wire.transport.write(buffer)
        try:
            await (wire.writable() if timeout is None else _within(timeout, wire.writable()))
        except TimeoutError:
            msg = f"the peer took nothing for {timeout} s"
            raise httpcore.WriteTimeout(msg) from None

    async def aclose(self) -> None:
        """Close; when this returns the socket is closed."""
        self._closed = True
        await self._wire.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Return the same connection under TLS; cancelled or failed, it is closed.

        Raises:
            httpcore.ConnectError: if the handshake fails.
            httpcore.ConnectTimeout: after ``timeout`` seconds.
        """
        wire = self._wire
        loop = asyncio.get_running_loop()
        plain = wire.transport
        work = loop.start_tls(plain, wire, ssl_context, server_hostname=server_hostname)
        try:
            wire.transport = await _within(timeout, work)
        except TimeoutError:
            await self._abandon(plain)
            msg = f"no TLS handshake within {timeout} s"
            raise httpcore.ConnectTimeout(msg) from None
        except OSError as error:
            await self._abandon(plain)
            raise httpcore.ConnectError(str(error) or type(error).__name__) from error
        except asyncio.CancelledError:
            await self._abandon(plain)
            raise
        return self

    async def _abandon(self, plain: asyncio.WriteTransport) -> None:
        """Close in the middle of a TLS handshake, of whose end asyncio tells nobody."""
        self._closed = True
        plain.abort()
        self._wire.connection_lost(None)
        await asyncio.sleep(0)  # an aborted transport closes its socket in the next turn
        await asyncio.sleep(0)

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore asks about a connection, or ``None``."""
        if info == "is_readable":  # of an idle connection: it has ended, or talks out of turn
            return self._wire.ended or bool(self._wire.unread)
        names = {"client_addr": "sockname", "server_addr": "peername"}
        return self._wire.transport.get_extra_info(names.get(info, info))
