"""`ActorRef`: the handle by which everybody else knows an actor.

Attributes with an underscore belong to the engine; see `puckstream.actors.cell`.
"""

from __future__ import annotations

import threading
import uuid
from threading import get_ident
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, overload

from puckstream.actors._pykka import ActorDeadError, ActorProxy, Stop
from puckstream.actors.cell import Cell
from puckstream.actors.mailbox import Request
from puckstream.actors.reply import Reply
from puckstream.actors.signals import KILLED, SHUTDOWN, ExitReason
from puckstream.actors.state import DEAD, EXITING, IDLE, NAMES, QUEUED, RUNNING, STOPPING
from puckstream.errors import BlockingCall, CallingSelf, NodeNotRunning

if TYPE_CHECKING:
    from puckstream.actors.actor import Actor

__all__ = ["ActorRef"]

A = TypeVar("A", bound="Actor")


class ActorRef(Cell[A]):
    """A running actor, as seen from outside; safe to pass around, compare and hash.

    Every method works from the loop, from other actors and from any thread. Messages from one
    sender arrive in the order they were sent.
    """

    __slots__ = ()

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
            CallingSelf: from inside the actor's own handler or ``on_start``.
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
        if not control and self._state == IDLE and system.may_inline():
            system.run_inline(self, request)
        else:
            if RUNNING <= self._state <= EXITING and system.is_handling(self):
                msg = f"{self} called itself and would wait for ever; call the method directly"
                raise CallingSelf(msg)
            if control:
                self._deliver_control(request)
            else:
                self._send_request(request)
        if timeout is not None and not reply.done:
            system.deadlines.add(reply, timeout, self)
        return reply

    # -- ending it

    @overload
    def stop(self, *, block: Literal[False], timeout: float | None = None) -> Reply[bool]: ...
    @overload
    def stop(self, *, block: Literal[True], timeout: float | None = None) -> bool: ...
    @overload
    def stop(self, *, block: bool = True, timeout: float | None = None) -> bool | Reply[bool]: ...

    def stop(self, *, block: bool = True, timeout: float | None = None) -> bool | Reply[bool]:
        """Ask the actor to stop after the messages it already has (pykka's verb).

        Messages sent later are refused. Its exit reason is normal, ``on_stop`` runs. One that is
        suspended stops at once. The answer comes when the actor is fully down, also to those who
        ask while it is stopping already. So its own handlers may ask, and not wait: the reply
        cannot come before they have returned. (`Actor.stop` is the same without a reply.)

        Args:
            block: ``False`` returns a `Reply` to await instead of waiting.
            timeout: how long to wait until it is down, in seconds.

        Returns:
            Whether the actor took messages when it was asked; at once from inside its own
            ``on_stop`` or ``on_failure``.

        Raises (here, or when awaited):
            AskTimeout: if ``timeout`` passes; the actor still stops.

        Raises (at once):
            BlockingCall: if it should block a thread that runs an event loop.
            CallingSelf: if it should block inside the actor's own handler.
        """
        if block:
            self._check_may_block("stop()", "'await ref.stop(block=False)'")
        asked: Reply[Any] = Reply()
        stopped: Reply[bool] = Reply()

        def settle() -> None:
            try:
                asked.get()
            except ActorDeadError:
                self._answer_when_down(stopped)
            except BaseException as error:  # noqa: BLE001  # handed to whoever waits
                stopped._reject(error)
            else:
                stopped._resolve(True)

        asked._when_done(settle)
        self._send_request(Request(Stop(), asked))
        if block:
            return stopped.get(timeout=timeout)
        if timeout is not None and not stopped.done:
            self._system.run_on_loop(self._system.deadlines.add, stopped, timeout, self)
        return stopped

    def _answer_when_down(self, stopped: Reply[bool]) -> None:
        """Answer a request to stop that has come too late."""
        if self._state == DEAD or self._is_handling():
            stopped._resolve(False)  # the reply's value
            return
        try:
            self._system.run_on_loop(
                self._on_death,
                lambda _ref, _reason: stopped._resolve(False),  # likewise
            )
        except NodeNotRunning:
            stopped._resolve(False)  # likewise

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
