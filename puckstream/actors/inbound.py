"""What other threads send to a node's engine, and the one wake-up they share.

Waking a loop costs seven times as much as a message. Threads append to one queue, in order, and
only the first to find the loop asleep wakes it. This relies on the appends and flags of CPython
being atomic, which they are with and without the global lock.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from puckstream.actors import lifecycle
from puckstream.actors.reply import Reply
from puckstream.actors.waker import Waker
from puckstream.errors import NodeNotRunning

if TYPE_CHECKING:
    from puckstream.actors.ref import ActorRef
    from puckstream.actors.scheduler import Scheduler

__all__ = ["Inbound"]

T = TypeVar("T")
logger = logging.getLogger("puckstream.actors")


class Inbound:
    """The queue from all threads to the loop."""

    __slots__ = ("_over", "_system", "_waker", "_woken", "entries")

    def __init__(self, system: Scheduler) -> None:
        self._system = system
        self._waker = Waker(system.loop, system.turn)
        self._woken = False
        self._over = False
        self.entries: deque[tuple[Any, ...]] = deque()

    def post(self, function: Callable[..., object], *args: Any) -> None:
        """Run ``function(*args)`` on the loop's thread, in order with this thread's messages.

        Raises:
            NodeNotRunning: if the node has shut down.
        """
        self.entries.append((None, function, args))
        if not self._woken or self._system.closed:
            self._wake()

    def post_message(self, ref: ActorRef[Any], message: Any) -> None:
        """Deliver ``message`` on the loop's thread, in order.

        Raises:
            NodeNotRunning: if the node has shut down.
        """
        self.entries.append((ref, message))
        if not self._woken or self._system.closed:
            self._wake()

    def perform(self, function: Callable[..., T | Reply[T]], *args: Any) -> Reply[T]:
        """Run ``function(*args)`` on the loop's thread; the reply has its result.

        A function that returns a reply itself is waited for. On the loop's thread it runs before
        this returns.

        Raises:
            NodeNotRunning: if the node has shut down.
        """
        if self._system.on_loop():
            return _performed(function, args)
        reply: Reply[T] = Reply()

        def run() -> None:
            result = _performed(function, args)
            result._when_done(lambda: _forward(result, reply))

        self.post(run)
        return reply

    def _wake(self) -> None:
        self._woken = True
        system = self._system
        if system.closed:
            if self._over:
                self._refuse()
            msg = "the node has shut down"
            raise NodeNotRunning(msg)
        try:
            self._waker.wake()
        except RuntimeError:
            self._woken = False
            self._refuse()
            msg = "the node's event loop is closed"
            raise NodeNotRunning(msg) from None

    def accept(self) -> None:
        """Take in what has arrived; threads append while this runs. On the loop's thread."""
        # First the flag, then the queue: whatever is appended from here on wakes the loop again.
        self._woken = False
        entries = self.entries
        for _ in range(len(entries)):
            if not entries:
                # An operation has killed a thread's actor, and with that taken in the rest.
                return
            entry = entries.popleft()
            ref = entry[0]
            if ref is None:
                try:
                    entry[1](*entry[2])
                except Exception:
                    logger.exception("an operation sent from another thread failed")
            elif not ref._deliver(entry[1]):
                lifecycle.return_to_sender(self._system, ref, entry[1])

    def close(self) -> None:
        """Take in the last entries, of threads that saw the node running. On the loop's thread.

        Every actor is dead by now, so that each is answered. Threads that come later are told at
        once.
        """
        while self.entries:
            self.accept()
        self._over = True
        self._waker.close()

    def _refuse(self) -> None:
        """Answer what nobody will take in any more."""
        entries = self.entries
        while entries:
            try:
                entry = entries.popleft()
            except IndexError:
                return
            if entry[0] is not None:
                lifecycle.return_to_sender(self._system, entry[0], entry[1])


def _performed(function: Callable[..., T | Reply[T]], args: tuple[Any, ...]) -> Reply[T]:
    try:
        result = function(*args)
    except Exception as error:  # noqa: BLE001  # handed to whoever waits
        failed: Reply[T] = Reply()
        failed._reject(error)
        return failed
    if isinstance(result, Reply):
        return cast("Reply[T]", result)
    performed: Reply[T] = Reply.of(result)
    return performed


def _forward(source: Reply[T], target: Reply[T]) -> None:
    try:
        target._resolve(source.get())
    except BaseException as error:  # noqa: BLE001  # handed to whoever waits
        target._reject(error)
