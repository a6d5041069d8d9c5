"""An actor's idle timeout: a message for when no other comes (gen_server's ``Timeout``)."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from puckstream.actors.mailbox import Continue
from puckstream.actors.state import STOPPING

if TYPE_CHECKING:
    from puckstream.actors.ref import ActorRef
    from puckstream.clock import Timer

__all__ = ["IdleTimeout"]


class IdleTimeout:
    """Delivers a message when an actor has taken up none for some time; once for each `start`.

    An actor that sets it anew for every message must not make a timer for each: one that is
    running is left running, and looks again when it fires.
    """

    __slots__ = ("_due", "_guard", "_message", "_queued", "_ref", "_timer", "_timer_due")

    def __init__(self, ref: ActorRef[Any]) -> None:
        self._ref = ref
        self._guard = threading.RLock()  # an actor may have a thread; timers are the loop's
        self._due: float | None = None
        self._message: Any = None
        self._queued: Continue | None = None  # the last one delivered; it may be taken up by now
        self._timer: Timer | None = None
        self._timer_due = 0.0

    @property
    def running(self) -> bool:
        """Whether the message is still to come."""
        return self._due is not None

    def start(self, seconds: float, message: Any) -> None:
        """Deliver ``message`` in ``seconds``, in place of what was to be delivered before."""
        system = self._ref._system
        with self._guard:
            self.withdraw()
            self._due = system.clock.now() + seconds
            self._message = message
        system.run_on_loop(self._arm)

    def cancel(self) -> None:
        """Deliver nothing from now on."""
        with self._guard:
            self._due = self._message = None

    def withdraw(self) -> None:
        """Deliver nothing, and take back what has been delivered and not been taken up."""
        with self._guard:
            self.cancel()
            queued, self._queued = self._queued, None
            if queued is not None:
                self._ref._forget(lambda message: message is queued)

    def close(self) -> None:
        """Deliver nothing, and keep no timer; on the loop's thread."""
        self.cancel()
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _arm(self) -> None:
        due = self._due
        if due is None or self._ref._state >= STOPPING:
            return
        clock = self._ref._system.clock
        if self._timer is not None:
            if self._timer_due <= due:
                return
            self._timer.cancel()
        self._timer_due = due
        self._timer = clock.call_later(max(due - clock.now(), 0.0), self._fire)

    def _fire(self) -> None:
        self._timer = None
        with self._guard:
            due, message = self._due, self._message
            if due is None:
                return
            if due <= self._ref._system.clock.now():
                self.cancel()
                # A message that waits to be taken up has come in time.
                if not self._ref.mailbox_length:
                    # In an envelope: what others send may be the same object.
                    self._queued = Continue(message)
                    self._ref._deliver(self._queued)
                return
        self._arm()
