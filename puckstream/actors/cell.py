"""The engine's side of an actor: its mailbox and state, kept in its ref.

So an idle actor is two objects and no more. Everything here has an underscore and belongs to the
engine; `ActorRef` is what everybody else uses.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from puckstream.actors._pykka import ActorDeadError, PykkaRef
from puckstream.actors.deferred import From, defer
from puckstream.actors.mailbox import Continue, Request, served_when_suspended
from puckstream.actors.signals import KILLED, ExitReason
from puckstream.actors.state import (
    DEAD,
    EXITING,
    IDLE,
    QUEUED,
    STARTING,
    STOPPING,
    SUSPENDED,
    WAITING,
    Extra,
)
from puckstream.errors import NoRequest

if TYPE_CHECKING:
    from contextvars import Context

    from puckstream.actors.actor import Actor
    from puckstream.actors.ref import ActorRef
    from puckstream.actors.scheduler import Scheduler

__all__ = ["Cell"]

A = TypeVar("A", bound="Actor")


class Cell(PykkaRef[A]):
    """Mailbox and state of one actor, on the loop's thread unless it says otherwise."""

    __slots__ = (
        "_actor",
        "_box",
        "_context",
        "_extra",
        "_parent",
        "_reason",
        "_request",
        "_state",
        "_system",
        "actor_class",
        "id",
    )

    _guard: ClassVar = threading.RLock()  # for what any thread may be the first to make

    actor_class: type[A]
    id: int
    """The actor's number on its node; never used twice."""

    def __init__(
        self, system: Scheduler, actor_class: type[A], id: int
    ) -> None:  # the field's name
        # pykka's own __init__ is not called: it wants a live actor, and builds an id and an
        # event that most actors never need.
        self._system = system
        self._actor: A | None = None
        self._box: deque[Any] | None = None
        self._context: Context | None = None
        self._extra: Extra | None = None
        self._parent: ActorRef[Any] | None = None
        self._reason: ExitReason | None = None
        self._request: Request | None = None  # the one that is being handled
        self._state = IDLE
        self.actor_class = actor_class
        self.id = id

    @property
    def mailbox_length(self) -> int:
        """How many messages wait."""
        box = self._box
        return 0 if box is None else len(box)

    def _ensure_extra(self) -> Extra:
        extra = self._extra
        if extra is None:
            # Any thread may want a urn at the moment the loop notes a monitor.
            with self._guard:
                extra = self._extra
                if extra is None:
                    extra = self._extra = Extra()
        return extra

    def _dead(self) -> ActorDeadError:
        msg = f"{self} not found"
        return ActorDeadError(msg)

    # -- the mailbox

    def _open_box(self) -> deque[Any]:
        if self._state >= STOPPING:
            raise self._dead()
        spare = self._system.spare_boxes
        box = self._box = spare.pop() if spare else deque()
        return box

    def _deliver(self, message: Any) -> bool:
        """Put ``message`` into the mailbox, on the loop's thread; false if the actor is dead.

        No bound applies: this is how the engine's own messages, and those that have passed the
        bound, arrive.
        """
        state = self._state
        if state >= STOPPING:
            return False
        box = self._box
        if box is None:
            box = self._open_box()
        box.append(message)
        if state == IDLE:
            # `_wake`, without its call.
            self._state = QUEUED
            system = self._system
            system.ready.append(self)  # type: ignore[arg-type]  # every cell is a ref
            if not system.armed:
                system.arm()
        elif state == SUSPENDED and served_when_suspended(message):
            self._serve_aside([box.pop()])
        return True

    def _wake(self) -> None:
        """Have an idle actor look at its mailbox."""
        self._state = QUEUED
        system = self._system
        system.ready.append(self)  # type: ignore[arg-type]  # every cell is a ref
        if not system.armed:
            system.arm()

    def _deliver_control(self, message: Any) -> bool:
        """Put ``message`` on the control lane, on the loop's thread; false if dead."""
        if self._state >= STOPPING:
            if type(message) is Request:
                message.reply._reject(self._dead())  # reply and cell are one engine
            return False
        extra = self._ensure_extra()
        if extra.control is None:
            extra.control = deque()
        extra.control.append(message)
        if self._state == IDLE:
            self._wake()
        return True

    def _deliver_next(self, message: Any) -> None:
        """Have the actor handle ``message`` next, behind others of this kind."""
        if self._state < STOPPING:
            extra = self._ensure_extra()
            if extra.control is None:
                extra.control = deque()
            put_next(extra.control, message)
            if self._state == IDLE:
                self._wake()

    def _deliver_first(self, *messages: Any) -> bool:
        """Put ``messages`` ahead of all that wait; false if the actor is dead."""
        if self._state >= STOPPING:
            return False
        box = self._box
        if box is None:
            box = self._open_box()
        box.extendleft(reversed(messages))
        if self._state == IDLE:
            self._wake()
        return True

    def _put_in_stash(self, message: Any) -> bool:
        """Keep ``message`` for later; false if the actor is dead."""
        if self._state >= STOPPING:
            return False
        extra = self._ensure_extra()
        if extra.stash is None:
            extra.stash = deque()
        extra.stash.append(message)
        return True

    def _empty_stash(self) -> Collection[Any]:
        """Take what is kept for later."""
        extra = self._extra
        if extra is None or extra.stash is None:
            return ()
        stash, extra.stash = extra.stash, None
        return stash

    def _send_system(self, request: Request) -> None:
        """Deliver a system request, past any bound; from any thread."""
        system = self._system
        if system.on_loop():
            if not self._deliver(request):
                request.reply._reject(self._dead())
        else:
            system.post_message(self, request)  # type: ignore[arg-type]  # every cell is a ref

    def _forget(self, unwanted: Callable[[Any], bool]) -> None:
        """Take ``unwanted`` messages out of the queue, on the loop's thread."""
        box = self._box
        if box:
            kept = [message for message in box if not unwanted(message)]
            if len(kept) < len(box):
                # In place: a handler may be going through this very queue.
                box.clear()
                box.extend(kept)

    def _take_all(self) -> Iterable[Any]:
        """Take what waits in a closed mailbox, for others to be told."""
        box, self._box = self._box, None
        extra = self._extra
        if extra is None or not (extra.control or extra.stash or extra.aside):
            return box or ()
        return [*take_lanes(extra), *(box or ())]

    # -- the request that is being handled

    def _defer(self) -> From:
        """Take the answer to it out of the engine's hands."""
        request = self._request
        if request is None:
            raise NoRequest(self)
        return defer(self, request)  # type: ignore[arg-type]  # every cell is a ref

    def _is_handling(self) -> bool:
        """Whether the code now running, on whatever thread, is a handler of this actor."""
        system = self._system
        return system.on_loop() and system.is_handling(self)  # type: ignore[arg-type]  # a ref

    def _occupied(self) -> tuple[int | None, float | None]:
        """Return the thread of its own that handles a message, and since when; from any thread."""
        return None, None

    # -- suspension

    def _suspend(self) -> None:
        """Serve nothing but system requests from now on; between messages, on its own thread."""
        if self._state == SUSPENDED:
            return
        self._state = SUSPENDED
        self._ensure_extra().aside = deque()
        served = [message for message in self._box or () if served_when_suspended(message)]
        if served:
            self._forget(served_when_suspended)
            self._serve_aside(served)

    def _resume(self) -> None:
        """Take messages up again."""
        extra = self._extra
        if self._state != SUSPENDED or extra is None:
            return
        aside, extra.aside = extra.aside, None
        self._state = IDLE
        self._deliver_first(*(aside or ()))

    def _serve_aside(self, messages: Iterable[Any]) -> None:
        extra = self._extra
        assert extra is not None
        assert extra.aside is not None
        queued = bool(extra.aside)
        extra.aside.extend(messages)
        if not queued:
            self._system.enqueue(self)  # type: ignore[arg-type]  # every cell is a ref

    # -- the end

    def _close(self, reason: ExitReason) -> None:
        """Take no more messages; ``reason`` is the one that counts."""
        self._state = STOPPING
        self._reason = reason

    def _take_exit(self, reason: ExitReason) -> None:
        """Be ended by an untrapped signal, ahead of queued messages; the first reason counts."""
        state = self._state
        if state >= EXITING:
            return
        self._reason = reason
        self._state = EXITING
        if state == IDLE or state == SUSPENDED:  # noqa: PLR1714, SIM109  # makes no tuple
            self._system.enqueue(self)  # type: ignore[arg-type]  # every cell is a ref
        elif state in (WAITING, STARTING):
            vessel = None if self._extra is None else self._extra.vessel
            if vessel is not None:
                vessel.cancel()
        # Queued: its turn comes. Running: it is looked at when the handler on the stack returns.

    def _on_death(self, callback: Any) -> None:
        """Call ``callback(ref, reason)`` on the loop's thread when the actor is dead."""
        if self._state == DEAD:
            callback(self, self._reason or KILLED)
            return
        extra = self._ensure_extra()
        if extra.on_death is None:
            extra.on_death = [callback]
        else:
            extra.on_death.append(callback)


def put_next(lane: deque[Any], message: Any) -> None:
    """Put a continuation at the head of ``lane``, behind those that are there."""
    place = 0
    while place < len(lane) and type(lane[place]) is Continue:
        place += 1
    lane.insert(place, Continue(message))


def take_lanes(extra: Extra) -> list[Any]:
    """Take all that waits elsewhere than in the mailbox itself, the first to be served first."""
    taken: list[Any] = [*(extra.aside or ()), *(extra.control or ()), *(extra.stash or ())]
    extra.aside = extra.control = extra.stash = None
    return taken
