"""Deadlines of pending calls, one timer for all that share a timeout; and delayed messages.

Most calls are answered long before their timeout, so a timer each would be wasted on them. Calls
with equal timeouts fall due in the order they were made; a queue per timeout value and one clock
callback for its head is enough.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from puckstream.actors._pykka import AskTimeout
from puckstream.actors.state import STOPPING

if TYPE_CHECKING:
    from puckstream.actors.ref import ActorRef
    from puckstream.actors.reply import Reply
    from puckstream.clock import Clock, Timer

__all__ = ["Deadlines", "send_after"]

# Below the first number answered calls are left where they are; above the second one, at each
# power of two, they are sought behind calls that still wait.
_FEW = 32
_MANY = 1024


class Deadlines:
    """Fails replies with `CallTimeout` when their time is over. Belongs to the loop's thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._queues: dict[float, deque[tuple[float, Reply[Any], ActorRef[Any]]]] = {}
        self._timers: dict[float, Timer] = {}

    def add(self, reply: Reply[Any], timeout: float, ref: ActorRef[Any]) -> None:
        """Fail ``reply`` unless ``ref`` answers within ``timeout`` seconds.

        Amortised constant time: answered calls at the head are dropped on the way.
        """
        due = self._clock.now() + timeout
        queue = self._queues.get(timeout)
        if queue is None:
            queue = self._queues[timeout] = deque()
            self._timers[timeout] = self._clock.call_later(timeout, self._expire, timeout)
        elif len(queue) > _FEW and queue[0][1].done:
            while queue and queue[0][1].done:
                queue.popleft()
        elif len(queue) > _MANY and len(queue) & (len(queue) - 1) == 0:
            # One slow call at the head must not keep the answered ones behind it in memory.
            pending = [entry for entry in queue if not entry[1].done]
            queue.clear()
            queue.extend(pending)
        queue.append((due, reply, ref))

    def _expire(self, timeout: float) -> None:
        queue = self._queues[timeout]
        now = self._clock.now()
        while queue:
            due, reply, ref = queue[0]
            if not reply.done and due > now:
                # Never less than what is left: a loop's timer may fire a clock tick early.
                self._timers[timeout] = self._clock.call_later(due - now, self._expire, timeout)
                return
            queue.popleft()
            if not reply.done:
                msg = f"{ref} did not reply within {timeout} seconds"
                reply._reject(AskTimeout(msg))  # reply and deadlines are one engine
        del self._queues[timeout], self._timers[timeout]

    def close(self) -> None:
        """Forget every deadline."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._queues.clear()


def send_after(ref: ActorRef[Any], delay: float, message: Any) -> Callable[[], None]:
    """Tell ``ref`` ``message`` after ``delay`` seconds, unless it ends first; from any thread.

    Returns:
        A function that takes the timer back.
    """
    system = ref._system
    key = object()

    def fire() -> None:
        extra = ref._ensure_extra()
        if extra.timers is not None:
            extra.timers.pop(key, None)
        ref._deliver(message)

    def arm() -> None:
        if ref._state < STOPPING:
            extra = ref._ensure_extra()
            if extra.timers is None:
                extra.timers = {}
            extra.timers[key] = system.clock.call_later(delay, fire)

    def cancel() -> None:
        extra = ref._extra
        timer: Timer | None = None
        if extra is not None and extra.timers is not None:
            timer = extra.timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    system.run_on_loop(arm)
    return lambda: system.run_on_loop(cancel)
