"""Frames over ZeroMQ: one ROUTER that receives, and a DEALER for each channel.

Nothing is ever sent from the ROUTER, and no DEALER outlives its channel or reconnects by itself:
libzmq would deliver what was meant for a dead node to its successor, or drop it without a word.
PUB and SUB are not used for the same reason (docs/nodes.md has the measurements).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from puckstream.transports.base import Sent, Sink
from puckstream.transports.zeromq_thread import HIGH_WATER, Channel, IoThread

__all__ = ["ZeroMqTransport"]

TURN: Final = 500
"""Arrivals taken in before the loop serves others."""


class ZeroMqTransport:
    """A `Transport` over ipc and tcp.

    Args:
        listen: where to receive, as ZeroMQ writes addresses: ``"ipc:///run/…"``,
            ``"tcp://127.0.0.1:*"``.
    """

    def __init__(self, listen: Iterable[str]) -> None:
        self._listen = tuple(listen)
        self._sink: Sink | None = None
        self._thread: IoThread | None = None
        self._channels: dict[bytes, Channel] = {}

    @property
    def refused(self) -> int:
        """How many messages had the wrong number of parts."""
        return 0 if self._thread is None else self._thread.refused

    async def open(self, sink: Sink) -> tuple[str, ...]:
        """Begin to receive; see `Transport.open`.

        Raises:
            OSError: if an address cannot be had; nothing is left open then.
        """
        loop = asyncio.get_running_loop()
        self._sink = sink
        self._loop = loop
        thread = IoThread(self._listen, loop, self._arrived)
        try:
            addresses = await asyncio.shield(thread.started)
        except OSError:
            thread.join()
            raise
        self._thread = thread
        return addresses

    def dial(self, address: str, channel: bytes) -> None:
        """Open a channel; see `Transport.dial`."""
        if self._thread is not None:
            self._channels[channel] = known = Channel(channel)
            self._thread.dial(known, address)

    def send(self, channel: bytes, data: bytes) -> Sent:
        """Send a frame; see `Transport.send`."""
        known = self._channels.get(channel)
        if known is None or self._thread is None:
            return Sent.QUEUED
        if known.given - known.taken >= HIGH_WATER:
            known.busy = True
            # The thread may have taken them all before it could see that.
            if known.given - known.taken >= HIGH_WATER // 2:
                return Sent.BUSY
            known.busy = False
        known.given += 1
        self._thread.send(known, data)
        return Sent.QUEUED

    def hang_up(self, channel: bytes, *, flush: bool) -> None:
        """Close a channel; see `Transport.hang_up`."""
        known = self._channels.pop(channel, None)
        if known is not None and self._thread is not None:
            self._thread.hang_up(known, flush=flush)

    async def close(self) -> None:
        """Stop receiving and hang up everything; see `Transport.close`."""
        for channel in tuple(self._channels):
            self.hang_up(channel, flush=True)
        self._sink = None
        thread, self._thread = self._thread, None
        if thread is not None:
            await thread.stop()

    def _arrived(self) -> None:
        thread = self._thread
        for _ in range(TURN):
            arrival = None if thread is None else thread.take()
            if arrival is None or self._sink is None:
                return
            what, channel, data = arrival
            if what == "frame":
                self._sink.frame(channel, data)
            elif what == "drained":
                self._sink.drained(channel)
            elif channel in self._channels:
                self._sink.lost(channel)
        self._loop.call_soon(self._arrived)
