"""The address of an actor that its supervisor may replace at any time.

A registry or pub/sub actor that crashed is back a moment later, as another actor. Callers hold
the `Service`: what they send while nobody is there waits for the next actor, and a request that
died with the last one is sent again. What is sent through a service must bear being sent twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from puckstream.actors.mailbox import Request
from puckstream.actors.reply import Reply
from puckstream.actors.state import IDLE
from puckstream.errors import ActorDead, NodeNotRunning

if TYPE_CHECKING:
    from puckstream.actors.ref import ActorRef
    from puckstream.actors.scheduler import Scheduler

__all__ = ["Service"]


class Service:
    """Sends to whichever actor provides a service now.

    Args:
        system: the engine of the node it belongs to.
        name: what the errors call it.
        on_close: called when it is closed.
    """

    def __init__(
        self, system: Scheduler, name: str, on_close: Callable[[], object] | None = None
    ) -> None:
        self.system = system
        self.name = name
        self._on_close = on_close
        self.ref: ActorRef[Any] | None = None
        """The present actor; a dead one while the next is being started."""
        self._waiting: list[tuple[Any, Reply[Any] | None]] = []
        self._closed = False

    def provided_by(self, ref: ActorRef[Any]) -> None:
        """Make ``ref`` the present actor, and hand it what has been waiting. On the loop."""
        self.ref = ref
        waiting, self._waiting = self._waiting, []
        for message, reply in waiting:
            self._pass_on(message, reply)

    def tell(self, message: Any) -> None:
        """Send ``message``, now or once there is somebody; in order, from any thread.

        Raises:
            NodeNotRunning: from another thread, if the node has shut down.
        """
        self.system.run_on_loop(self._pass_on, message, None)

    def call(self, message: Any) -> Reply[Any]:
        """Send a request, now or once there is somebody, until one actor has answered it.

        Raises (when awaited):
            NodeNotRunning: if the node shuts down first.
            BaseException: what the actor's handler raised, unless it died of it.
        """
        reply: Reply[Any] = Reply()
        self.system.run_on_loop(self._pass_on, message, reply)
        return reply

    def close(self) -> None:
        """Refuse everything from now on; what waits fails. On the loop."""
        self._closed = True
        waiting, self._waiting = self._waiting, []
        for _, reply in waiting:
            if reply is not None:
                reply._reject(self.refusal())
        if self._on_close is not None:
            self._on_close()

    @property
    def closed(self) -> bool:
        """Whether everything is refused."""
        return self._closed

    def _pass_on(self, message: Any, reply: Reply[Any] | None) -> None:
        ref = self.ref
        if ref is None or not ref.is_alive():
            if self._closed:
                if reply is not None:
                    reply._reject(self.refusal())
                return
            self._waiting.append((message, reply))
        elif reply is None:
            ref._deliver(message)
        else:
            # Not call(): the provider passes on to itself, in its own start, what has waited.
            asked: Reply[Any] = Reply()
            asked._when_done(lambda: self._answered(ref, asked, message, reply))
            request = Request(message, asked)
            if ref._state == IDLE and self.system.may_inline():
                self.system.run_inline(ref, request)
            else:
                ref._send_request(request)

    def _answered(
        self, ref: ActorRef[Any], asked: Reply[Any], message: Any, reply: Reply[Any]
    ) -> None:
        try:
            reply._resolve(asked.get())
        except BaseException as error:  # noqa: BLE001  # handed to whoever waits
            # A provider that lives may well answer that somebody else is dead.
            if isinstance(error, ActorDead) and not ref.is_alive():
                self.system.run_on_loop(self._pass_on, message, reply)
            else:
                reply._reject(error)

    def refusal(self) -> NodeNotRunning:
        """Return the error that those get who come too late."""
        msg = f"the {self.name} of this node has shut down"
        return NodeNotRunning(msg)
