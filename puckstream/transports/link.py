"""The link to one other node, without sockets: frames in, frames and events out.

A link is two one-way channels, each opened by its sender. It is *up* once both ends have greeted
each other over both. From then on it is an unbroken sequence of frames or it is nothing: a gap, a
silence or a frame that is none ends it, with everything in it, and the nodes greet anew. Whatever
arrives is a sign of life; who has nothing to say sends heartbeats (ZRE, RFC 36, has the same
rules; docs/nodes.md).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, TypeAlias

from puckstream.errors import BadFrame
from puckstream.transports import frame
from puckstream.transports.codec import Codec
from puckstream.transports.frame import Kind
from puckstream.transports.greeting import Greeting

__all__ = [
    "MAX_BYTES",
    "MAX_FRAMES",
    "Down",
    "DownReason",
    "Link",
    "LinkEvent",
    "Pace",
    "Received",
    "Recovered",
    "State",
    "Suspected",
    "Up",
]

DownReason: TypeAlias = Literal[
    "bye", "timeout", "refused", "gap", "restarted", "overflow", "protocol", "auth"
]
"""Why a link ended.

It was closed (bye), silent for too long (timeout), not to be had (refused), incomplete (gap), the
other node has started anew (restarted), read too slowly (overflow), broken by what it carried or
without a common version (protocol), or not allowed (auth).
"""


class State(Enum):
    """Where a link stands."""

    OPENING = "opening"
    UP = "up"
    SUSPECT = "suspect"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Pace:
    """How quickly a link gives up, in seconds.

    Args:
        heartbeat: how long a link may be idle before a heartbeat is sent.
        suspect: after how long a silence the other node is suspected.
        down: after how long a silence it is given up.
        open: how long the greeting may take.
    """

    heartbeat: float = 0.5
    suspect: float = 1.0
    down: float = 2.0
    open: float = 1.0


@dataclass(frozen=True, slots=True)
class Up:
    """Both ends have greeted each other; ``peer`` is who is there."""

    peer: Greeting


@dataclass(frozen=True, slots=True)
class Suspected:
    """Nothing has been heard for a while; what is sent is kept."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """A suspected node is heard again, and nothing is missing."""


@dataclass(frozen=True, slots=True)
class Received:
    """A frame has arrived, in its turn; its body is not decoded."""

    kind: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Down:
    """The link has ended; the last of its events."""

    reason: DownReason
    detail: str = ""


LinkEvent: TypeAlias = Up | Suspected | Recovered | Received | Down

MAX_FRAMES: Final = 10_000
"""How many frames may wait to be sent."""

MAX_BYTES: Final = 16 << 20
"""How many bytes may wait to be sent."""

_LAST_SEQ: Final = 0xFFFF_FFFF
_DETAIL: Final = 200  # characters of a reason that travel; a frame of goodbye is small


class Link:
    """One end of a link. It does nothing by itself: its owner feeds it frames and the time.

    After each call, the owner sends what is in `outbox`, oldest first, as far as the channel takes
    it, and acts on `events`; it removes what it has dealt with.

    Args:
        me: how this end greets the other.
        now: monotonic time, in seconds.
    """

    def __init__(self, me: Greeting, codec: Codec, now: float, pace: Pace | None = None) -> None:
        self.outbox: deque[bytes] = deque()
        self.events: deque[LinkEvent] = deque()
        self.state = State.OPENING
        self.peer: Greeting | None = None
        self._me = me
        self._codec = codec
        self._pace = pace or Pace()
        self._opened_at = self._heard_at = self._sent_at = now
        self._sent = self._heard = 0
        self._waiting = 0  # bytes in the outbox
        self._welcomed = False
        self._post(Kind.HELLO, me.pack(codec))

    # -- the owner's side

    def send(self, kind: Kind, body: bytes) -> bool:
        """Put a frame into the outbox; false if the link is not up, and nothing was done.

        Raises:
            FrameTooLarge: if the frame would be too large; nothing was done.
        """
        if self.state not in {State.UP, State.SUSPECT}:
            return False
        self._post(kind, body)
        if len(self.outbox) > MAX_FRAMES or self._waiting > MAX_BYTES:
            self._down("overflow", f"{len(self.outbox):,} frames, {self._waiting:,} bytes wait")
            return False
        return True

    def took(self, now: float) -> None:
        """Remove the oldest frame of the outbox, which the channel has taken."""
        self._waiting -= len(self.outbox.popleft())
        self._sent_at = now

    def receive(self, data: bytes, now: float) -> None:
        """Take in a frame of the other end, in whatever state it is."""
        if self.state is State.DOWN:
            return
        try:
            received = frame.decode(data)
            if not self._in_turn(received.seq):
                return
            self._heard_at = now
            if self.state is State.SUSPECT:
                self.state = State.UP
                self.events.append(Recovered())
            self._handle(received)
        except BadFrame as bad:
            self._give_up(bad)

    def tick(self, now: float) -> None:
        """Let time pass: send a heartbeat that is due, suspect or give up a silent node.

        To be called at least each half `Pace.heartbeat`.
        """
        pace, silence = self._pace, now - self._heard_at
        match self.state:
            case State.DOWN:
                return
            case State.OPENING:
                if now - self._opened_at >= pace.open:
                    self._down("refused", f"no greeting within {pace.open} s")
                return
            case State.UP if silence >= pace.suspect:
                self.state = State.SUSPECT
                self.events.append(Suspected())
            case _:
                pass
        if silence >= pace.down:
            self._down("timeout", f"silent for {silence:.1f} s")
        elif now - self._sent_at >= pace.heartbeat and not self.outbox:
            self._post(Kind.HEARTBEAT, self._codec.pack([int(now * 1000), 0]))

    def close(self, detail: str = "") -> None:
        """Say goodbye and end the link; the outbox still holds what is to be sent."""
        if self.state is not State.DOWN:
            self._post(Kind.BYE, self._codec.pack(["bye", detail[:_DETAIL]]))
            self._end("bye", detail)

    def lost(self, reason: DownReason, detail: str = "") -> None:
        """End the link: its channels are gone, or another link takes its place."""
        if self.state is not State.DOWN:
            self._down(reason, detail)

    # -- what arrives

    def _in_turn(self, seq: int) -> bool:
        """Whether a frame is the next one; one that came before is not.

        Raises:
            BadFrame: if frames are missing between.
        """
        expected = self._heard % _LAST_SEQ + 1
        if seq == expected:
            self._heard = seq
            return True
        # Half of all numbers lie behind, half ahead, so that the sequence may wrap around.
        if (expected - seq) % _LAST_SEQ < _LAST_SEQ // 2 and seq:
            return False
        raise BadFrame("gap", f"frame {seq} where {expected} was due")

    def _handle(self, received: frame.Frame) -> None:
        if self.peer is None and received.kind not in {Kind.HELLO, Kind.BYE}:
            raise BadFrame("order", f"kind 0x{received.kind:02x} before the greeting")
        match received.kind:
            case Kind.HELLO:
                self._greeted(received.body)
            case Kind.WELCOME:
                self._welcomed = True
                self._open()
            case Kind.HEARTBEAT:
                pass
            case Kind.BYE:
                self._said_goodbye(received.body)
            case _ if received.ignorable:
                pass
            case _ if self.state is State.OPENING:
                # The other end is up already: it has been greeted and welcomed.
                raise BadFrame("order", f"kind 0x{received.kind:02x} before the welcome")
            case kind:
                self.events.append(Received(kind, received.body))

    def _greeted(self, body: bytes) -> None:
        if self.peer is not None:
            raise BadFrame("order", "a second greeting")
        peer = Greeting.unpack(self._codec, body)
        problem = self._me.problem_with(peer)
        if problem is not None:
            raise BadFrame("greeting", problem)
        self.peer = peer
        self._post(Kind.WELCOME, self._codec.pack([]))
        self._open()

    def _open(self) -> None:
        if self.peer is not None and self._welcomed and self.state is State.OPENING:
            self.state = State.UP
            self.events.append(Up(self.peer))

    def _said_goodbye(self, body: bytes) -> None:
        match self._codec.unpack(body):
            case ["bye", str(detail), *_]:
                self._down("bye", detail)
            case ["protocol", str(detail), *_]:
                self._down("protocol", detail)
            case parts:
                raise BadFrame("value", f"goodbye {parts!r:.80}")

    # -- the end

    def _give_up(self, bad: BadFrame) -> None:
        """End the link because of a bad frame, and tell the other end why."""
        if bad.why == "gap":
            self._down("gap", str(bad))
            return
        self._post(Kind.BYE, self._codec.pack(["protocol", str(bad)[:_DETAIL]]))
        self._end("protocol", str(bad))

    def _down(self, reason: DownReason, detail: str) -> None:
        self.outbox.clear()
        self._waiting = 0
        self._end(reason, detail)

    def _end(self, reason: DownReason, detail: str) -> None:
        self.state = State.DOWN
        self.events.append(Down(reason, detail))

    def _post(self, kind: Kind, body: bytes) -> None:
        seq = self._sent % _LAST_SEQ + 1
        data = frame.encode(kind, seq, body)
        self._sent = seq
        self.outbox.append(data)
        self._waiting += len(data)
