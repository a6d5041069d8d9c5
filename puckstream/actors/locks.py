"""Locks by key: mutual exclusion that outlives nobody (Elixir ``Registry.lock``).

Rules of this file:

* One queue for each key, its head holds the lock; who comes first is served first.
* What an actor holds or waits for ends with the actor, however that ends.
* Not reentrant: who asks for a key that he holds himself waits for ever, or for his timeout.

Everything but `Lock` belongs to the loop's thread. No actor is needed, so none can be lost.
"""

from __future__ import annotations

import contextlib
import math
from collections import OrderedDict
from collections.abc import Hashable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from puckstream.actors._pykka import AskTimeout
from puckstream.actors.reply import Reply
from puckstream.actors.scheduler import CURRENT
from puckstream.actors.state import DEAD
from puckstream.errors import ActorDead, BlockingCall, InvalidOption, NodeNotRunning

if TYPE_CHECKING:
    from puckstream.actors.ref import ActorRef
    from puckstream.actors.service import Service
    from puckstream.actors.signals import ExitReason
    from puckstream.clock import Timer

__all__ = ["Lock", "Locks"]


class _Ticket:
    """A place in the queue of a key; the first one holds the lock."""

    __slots__ = ("granted", "key", "owner", "timer")

    def __init__(self, key: Hashable, owner: ActorRef[Any] | None) -> None:
        self.key = key
        self.owner = owner
        self.granted: Reply[None] = Reply()
        self.timer: Timer | None = None

    def settle(self, error: BaseException | None = None) -> None:
        """Grant the lock, or end the waiting with ``error``."""
        if self.timer is not None:
            self.timer.cancel()
        if error is None:
            self.granted._resolve(None)
        else:
            self.granted._reject(error)


class Locks:
    """The locks of one registry.

    Args:
        service: of the registry.
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        self.queues: dict[Hashable, OrderedDict[_Ticket, None]] = {}
        # An actor that has ever locked stays here until it ends: its death is asked for once.
        self.owners: dict[ActorRef[Any], dict[_Ticket, None]] = {}

    def enter(self, ticket: _Ticket, timeout: float | None) -> None:
        """Queue a ticket; it is granted now, later, or within ``timeout`` seconds not at all."""
        owner = ticket.owner
        if self.service.closed:
            ticket.settle(self.service.refusal())
            return
        if owner is not None:
            if owner._state == DEAD:
                ticket.settle(_ended(ticket))
                return
            if owner not in self.owners:
                self.owners[owner] = {}
                owner._on_death(self._owner_died)
            self.owners[owner][ticket] = None
        queue = self.queues.setdefault(ticket.key, OrderedDict())
        queue[ticket] = None
        if len(queue) == 1:
            ticket.settle()
        elif timeout is not None:
            clock = self.service.system.clock
            ticket.timer = clock.call_later(timeout, self._expire, ticket, timeout)

    def leave(self, ticket: _Ticket) -> None:
        """Take a ticket out of its queue, whether it holds the lock or waits; if it is there."""
        if ticket.timer is not None:
            ticket.timer.cancel()
        own = None if ticket.owner is None else self.owners.get(ticket.owner)
        if own is not None:
            own.pop(ticket, None)
        queue = self.queues.get(ticket.key)
        if queue is None or ticket not in queue:
            return
        held = next(iter(queue)) is ticket
        del queue[ticket]
        if not queue:
            del self.queues[ticket.key]
        elif held:
            next(iter(queue)).settle()

    def close(self) -> None:
        """End all waiting, since the node does."""
        queues, self.queues = self.queues, {}
        self.owners.clear()
        for queue in queues.values():
            for ticket in queue:
                ticket.settle(self.service.refusal())

    def _owner_died(self, ref: ActorRef[Any], _reason: ExitReason) -> None:
        # What it waits for comes after what it holds: backwards, nothing is granted to the dead.
        for ticket in reversed(tuple(self.owners.pop(ref, ()))):
            self.leave(ticket)
            ticket.settle(_ended(ticket))

    def _expire(self, ticket: _Ticket, timeout: float) -> None:
        self.leave(ticket)
        msg = f"the lock of {ticket.key!r} was not free within {timeout} seconds"
        ticket.settle(AskTimeout(msg))


class Lock:
    """One key, locked for as long as a ``with`` block runs; made by `Registry.lock`.

    ``async with`` suspends, in actors and in any coroutine; plain ``with`` blocks a thread, that
    of a `ThreadActor` for one. It can be used any number of times, also by several at once.

    The lock is free again when the block is left, also by an exception or a cancellation, and when
    the actor that runs it has ended; the next in line has it at that moment. Whoever gives up
    waiting, or ends, loses his place and holds up nobody.

    Raises (when entered):
        CallTimeout: if it was not free within the timeout.
        ActorDead: if the calling actor has been killed meanwhile.
        BlockingCall: from ``with`` on a thread that runs an event loop.
        NodeNotRunning: if the registry has not been started, or its node has shut down.
        InvalidOption: if the calling actor is one of another node.
    """

    __slots__ = ("_held", "_key", "_locks", "_timeout")

    def __init__(self, locks: Locks, key: Hashable, timeout: float | None) -> None:
        _check_timeout(timeout)
        self._locks = locks
        self._key = key
        self._timeout = timeout
        self._held: _Ticket | None = None

    def __repr__(self) -> str:
        return f"<Lock {self._key!r} of the {self._locks.service.name}>"

    async def __aenter__(self) -> Self:
        ticket = self._queue_up()
        try:
            await ticket.granted
            self._held = ticket
        except BaseException:
            self._give_back(ticket)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._release()

    def __enter__(self) -> Self:
        system = self._locks.service.system
        if system.on_any_loop() or system.on_loop():
            call, instead = "'with lock'", "'async with lock'"
            raise BlockingCall(call, instead)
        ticket = self._queue_up()
        try:
            ticket.granted.get()
            self._held = ticket
        except BaseException:
            self._give_back(ticket)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._release()

    def _queue_up(self) -> _Ticket:
        service, caller = self._locks.service, CURRENT.get()
        ticket = _Ticket(self._key, None if caller is None else service.own(caller))
        service.system.run_on_loop(self._locks.enter, ticket, self._timeout)
        return ticket

    def _release(self) -> None:
        ticket = self._held
        # A killed actor whose code still runs may find here the ticket of whoever came after it.
        if ticket is not None and ticket.owner is CURRENT.get():
            self._held = None
            self._give_back(ticket)

    def _give_back(self, ticket: _Ticket) -> None:
        # A node that has shut down has no locks any more.
        with contextlib.suppress(NodeNotRunning):
            self._locks.service.system.run_on_loop(self._locks.leave, ticket)


def _check_timeout(timeout: object) -> None:
    number = isinstance(timeout, (int, float)) and not isinstance(timeout, bool)
    if timeout is not None and not (number and 0 <= cast("float", timeout) < math.inf):
        option = "timeout"
        raise InvalidOption(option, timeout, "seconds, 0 or more, or None for no limit")


def _ended(ticket: _Ticket) -> ActorDead:
    return ActorDead(f"{ticket.owner} has ended and cannot hold the lock of {ticket.key!r}")
