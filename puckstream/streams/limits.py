"""How many streams may run at once: on a node, and through a client.

A stream holds a *ticket*. It runs when it has a place at each of its gates: its client's, and
then the node's. Whoever comes to a full gate waits in line, first come first served, or is
refused when the line is full too. The rules, all decided here:

- Whether there is room is decided when a stream is asked for: once accepted, it is never refused.
- A place is given back when the upstream connection is closed, not when the stream has ended.
- What one gate lets through waits at the next; the client's comes first, so that a slow provider
  keeps its own streams waiting and nobody else's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final

from puckstream.errors import InvalidOption, TooManyStreams

__all__ = ["Limits", "Slots", "Ticket"]

NODE: Final = "node"
"""The key of the node's own gate."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many streams may run at once, and how many may wait for their turn.

    Args:
        streams: how many may run; ``None`` is any number.
        queue: how many more may wait; 0 refuses them at once with `TooManyStreams`, ``None``
            lets any number wait.

    Raises:
        InvalidOption: if a value is impossible.
    """

    streams: int | None = None
    queue: int | None = 0

    def __post_init__(self) -> None:
        if self.streams is not None and (type(self.streams) is not int or self.streams < 1):
            raise InvalidOption("limits.streams", self.streams, "a whole number ≥ 1, or None")
        if self.queue is not None and (type(self.queue) is not int or self.queue < 0):
            raise InvalidOption("limits.queue", self.queue, "a whole number ≥ 0, or None")

    @classmethod
    def of(cls, value: Limits | int | None) -> Limits:
        """Return ``value`` as `Limits`; a number is that of the streams, ``None`` is no limit.

        Raises:
            InvalidOption: if ``value`` is anything else.
        """
        if isinstance(value, Limits):
            return value
        if value is not None and type(value) is not int:
            raise InvalidOption("limits", value, "Limits, a number of streams, or None")
        return cls(value)


class _Gate:
    """One limit: who has a place, and who waits for one."""

    __slots__ = ("key", "limits", "running", "waiting")

    def __init__(self, key: Hashable, limits: Limits) -> None:
        self.key = key
        self.limits = limits
        self.running = 0
        self.waiting: deque[Ticket] = deque()

    @property
    def free(self) -> bool:
        limit = self.limits.streams
        return limit is None or self.running < limit

    @property
    def has_room(self) -> bool:
        """Whether one more may run or wait."""
        queue = self.limits.queue
        if self.free:
            return True
        return queue is None or len(self.waiting) < queue


class Ticket:
    """A stream's right to run, now or in its turn."""

    __slots__ = ("_ahead", "_first", "_held", "_on_turn", "_slots")

    def __init__(self, slots: Slots, gates: tuple[_Gate, ...], *, first: bool = False) -> None:
        self._slots = slots
        self._ahead: deque[_Gate] = deque(gates)
        self._held: list[_Gate] = []
        self._first = first
        self._on_turn: Callable[[], object] | None = None

    @property
    def may_run(self) -> bool:
        """Whether it has every place it needs."""
        return not self._ahead

    def on_turn(self, callback: Callable[[], object]) -> None:
        """Call ``callback()`` once, when `may_run` becomes true; at once if it is."""
        self._on_turn = callback
        if not self._ahead:
            self._call()

    def change(self, key: Hashable, limits: Limits | None) -> None:
        """Give back the place at the client's gate and ask for one at another's.

        Raises:
            TooManyStreams: if that one is full and so is its line; nothing is held there then.
        """
        for gate in tuple(self._held):
            if gate.key != NODE:
                self._give_back(gate)
        if limits is None or limits.streams is None:
            return
        self._first = False  # that was for the places it began with
        gate = self._slots._gate(key, limits)
        self._slots._check(gate)
        self._ahead.append(gate)
        self._advance()

    def release(self) -> None:
        """Give back every place, and leave every line. Idempotent."""
        for gate in self._ahead:
            if self in gate.waiting:
                gate.waiting.remove(self)
                self._slots._forget(gate)
        self._ahead.clear()
        self._on_turn = None
        for gate in tuple(self._held):
            self._give_back(gate)

    def _advance(self) -> None:
        """Take the places there are, and stand in line for the next one."""
        while self._ahead:
            gate = self._ahead[0]
            if not gate.free:
                if self._first:
                    gate.waiting.appendleft(self)
                else:
                    gate.waiting.append(self)
                return
            self._take(gate)

    def _take(self, gate: _Gate) -> None:
        gate.running += 1
        self._held.append(gate)
        self._ahead.popleft()

    def _give_back(self, gate: _Gate) -> None:
        self._held.remove(gate)
        gate.running -= 1
        while gate.waiting and gate.free:
            following = gate.waiting.popleft()
            following._take(gate)
            following._advance()
            if following.may_run:
                following._call()
        self._slots._forget(gate)

    def _call(self) -> None:
        callback, self._on_turn = self._on_turn, None
        if callback is not None:
            callback()


class Slots:
    """The gates of one node. Belongs to the loop's thread.

    Args:
        limits: those of the node itself.
    """

    def __init__(self, limits: Limits) -> None:
        self._node = _Gate(NODE, limits)
        # The gates at which somebody is, by the client's key.
        self._gates: dict[Hashable, _Gate] = {}

    def ticket(
        self,
        key: Hashable,
        limits: Limits | None,
        *,
        counts: bool = True,
        assured: bool = False,
        first: bool = False,
    ) -> Ticket:
        """Return the ticket of a new stream, which may run or waits in line.

        Args:
            key: what tells the client from others; equal keys share their places.
            limits: the client's, if it has any.
            counts: whether the node's limit applies.
            assured: never refuse, but let it wait, however long the line is: for one that takes
                the place of another which has yet to leave it.
            first: where it has to wait, it does so ahead of the others.

        Raises:
            TooManyStreams: if there is no room, neither to run nor to wait; nothing is changed.
        """
        gates: list[_Gate] = []
        if limits is not None and limits.streams is not None:
            gates.append(self._gate(key, limits))
        if counts and self._node.limits.streams is not None:
            gates.append(self._node)
        if not assured:
            try:
                for gate in gates:
                    self._check(gate)
            except TooManyStreams:
                # The client's may be there for this one only.
                for gate in gates:
                    self._forget(gate)
                raise
        ticket = Ticket(self, tuple(gates), first=first)
        ticket._advance()
        return ticket

    @property
    def running(self) -> int:
        """How many places are taken at the node's own gate."""
        return self._node.running

    @property
    def waiting(self) -> int:
        """How many wait in any line."""
        return sum(len(gate.waiting) for gate in (self._node, *self._gates.values()))

    def _gate(self, key: Hashable, limits: Limits) -> _Gate:
        gate = self._gates.get(key)
        if gate is None:
            gate = self._gates[key] = _Gate(key, limits)
        return gate

    def _check(self, gate: _Gate) -> None:
        if not gate.has_room:
            self._forget(gate)
            where = "the node" if gate is self._node else "the client"
            raise TooManyStreams(where, gate.running, len(gate.waiting))

    def _forget(self, gate: _Gate) -> None:
        if gate is not self._node and not gate.running and not gate.waiting:
            self._gates.pop(gate.key, None)
