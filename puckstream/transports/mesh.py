"""All links of one node: who is there, who is called, and which of two links stays.

Two nodes have one link, however they found each other. The one with the smaller name opens it,
the other answers, and only the latter decides: a node that is called by a larger one calls back
instead of answering. So there is no race that both could win or both lose (docs/nodes.md).
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

from puckstream.clock import Clock, Timer
from puckstream.errors import BadFrame
from puckstream.transports import frame
from puckstream.transports.base import Sent, Transport
from puckstream.transports.codec import Codec
from puckstream.transports.frame import Kind
from puckstream.transports.greeting import Greeting, NodeId
from puckstream.transports.link import (
    Down,
    DownReason,
    Link,
    Pace,
    Received,
    Recovered,
    State,
    Suspected,
    Up,
)

__all__ = ["Listener", "Mesh"]

logger = logging.getLogger("puckstream.transports")

TICK: Final = 0.25
"""Seconds between two looks at the time."""

REDIAL: Final = (0.1, 1.0)
"""The first and the longest pause before an address is called again, in seconds."""

FORGET: Final = 60.0
"""Seconds after which an address is forgotten that nobody but a lost node has named."""

CROWDED: Final = 16
"""Nodes up to which links from each to each are a good idea."""


class Listener(Protocol):
    """What a mesh reports to. For each node: up, then the rest, then down."""

    def node_up(self, node: NodeId, greeting: Greeting) -> None:
        """A node is linked."""
        ...

    def node_suspect(self, node: NodeId) -> None:
        """A node has not been heard for a while."""
        ...

    def node_recovered(self, node: NodeId) -> None:
        """A suspected node is heard again; nothing is missing."""
        ...

    def node_down(self, node: NodeId, reason: DownReason, detail: str) -> None:
        """The link to a node has ended; what it had not delivered is lost."""
        ...

    def received(self, node: NodeId, kind: int, body: bytes) -> None:
        """A frame of a node has arrived, in its turn."""
        ...


@dataclass(slots=True, eq=False)
class _End:
    """This node's end of a link."""

    link: Link
    channel: bytes
    address: str
    opened_at: float
    heard_on: bytes = b""
    node: NodeId | None = None
    busy: bool = False


@dataclass(slots=True)
class _Number:
    """An address to call, and what became of it."""

    lasting: bool
    pause: float = REDIAL[0]
    due: float = 0.0
    named_at: float = 0.0
    node: NodeId | None = None


class Mesh:
    """Keeps this node linked to all others it learns of. On the loop's thread.

    Args:
        me: how this node introduces itself; its addresses are set by `open`.
        transport: moves the frames.
        listener: is told what happens, from within the calls of the transport and the clock.
        clock: for silences, pauses and heartbeats.
        chance: for jitter, and for the names of channels.
    """

    def __init__(
        self,
        me: Greeting,
        codec: Codec,
        transport: Transport,
        listener: Listener,
        clock: Clock,
        *,
        pace: Pace | None = None,
        chance: random.Random | None = None,
    ) -> None:
        self.me = me
        self.refused: Counter[str] = Counter()
        """How many frames were refused, by the reason."""
        self._codec = codec
        self._transport = transport
        self._listener = listener
        self._clock = clock
        self._pace = pace or Pace()
        self._chance = chance or random.SystemRandom()
        self._numbers: dict[str, _Number] = {}
        self._own: set[str] = set()
        self._by_channel: dict[bytes, _End] = {}
        self._by_heard: dict[bytes, _End] = {}
        self._linked: dict[NodeId, _End] = {}
        self._timer: Timer | None = None
        self._open = False
        self._epoch = 0
        self._warned: set[str] = set()

    # -- the node's side

    async def open(self, seeds: Iterable[str] = ()) -> None:
        """Begin to receive and to call.

        Args:
            seeds: addresses that are called for as long as the mesh is open.

        Raises:
            OSError: if an address of this node cannot be had.
        """
        self._open = True
        addresses = await self._transport.open(self)
        self.me = replace(self.me, addresses=addresses)
        self._own.update(addresses)
        for address in seeds:
            self._note(address, lasting=True)
        self._tick()

    async def close(self, detail: str = "") -> None:
        """Say goodbye to everybody and stop. Idempotent."""
        if not self._open:
            return
        self._open = False
        if self._timer is not None:
            self._timer.cancel()
        for end in tuple(self._by_channel.values()):
            end.link.close(detail)
            self._settle(end)
        await self._transport.close()

    @property
    def nodes(self) -> Mapping[NodeId, Greeting]:
        """The nodes that are linked now, suspected ones among them."""
        return {
            node: end.link.peer for node, end in self._linked.items() if end.link.peer is not None
        }

    def send(self, node: NodeId, kind: Kind, body: bytes) -> bool:
        """Send a frame; false if the node is not linked, and nothing was done.

        Frames to one node arrive in the order they were sent, or the link ends.

        Raises:
            FrameTooLarge: if the frame would be too large; nothing was done.
        """
        end = self._linked.get(node)
        if end is None or not end.link.send(kind, body):
            if end is not None:
                self._settle(end)
            return False
        if not end.busy:
            self._settle(end)
        return True

    def waiting(self, node: NodeId) -> int:
        """Return how many frames to a node the transport has not taken yet."""
        end = self._linked.get(node)
        return 0 if end is None else len(end.link.outbox)

    def call(self, address: str) -> None:
        """Call an address now, and from time to time while nobody answers."""
        number = self._note(address, lasting=True)
        number.due = 0.0
        self._call_due(self._clock.now())

    def drop(self, node: NodeId, detail: str = "") -> None:
        """End the link to a node, with a goodbye; it may come up again."""
        end = self._linked.get(node)
        if end is not None:
            end.link.close(detail)
            self._settle(end)

    # -- the transport's side

    def frame(self, channel: bytes, data: bytes) -> None:
        """Take in a frame; see `Sink.frame`."""
        if not self._open:
            return
        end = self._by_heard.get(channel)
        if end is None:
            try:
                end = self._greeted(channel, data)
            except BadFrame as bad:
                self._refuse(bad.why, str(bad))
                return
            if end is None:
                return
        end.link.receive(data, self._clock.now())
        self._settle(end)

    def drained(self, channel: bytes) -> None:
        """Go on with a channel; see `Sink.drained`."""
        end = self._by_channel.get(channel)
        if end is not None:
            end.busy = False
            self._settle(end)

    def lost(self, channel: bytes) -> None:
        """Give up a link whose channel is gone; see `Sink.lost`."""
        end = self._by_channel.get(channel)
        if end is not None:
            end.link.lost("timeout", "the connection was lost")
            self._settle(end)

    def found(self, addresses: Iterable[str]) -> None:
        """Call addresses that are new; see `Sink.found`."""
        for address in addresses:
            self._note(address)
        if self._timer is not None:
            self._call_due(self._clock.now())

    # -- greetings

    def _greeted(self, channel: bytes, data: bytes) -> _End | None:
        """Find or make the end of a link to which a first frame belongs; None if there is none.

        Raises:
            BadFrame: if it is no greeting.
        """
        first = frame.decode(data)
        if first.kind != Kind.HELLO or first.seq != 1:
            # Of a link that was given up here.
            self.refused["stray"] += 1
            return None
        greeting = Greeting.unpack(self._codec, first.body)
        if greeting.node == self.me.node:
            self._met_itself(channel)
            return None
        answered = self._by_channel.get(greeting.answering) if greeting.answering else None
        if answered is not None:
            self._learn(answered.address, greeting.node)
        if greeting.notice:
            if answered is not None and answered.link.state is State.OPENING:
                self._turned_away(answered, greeting)
            return None
        problem = self.me.problem_with(greeting) or self._outlived(greeting.node)
        if problem is not None:
            self._refuse("greeting", problem)
            self._turn_away(channel, greeting, problem)
            return None
        if greeting.node > self.me.node:
            if answered is not None:
                # The other end decides: from here on this is the link.
                return self._hear(answered, channel, greeting.node)
            for address in greeting.addresses[:1]:
                self._dial(address, answering=channel)
            return None
        if answered is not None:
            # It was called, and calls back: that will be the link.
            self._let_go(answered)
        return self._called_by_smaller(channel, greeting)

    def _called_by_smaller(self, channel: bytes, greeting: Greeting) -> _End | None:
        if self._answered(greeting.node) or not greeting.addresses:
            self._turn_away(channel, greeting, "duplicate")
            return None
        end = self._dial(greeting.addresses[0], answering=channel)
        return self._hear(end, channel, greeting.node)

    def _outlived(self, node: NodeId) -> str | None:
        """Return why a node is too old to be linked, if a newer one of its name is."""
        newer = (other for other in self._linked if other.name == node.name and other > node)
        return next((f"{other} has taken its place" for other in newer), None)

    def _answered(self, node: NodeId) -> bool:
        """Whether a link to ``node`` is up, or has been answered a moment ago."""
        now = self._clock.now()
        return any(
            end.node == node
            and (
                end.link.state is State.UP
                or (end.link.state is State.OPENING and now - end.opened_at < self._pace.suspect)
            )
            for end in self._by_heard.values()
        )

    def _hear(self, end: _End, channel: bytes, node: NodeId) -> _End:
        end.heard_on = channel
        end.node = node
        self._by_heard[channel] = end
        return end

    def _turn_away(self, channel: bytes, greeting: Greeting, why: str) -> None:
        """Tell a node that there will be no link, and why."""
        for address in greeting.addresses[:1]:
            name = self._channel_name()
            notice = replace(self.me, answering=channel, notice=why)
            self._transport.dial(address, name)
            self._transport.send(name, frame.encode(Kind.HELLO, 1, notice.pack(self._codec)))
            self._transport.hang_up(name, flush=True)

    def _turned_away(self, end: _End, greeting: Greeting) -> None:
        if greeting.notice != "duplicate":
            self._refuse("refused", f"{greeting.node} at {end.address}: {greeting.notice}")
        self._let_go(end)

    def _met_itself(self, channel: bytes) -> None:
        end = self._by_channel.get(channel)
        if end is not None:
            self._own.add(end.address)
            self._numbers.pop(end.address, None)
            self._let_go(end)

    # -- calls

    def _note(self, address: str, *, lasting: bool = False) -> _Number:
        number = self._numbers.get(address)
        if number is None:
            number = _Number(lasting)
            if address not in self._own:
                self._numbers[address] = number
        number.lasting |= lasting
        number.named_at = self._clock.now()
        return number

    def _learn(self, address: str, node: NodeId) -> None:
        number = self._numbers.get(address)
        if number is not None:
            number.node = node

    def _call_due(self, now: float) -> None:
        calling = {end.address for end in self._by_channel.values()}
        for address, number in tuple(self._numbers.items()):
            if address in calling or (number.node in self._linked):
                continue
            if not number.lasting and now - number.named_at >= FORGET:
                del self._numbers[address]
            elif now >= number.due:
                self._dial(address)
                number.due = now + number.pause * (0.5 + self._chance.random())
                number.pause = min(2 * number.pause, REDIAL[1])

    def _dial(self, address: str, answering: bytes = b"") -> _End:
        name = self._channel_name()
        now = self._clock.now()
        greeting = replace(self.me, answering=answering)
        end = _End(Link(greeting, self._codec, now, self._pace), name, address, now)
        self._by_channel[name] = end
        self._transport.dial(address, name)
        self._settle(end)
        return end

    def _channel_name(self) -> bytes:
        self._epoch += 1
        return b"\x01" + self.me.node.incarnation + self._epoch.to_bytes(4, "big")

    # -- what a link says

    def _settle(self, end: _End) -> None:
        """Send what a link has to send, and act on what it reports."""
        link = end.link
        while link.events:
            match link.events.popleft():
                case Up(peer):
                    self._up(end, peer)
                case Received(kind, body):
                    if end.node is not None:
                        self._listener.received(end.node, kind, body)
                case Suspected():
                    if end.node is not None:
                        self._listener.node_suspect(end.node)
                case Recovered():
                    if end.node is not None:
                        self._listener.node_recovered(end.node)
                case Down(reason, detail):
                    self._pump(end)
                    self._down(end, reason, detail)
                    return
        self._pump(end)

    def _pump(self, end: _End) -> None:
        outbox, now = end.link.outbox, self._clock.now()
        while outbox and not end.busy:
            if self._transport.send(end.channel, outbox[0]) is Sent.BUSY:
                end.busy = True
            else:
                end.link.took(now)

    def _up(self, end: _End, peer: Greeting) -> None:
        for node, other in tuple(self._linked.items()):
            if node.name == peer.node.name and other is not end:
                # The same node, which has lost the link or started anew.
                other.link.lost("restarted", f"{peer.node} has linked anew")
                self._settle(other)
        self._linked[peer.node] = end
        for address in (end.address, *peer.addresses):
            number = self._note(address)
            number.node = peer.node
            number.pause = REDIAL[0]
        if len(self._linked) + 1 > CROWDED and "crowd" not in self._warned:
            self._warned.add("crowd")
            logger.warning(
                "%d nodes are linked each to each; beyond %d use a message broker",
                len(self._linked) + 1,
                CROWDED,
            )
        self._listener.node_up(peer.node, peer)

    def _down(self, end: _End, reason: DownReason, detail: str) -> None:
        node = end.node
        was_linked = node is not None and self._linked.get(node) is end
        self._let_go(end, flush=reason in {"bye", "protocol"})
        if node is None or not was_linked:
            if reason == "protocol":
                self._refuse("protocol", detail)
            return
        del self._linked[node]
        for number in self._numbers.values():
            if number.node == node:
                number.named_at = number.due = self._clock.now()
        logger.info("node %s is down: %s (%s)", node, reason, detail)
        self._listener.node_down(node, reason, detail)

    def _let_go(self, end: _End, *, flush: bool = False) -> None:
        self._by_channel.pop(end.channel, None)
        self._by_heard.pop(end.heard_on, None)
        self._transport.hang_up(end.channel, flush=flush)

    def _refuse(self, why: str, detail: str) -> None:
        """Count what is refused, and say so once for each reason."""
        self.refused[why] += 1
        if why not in self._warned:
            self._warned.add(why)
            logger.warning("refused (%s), and from now on only counted: %s", why, detail)

    # -- time

    def _tick(self) -> None:
        now = self._clock.now()
        for end in tuple(self._by_channel.values()):
            end.link.tick(now)
            self._settle(end)
        self._call_due(now)
        self._timer = self._clock.call_later(TICK, self._tick)
