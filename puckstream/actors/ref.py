"""`ActorRef`: the handle by which everybody else knows an actor.

The ref is also where the engine keeps an actor's mailbox and state, so that an idle actor is two
objects and no more. Attributes with an underscore belong to the engine.
"""

from __future__ import annotations

import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from threading import get_ident
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, cast, overload

from puckstream.actors._pykka import ActorDeadError, ActorProxy, PykkaRef, Stop
from puckstream.actors.mailbox import Request
from puckstream.actors.reply import Reply
from puckstream.actors.signals import KILLED, SHUTDOWN, ExitReason
from puckstream.actors.state import (
    DEAD,
    EXITING,
    IDLE,
    NAMES,
    QUEUED,
    RUNNING,
    STARTING,
    STOPPING,
    WAITING,
    Extra,
)
from puckstream.errors import BlockingCall, CallingSelf

if TYPE_CHECKING:
    from contextvars import Context

    from puckstream.actors.actor import Actor
    from puckstream.actors.scheduler import Scheduler

__all__ = ["ActorRef"]

A = TypeVar("A", bound="Actor")


class ActorRef(PykkaRef[A]):
    """A running actor, as seen from outside; safe to pass around, compare and hash.

    Every method works from the loop, from other actors and from any thread. Messages from one
    sender arrive in the order they were sent.
    """

    __slots__ = (
        "_actor",
        "_box",
        "_context",
        "_extra",
        "_parent",
        "_reason",
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
        self._state = IDLE
        self.actor_class = actor_class
        self.id = id

    def __str__(self) -> str:
        return f"{self.actor_class.__name__} ({self.actor_urn})"

    def __repr__(self) -> str:
        return f"<ActorRef for {self}>"

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    # -- looking at it

    @property
    def state(self) -> str:
        """What the actor is doing, in one word; a snapshot."""
        return NAMES[self._state]

    @property
    def reason(self) -> ExitReason | None:
        """Why the actor ended; ``None`` while it lives."""
        return self._reason if self._state == DEAD else None

    def is_alive(self) -> bool:
        """Whether the actor takes messages."""
        return self._state < STOPPING

    @property
    def mailbox_length(self) -> int:
        """How many messages wait."""
        box = self._box
        return 0 if box is None else len(box)

    @property
    def actor_urn(self) -> str:
        """A universally unique name for the actor, made when first asked for."""
        extra = self._ensure_extra()
        if extra.urn is None:
            with self._guard:
                if extra.urn is None:
                    extra.urn = uuid.uuid4().urn
        return extra.urn

    @property
    def actor_stopped(self) -> threading.Event:
        """An event that is set when the actor takes no more messages (pykka's)."""
        extra = self._ensure_extra()
        if extra.event is None:
            with self._guard:
                if extra.event is None:
                    extra.event = threading.Event()
        if self._state >= STOPPING:
            extra.event.set()
        return extra.event

    @property
    def actor_inbox(self) -> Any:
        """The queued messages, oldest first; a copy."""
        return list(self._box or ())

    @property
    def _actor_weakref(self) -> Any:
        # pykka's proxies dereference this to introspect the actor.
        return lambda: self._actor

    def _ensure_extra(self) -> Extra:
        extra = self._extra
        if extra is None:
            # Any thread may want a urn at the moment the loop notes a monitor.
            with self._guard:
                extra = self._extra
                if extra is None:
                    extra = self._extra = Extra()
        return extra

    # -- sending

    def tell(self, message: Any) -> None:
        """Send ``message`` and go on; never blocks.

        Raises:
            ActorDeadError: if the actor has stopped.
            MailboxFull: if its mailbox is bounded, full, and refuses.
            NodeNotRunning: from another thread, if the actor's node has shut down.
        """
        system = self._system
        if get_ident() == system.thread_id:
            box = self._box
            if box is None:
                box = self._open_box()
            box.append(message)
            if self._state == IDLE:
                self._state = QUEUED
                system.ready.append(self)
                if not system.armed:
                    system.arm()
        elif self._state >= STOPPING:
            raise self._dead()
        else:
            system.post_message(self, message)

    def _open_box(self) -> deque[Any]:
        if self._state >= STOPPING:
            raise self._dead()
        spare = self._system.spare_boxes
        box = self._box = spare.pop() if spare else deque()
        return box

    def _dead(self) -> ActorDeadError:
        msg = f"{self} not found"
        return ActorDeadError(msg)

    def _deliver(self, message: Any) -> bool:
        """Put ``message`` into the mailbox, on the loop's thread; false if the actor is dead.

        No bound applies: this is how the engine's own messages, and those that have passed the
        bound, arrive.
        """
        if self._state >= STOPPING:
            return False
        box = self._box
        if box is None:
            box = self._open_box()
        box.append(message)
        if self._state == IDLE:
            self._state = QUEUED
            system = self._system
            system.ready.append(self)
            if not system.armed:
                system.arm()
        return True

    def _close(self, reason: ExitReason) -> None:
        """Take no more messages; ``reason`` is the one that counts."""
        self._state = STOPPING
        self._reason = reason

    def _take_all(self) -> Iterable[Any]:
        """Take what waits in a closed mailbox, for others to be told."""
        box, self._box = self._box, None
        extra = self._extra
        if extra is None or not extra.control:
            return box or ()
        control, extra.control = extra.control, None
        return [*control, *(box or ())]

    def _forget(self, unwanted: Callable[[Any], bool]) -> None:
        """Take ``unwanted`` messages out of the queue, on the loop's thread."""
        box = self._box
        if box:
            kept = [message for message in box if not unwanted(message)]
            if len(kept) < len(box):
                # In place: a handler may be going through this very queue.
                box.clear()
                box.extend(kept)

    def _send_request(self, request: Request) -> None:
        """Deliver ``request`` from any thread; a dead actor answers it at once."""
        system = self._system
        if self._state >= STOPPING:
            request.reply._reject(self._dead())  # reply and ref are one engine
        elif get_ident() == system.thread_id:
            self._deliver(request)
        else:
            system.post_message(self, request)

    @overload
    def ask(
        self, message: Any, *, block: Literal[False], timeout: float | None = None
    ) -> Reply[Any]: ...
    @overload
    def ask(self, message: Any, *, block: Literal[True], timeout: float | None = None) -> Any: ...
    @overload
    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any: ...

    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any:
        """Send ``message`` and wait for the reply, blocking this thread (pykka's verb).

        Use `call` in asynchronous code.

        Args:
            block: ``False`` returns the `Reply` at once instead of waiting.
            timeout: how long to wait, in seconds; ``None`` waits without limit.

        Raises:
            BlockingCall: on a thread that runs an event loop, before anything is sent.
            CallingSelf: from inside the actor's own handler, likewise.
            AskTimeout: if ``timeout`` passes; the actor is not told and a late reply is dropped.
            ActorDeadError: if the actor has stopped, or stops before it answers.
            Exception: what the actor's handler raised.
        """
        if block:
            self._check_may_block("ask()", "'await ref.call(message)'")
        reply: Reply[Any] = Reply()
        self._send_request(Request(message, reply))
        return reply.get(timeout=timeout) if block else reply

    def _check_may_block(self, call: str, instead: str) -> None:
        system = self._system
        if system.on_any_loop() or system.on_loop():
            raise BlockingCall(call, instead)

    def call(
        self, message: Any, timeout: float | None = 5.0, *, control: bool = False
    ) -> Reply[Any]:
        """Send ``message``; awaiting the result suspends until the reply is there.

        An idle actor on the same loop answers before `call` returns; the result is the same,
        only sooner. Cancelling the waiter does not take the message back.

        Args:
            timeout: how long the reply may take, in seconds; ``None`` is without limit.
            control: use the control lane, ahead of all queued messages.

        Raises (when awaited):
            CallTimeout: if ``timeout`` passes; the actor is not told and a late reply is dropped.
            ActorDeadError: if the actor has stopped, or stops before it answers.
            Exception: what the actor's handler raised.

        Raises (at once):
            CallingSelf: from inside the actor's own handler.
            NodeNotRunning: from another thread, if the actor's node has shut down.
        """
        system = self._system
        reply: Reply[Any] = Reply()
        request = Request(message, reply)
        if get_ident() != system.thread_id:
            if control and self._state < STOPPING:
                system.post(self._deliver_control, request)
            else:
                self._send_request(request)
            if timeout is not None and not reply.done:
                system.post(system.deadlines.add, reply, timeout, self)
            return reply
        if system.inbound.entries:
            # What threads have sent by now comes first, though the loop has not got to it.
            system.inbound.accept()
        if control:
            self._deliver_control(request)
        elif self._state == IDLE and system.may_inline():
            system.run_inline(self, request)
        else:
            if self._state in (RUNNING, WAITING) and system.is_handling(self):
                msg = f"{self} called itself and would wait for ever; call the method directly"
                raise CallingSelf(msg)
            self._send_request(request)
        if timeout is not None and not reply.done:
            system.deadlines.add(reply, timeout, self)
        return reply

    def _deliver_control(self, message: Any) -> bool:
        """Put ``message`` on the control lane, on the loop's thread; false if dead."""
        if self._state >= STOPPING:
            if type(message) is Request:
                message.reply._reject(self._dead())  # as above
            return False
        extra = self._ensure_extra()
        if extra.control is None:
            extra.control = deque()
        extra.control.append(message)
        self._system.notice(self)
        return True

    # -- ending it

    @overload
    def stop(self, *, block: Literal[False], timeout: float | None = None) -> Reply[bool]: ...
    @overload
    def stop(self, *, block: Literal[True], timeout: float | None = None) -> bool: ...
    @overload
    def stop(self, *, block: bool = True, timeout: float | None = None) -> bool | Reply[bool]: ...

    def stop(self, *, block: bool = True, timeout: float | None = None) -> bool | Reply[bool]:
        """Ask the actor to stop after the messages it already has (pykka's verb).

        Messages sent later are refused. Its exit reason is normal, ``on_stop`` runs.

        Args:
            block: ``False`` returns a `Reply` to await instead of waiting.
            timeout: how long to wait, in seconds.

        Returns:
            Whether the actor was alive.

        Raises:
            BlockingCall: if it should block a thread that runs an event loop.
            CallingSelf: if it should block inside the actor's own handler.
            AskTimeout: if ``timeout`` passes; the actor still stops.
        """
        if block:
            self._check_may_block("stop()", "'await ref.stop(block=False)'")
        asked: Reply[Any] = Reply()
        stopped: Reply[bool] = Reply()

        def settle() -> None:
            try:
                asked.get()
            except ActorDeadError:
                stopped._resolve(False)  # the reply's value
            except BaseException as error:  # noqa: BLE001  # handed to whoever waits
                stopped._reject(error)
            else:
                stopped._resolve(True)

        asked._when_done(settle)
        self._send_request(Request(Stop(), asked))
        return stopped.get(timeout=timeout) if block else stopped

    def exit(self, reason: object = SHUTDOWN) -> None:
        """Send an exit signal; returns at once and does nothing if the actor is dead.

        An actor that does not trap exits ends as soon as its present handler lets it, ahead of
        queued messages; a suspended handler is cancelled. One that traps gets an `Exit` message.
        ``"normal"`` ends nobody but the sender itself; ``"kill"`` cannot be trapped, and everybody
        who watches is told at once, even if a handler refuses to end (OTP ``exit/2``).

        Args:
            reason: see `ExitReason.of`.

        Raises:
            NodeNotRunning: from another thread, if the actor's node has shut down.
        """
        if self._state != DEAD:
            self._system.send_exit(self, ExitReason.of(reason))

    def _take_exit(self, reason: ExitReason) -> None:
        """Be ended by an untrapped signal, ahead of queued messages; the first reason counts."""
        state = self._state
        if state >= EXITING:
            return
        self._reason = reason
        self._state = EXITING
        if state == IDLE:
            self._system.enqueue(self)
        elif state in (WAITING, STARTING):
            vessel = None if self._extra is None else self._extra.vessel
            if vessel is not None:
                vessel.cancel()
        # Queued: its turn comes. Running: it is looked at when the handler on the stack returns.

    def kill(self) -> None:
        """Same as ``exit("kill")``: the actor's reason becomes killed."""
        self.exit("kill")

    def wait_stopped(self) -> Reply[ExitReason]:
        """Return a reply with the exit reason, settled once the actor is fully down.

        Fully down means: hooks have run and owned tasks have ended, unless it was killed.
        """
        reply: Reply[ExitReason] = Reply()
        if self._state == DEAD:
            reply._resolve(self._reason or KILLED)
            return reply
        self._system.run_on_loop(self._on_death, lambda _ref, reason: reply._resolve(reason))
        return reply

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

    # -- links and monitors, on behalf of the calling actor

    def monitor(self) -> int:
        """Have the calling actor told, by one `Down` message, when this one ends.

        Each call is a monitor of its own. An actor that is dead already answers at once.

        Returns:
            The monitor's number, as in `Down` and for `Actor.demonitor`.

        Raises:
            NotInActor: if no actor is calling; use `wait_stopped` there.
        """
        return self._system.current_actor("monitor()").monitor(self)

    def link(self) -> None:
        """Link the calling actor and this one: the end of one is a signal to the other.

        Raises:
            NotInActor: if no actor is calling.
            ActorDeadError: if this one is dead and the caller does not trap exits (OTP ``noproc``).
        """
        self._system.current_actor("link()").link(self)

    # -- proxies

    def proxy(self) -> ActorProxy[Any]:
        """Return a pykka proxy for the actor's attributes and methods.

        Raises:
            ActorDeadError: if the actor has stopped.
        """
        if self._state >= STOPPING:
            raise self._dead()
        return ActorProxy(actor_ref=cast("Any", self))
