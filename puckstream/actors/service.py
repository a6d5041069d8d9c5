"""The address of an actor that its supervisor may replace at any time.

A registry or pub/sub actor that crashed is back a moment later, as another actor. Callers hold
the `Service`: what they send while nobody is there waits for the next actor, and a request that
died with the last one is sent again. What is sent through a service must bear being sent twice.

A service belongs to one node at a time: the one it was made for, or else that of its first actor.
It can move on when that node has ended.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, cast

from puckstream.actors.mailbox import Request
from puckstream.actors.ref import ActorRef
from puckstream.actors.reply import Reply
from puckstream.actors.scheduler import CURRENT
from puckstream.actors.signals import Crash
from puckstream.actors.state import IDLE
from puckstream.errors import ActorDead, InvalidOption, NodeNotRunning, NotInActor

if TYPE_CHECKING:
    from puckstream.actors.scheduler import Scheduler

__all__ = ["Service"]


class _Nowhere:
    """Stands for the engine of a service that has none yet; whatever is asked of it is refused."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> NoReturn:
        raise _not_started(self._name)


class Service:
    """Sends to whichever actor provides a service now.

    Args:
        system: the engine of the node it belongs to; ``None`` for that of its first actor.
        name: what the errors call it.
        on_close: called when it is closed.
    """

    def __init__(
        self,
        system: Scheduler | None,
        name: str,
        on_close: Callable[[], object] | None = None,
    ) -> None:
        self.system = cast("Scheduler", _Nowhere(name))
        self.started = False
        """Whether it belongs, or belonged, to a node."""
        self.name = name
        self._on_close = on_close
        self.ref: ActorRef[Any] | None = None
        """The present actor; a dead one while the next is being started."""
        self._waiting: list[tuple[Any, Reply[Any] | None]] = []
        self._closed = False
        if system is not None:
            self._move_to(system)

    def _move_to(self, system: Scheduler) -> None:
        if self.started and not self.system.closed:
            raise InvalidOption("service", self.name, "it belongs to another node that is running")
        self.system = system
        self.started = True
        self._closed = False
        system.services.append(self)

    def provided_by(self, ref: ActorRef[Any]) -> None:
        """Make ``ref`` the present actor, and hand it what has been waiting. On the loop.

        Raises:
            InvalidOption: if it belongs to another node that is running.
        """
        if ref._system is not self.system:
            self._move_to(ref._system)
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
            # A provider that lives may well answer that somebody else is dead, and one that died
            # of this very request would take its successor along.
            poison = isinstance(ref._reason, Crash) and ref._reason.error is error
            if isinstance(error, ActorDead) and not ref.is_alive() and not poison:
                self.system.run_on_loop(self._pass_on, message, reply)
            else:
                reply._reject(error)

    def own(self, ref: ActorRef[Any] | None) -> ActorRef[Any]:
        """Return ``ref``, or the calling actor, if it can be served here: an actor of this node.

        Raises:
            NotInActor: if no ``ref`` is given and no actor is calling.
            InvalidOption: if it is no ref, or that of an actor of another node.
            NodeNotRunning: if this service belongs to no node yet.
        """
        owner = CURRENT.get() if ref is None else ref
        if owner is None:
            msg = f"the {self.name} needs a ref, unless an actor acts for itself"
            raise NotInActor(msg)
        if not isinstance(cast("object", owner), ActorRef):
            raise InvalidOption("ref", owner, "an actor's ref")
        if owner._system is not self.system:
            self.require_started()
            expected = (
                f"the {self.name} is for the actors of this node, and that is of another: "
                "use an actor of this node, which can tell it"
            )
            raise InvalidOption("ref", owner, expected)
        return owner

    def require_started(self) -> None:
        """Refuse to go on as long as it belongs to no node.

        Raises:
            NodeNotRunning: if it never had an actor.
        """
        if not self.started:
            raise _not_started(self.name)

    def refusal(self) -> NodeNotRunning:
        """Return the error that those get who come too late."""
        msg = f"the {self.name} of this node has shut down"
        return NodeNotRunning(msg)


def _not_started(name: str) -> NodeNotRunning:
    return NodeNotRunning(f"the {name} has not been started: make its actor a child of a node")
