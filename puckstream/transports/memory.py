"""A network in memory: nodes of one process, with as much bad weather as a test asks for.

Without faults it is a transport like any other, and the quickest. With them it loses, delays and
doubles frames, cuts nodes off and lets them stall, all by the seed of one random generator, on a
clock that may be a virtual one: whatever happened happens again.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from puckstream.clock import Clock
from puckstream.transports.base import Sent, Sink

__all__ = ["Faults", "MemoryTransport", "Network"]

HIGH_WATER: Final = 1_000
"""How many frames a channel takes that are not delivered."""


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong on a network.

    Args:
        loss: the chance of each frame to be lost.
        double: the chance of each frame to arrive twice.
        delay: the least and the most seconds on the way; frames of one channel keep their order.
    """

    loss: float = 0.0
    double: float = 0.0
    delay: tuple[float, float] = (0.0, 0.0)


class Network:
    """Joins the transports of one process.

    Args:
        clock: on which frames travel.
        chance: where the faults come from.
    """

    def __init__(self, clock: Clock, chance: random.Random | None = None) -> None:
        self.faults = Faults()
        self._clock = clock
        self._chance = chance or random.Random(0)
        self._at: dict[str, MemoryTransport] = {}
        self._cut: set[tuple[str, str]] = set()
        self._stalled: dict[str, deque[tuple[_Channel, bytes]]] = {}

    def transport(self, address: str) -> MemoryTransport:
        """Return a transport that will be reached at ``address``."""
        return MemoryTransport(self, address)

    # -- weather

    def cut(self, source: str, target: str) -> None:
        """Lose every frame from one address to another, until they are joined again."""
        self._cut.add((source, target))

    def part(self, one: Iterable[str], other: Iterable[str]) -> None:
        """Cut two groups of addresses off from each other, both ways."""
        others = tuple(other)
        for source in one:
            for target in others:
                self._cut |= {(source, target), (target, source)}

    def heal(self) -> None:
        """Join everybody again; what was lost stays lost."""
        self._cut.clear()

    def stall(self, address: str) -> None:
        """Let a node hang, as one that was sent SIGSTOP: what it is sent waits."""
        self._stalled.setdefault(address, deque())

    def resume(self, address: str) -> None:
        """Let a node that hangs go on, with what it was sent meanwhile."""
        for channel, data in self._stalled.pop(address, ()):
            self._arrive(channel, data)

    # -- the transports' side

    def join(self, transport: MemoryTransport) -> None:
        """Let a transport be reached.

        Raises:
            OSError: if somebody has its address.
        """
        if transport.address in self._at:
            msg = f"address {transport.address!r} is in use"
            raise OSError(msg)
        self._at[transport.address] = transport
        addresses = tuple(self._at)
        for other in tuple(self._at.values()):
            if other.sink is not None:
                other.sink.found(addresses)

    def leave(self, transport: MemoryTransport) -> None:
        """Let a transport be reached no more."""
        if self._at.get(transport.address) is transport:
            del self._at[transport.address]
            self._stalled.pop(transport.address, None)

    def carry(self, channel: _Channel, data: bytes) -> None:
        """Take a frame along."""
        faults, chance = self.faults, self._chance
        lost = bool(faults.loss) and chance.random() < faults.loss
        times = 0 if lost else 1 + (bool(faults.double) and chance.random() < faults.double)
        least, most = faults.delay
        delay = least if least == most else chance.uniform(least, most)
        now = self._clock.now()
        channel.due = max(channel.due, now + delay)
        channel.waiting += 1
        self._clock.call_later(channel.due - now, self._deliver, channel, data, times)

    def _deliver(self, channel: _Channel, data: bytes, times: int) -> None:
        if channel.lossy or (channel.source, channel.target) in self._cut:
            times = 0
        waiting = self._stalled.get(channel.target)
        for _ in range(times):
            if waiting is None:
                self._arrive(channel, data)
            else:
                waiting.append((channel, data))
                return
        if not times:
            self._gone(channel)

    def _arrive(self, channel: _Channel, data: bytes) -> None:
        target = self._at.get(channel.target)
        if target is not None and target.sink is not None and not channel.lossy:
            target.sink.frame(channel.name, data)
        self._gone(channel)

    def _gone(self, channel: _Channel) -> None:
        """Note that a frame is out of its channel."""
        channel.waiting = max(channel.waiting - 1, 0)
        if channel.busy and channel.waiting <= HIGH_WATER // 2:
            channel.busy = False
            if channel.opener.sink is not None:
                channel.opener.sink.drained(channel.name)


class _Channel:
    """One channel, as the network keeps it."""

    __slots__ = ("busy", "due", "lossy", "name", "opener", "source", "target", "waiting")

    def __init__(self, opener: MemoryTransport, target: str, name: bytes) -> None:
        self.opener = opener
        self.source = opener.address
        self.target = target
        self.name = name
        self.due = 0.0
        self.waiting = 0
        self.busy = False
        self.lossy = False


class MemoryTransport:
    """A `Transport` to the other nodes of one `Network`."""

    def __init__(self, network: Network, address: str) -> None:
        self.address = address
        self.sink: Sink | None = None
        self._network = network
        self._channels: dict[bytes, _Channel] = {}

    async def open(self, sink: Sink) -> tuple[str, ...]:
        """Begin to receive; see `Transport.open`.

        Raises:
            OSError: if the address is in use.
        """
        self.sink = sink
        try:
            self._network.join(self)
        except OSError:
            self.sink = None
            raise
        return (self.address,)

    def dial(self, address: str, channel: bytes) -> None:
        """Open a channel; see `Transport.dial`."""
        self._channels[channel] = _Channel(self, address, channel)

    def send(self, channel: bytes, data: bytes) -> Sent:
        """Send a frame; see `Transport.send`."""
        known = self._channels.get(channel)
        if known is None:
            return Sent.QUEUED
        if known.waiting >= HIGH_WATER:
            known.busy = True
            return Sent.BUSY
        self._network.carry(known, data)
        return Sent.QUEUED

    def hang_up(self, channel: bytes, *, flush: bool) -> None:
        """Close a channel; see `Transport.hang_up`."""
        known = self._channels.pop(channel, None)
        if known is not None:
            known.lossy = not flush
            known.busy = False

    async def close(self) -> None:
        """Leave the network; see `Transport.close`."""
        for channel in tuple(self._channels):
            self.hang_up(channel, flush=True)
        self._network.leave(self)
        self.sink = None
