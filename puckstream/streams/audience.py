"""Who follows a stream that is to end when nobody does (``on_abandoned="cancel"``).

Actors are subscribed at PubSub; whoever iterates registers here. The stream's own handler does
not count. The grace runs from the moment the last one leaves, or from the start while nobody has
come; who is there when it is over has saved the stream.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from puckstream.actors.pubsub import PubSub
    from puckstream.actors.ref import ActorRef
    from puckstream.actors.scheduler import Scheduler
    from puckstream.clock import Timer
    from puckstream.streams.log import Log

__all__ = ["Audience"]


class Audience:
    """The followers of one stream, and what happens when the last one leaves.

    Args:
        system: the engine of the node.
        pubsub: where actors subscribe.
        topic: the stream's.
        log: the stream's.
        grace: how long the stream goes on without a follower, in seconds on the node's clock.
        abandoned: called once, on the loop, when the grace is over and nobody is there.
        handler: the subscriber that does not count.
    """

    def __init__(
        self,
        system: Scheduler,
        pubsub: PubSub,
        topic: str,
        log: Log,
        *,
        grace: float,
        abandoned: Callable[[], object],
        handler: ActorRef[Any] | None = None,
    ) -> None:
        self._system = system
        self._pubsub = pubsub
        self._topic = topic
        self._log = log
        self._grace = grace
        self._abandoned = abandoned
        self._handler = handler
        self._iterating = 0
        self._timer: Timer | None = None
        self._unwatch: Callable[[], None] = _nothing

    @property
    def count(self) -> int:
        """How many follow now."""
        actors = sum(ref is not self._handler for ref in self._pubsub.subscribers(self._topic))
        return actors + self._iterating

    def open(self) -> None:
        """Begin to count. On the loop."""
        if self._log.terminal is None:
            self._unwatch = self._pubsub.watch(self._topic, self._someone_left)
            self._log.on_end(lambda _event: self._close())
            self._someone_left()

    def follow(self, follower: object) -> Callable[[], None]:
        """Count ``follower``, from any thread, until it leaves or is dropped.

        Returns:
            A function by which it leaves, from any thread; calling it again does nothing.
        """
        loop = self._system.loop
        # In turns of their own: an object may be collected in the middle of anything.
        self._soon(loop.call_soon_threadsafe, self._came)
        left = weakref.finalize(follower, self._soon, loop.call_soon_threadsafe, self._left)
        left.atexit = False
        return left

    @staticmethod
    def _soon(call_soon: Callable[..., object], function: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, and so is the stream
            call_soon(function)

    def _came(self) -> None:
        self._iterating += 1

    def _left(self) -> None:
        self._iterating -= 1
        self._someone_left()

    def _someone_left(self) -> None:
        """Have the grace begin anew, if that was the last one."""
        if self._log.terminal is None and not self.count:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._system.clock.call_later(self._grace, self._over)

    def _over(self) -> None:
        self._timer = None
        if self._log.terminal is None and not self.count:
            self._abandoned()

    def _close(self) -> None:
        self._unwatch()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _nothing() -> None:
    pass
