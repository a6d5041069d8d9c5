"""Starting and stopping one child: what static and dynamic supervisors carry out alike.

Both come as fast as the child allows: a child whose start does not suspend is running when
`start` returns, and only one that takes its time costs a wait.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

from puckstream.actors import lifecycle, links
from puckstream.actors._pykka import Stop
from puckstream.actors.actor import Actor
from puckstream.actors.mailbox import Request
from puckstream.actors.ref import ActorRef
from puckstream.actors.reply import Reply
from puckstream.actors.signals import (
    KILL,
    KILLED,
    SHUTDOWN,
    Crash,
    ExitReason,
    ParentExit,
    TimedOut,
)
from puckstream.actors.start import limit_start
from puckstream.actors.state import DEAD, EXITING
from puckstream.errors import NameTaken, Refuse, StartFailed, StartTimeout
from puckstream.supervision.child import ChildSpec, Ignore, Shutdown

if TYPE_CHECKING:
    from puckstream.actors.scheduler import Scheduler

__all__ = ["Staff", "StartContext", "Started", "is_end", "reason_of", "refusal_of"]


class StartContext(NamedTuple):
    """What a start function is given."""

    supervisor: ActorRef[Any]
    spawn: Callable[..., Reply[ActorRef[Any]]]
    """``spawn(actor_class, *args, **kwargs)``: an actor on the supervisor's node, linked to it.

    If the start function fails, whatever it has spawned is killed.
    """


class Started(NamedTuple):
    """A child that runs, and what is answered to who asked for it."""

    ref: ActorRef[Any]
    answer: Any
    """The ref, or a pair of the ref and what its start function had to tell."""


Outcome = Started | Ignore


class Staff:
    """Starts and stops the children of one supervisor."""

    __slots__ = ("_hurried", "_interrupt", "_supervisor", "_system")

    def __init__(self, supervisor: ActorRef[Any]) -> None:
        self._supervisor = supervisor
        self._system: Scheduler = supervisor._system
        self._hurried = False
        # Ends the start that is being waited for.
        self._interrupt: Callable[[], object] | None = None

    # -- start

    def start(self, spec: ChildSpec) -> Outcome | Awaitable[Outcome]:
        """Start the child of ``spec`` and link it to the supervisor.

        Returns:
            The child, or `IGNORE`, or something to await for either.

        Raises (here, or when awaited):
            StartFailed: if it did not start; nothing of it remains.
        """
        start = spec.start
        if isinstance(start, type) and issubclass(start, Actor):
            ref = lifecycle.spawn(
                self._system, start, spec.args, spec.kwargs, self._supervisor, spec.name
            )
            extra = ref._extra
            if extra is not None and extra.started is not None:
                return self._finish_start(spec, Started(ref, ref), spec.start_timeout)
            if ref._state >= EXITING:
                raise StartFailed(spec.id, ref._reason)
            return Started(ref, ref)
        return self._start_by_function(spec)

    def hurry(self) -> None:
        """Wait for no start any more, because the supervisor has been told to end.

        A child that is starting is stopped as its ``shutdown`` says; a start function that has
        not returned is cancelled. OTP's supervisor would wait for either, for ever.
        """
        self._hurried = True
        if self._interrupt is not None:
            self._interrupt()

    def calm(self) -> None:
        """Wait for starts again, unless an end that was asked for is still to be decided on.

        Called with every message: a supervisor's ``on_parent_exit`` may have refused.
        """
        if self._hurried:
            extra = self._supervisor._extra
            queued = (*(self._supervisor._box or ()), *(extra.control or () if extra else ()))
            self._hurried = any(map(is_end, queued))

    async def _finish_start(
        self, spec: ChildSpec, started: Started, seconds: float | None
    ) -> Started:
        ref = started.ref
        handshake = None if ref._extra is None else ref._extra.started
        if handshake is not None:
            if seconds is not None:
                limit_start(ref, seconds)
            self._let_interrupt(lambda: self.stop(ref, spec.shutdown))
            try:
                await handshake
            finally:
                self._interrupt = None
        if ref._state >= EXITING:
            raise StartFailed(spec.id, ref._reason)
        return started

    async def _start_by_function(self, spec: ChildSpec) -> Outcome:
        spawned: list[ActorRef[Any]] = []
        begun = self._system.clock.now()

        def spawn(actor_class: type[Actor], *args: Any, **kwargs: Any) -> Reply[ActorRef[Any]]:
            return self._spawn(spawned, actor_class, args, kwargs)

        try:
            result: Any = spec.start(
                StartContext(self._supervisor, spawn), *spec.args, **spec.kwargs
            )
            if inspect.isawaitable(result):
                result = await self._unless_hurried(spec, result)
            return await self._accept(spec, result, spawned, begun)
        except BaseException as error:
            for ref in spawned:
                self._discard(ref)
            if isinstance(error, KeyboardInterrupt) or self._supervisor._state == DEAD:
                raise
            raise _failure(spec, error) from error

    async def _accept(
        self, spec: ChildSpec, result: Any, spawned: list[ActorRef[Any]], begun: float
    ) -> Outcome:
        if isinstance(result, Ignore):
            return result
        ref = _ref_in(result)
        if ref is None:
            msg = f"child {spec.id!r}: its start function returned {result!r}, no ref or IGNORE"
            raise TypeError(msg)
        if ref._parent is not None and ref not in spawned:
            # It would be taken from a supervisor that goes on counting on it.
            msg = f"child {spec.id!r}: its start function returned {ref}, somebody's child already"
            raise TypeError(msg)
        if ref._system is not self._system:
            msg = f"child {spec.id!r}: its start function returned {ref}, an actor of another node"
            raise TypeError(msg)
        names = self._system.names
        # First: an actor that somebody else has started must not suffer from a taken name.
        if spec.name is not None and names is not None:
            names.claim(spec.name, ref)
        if ref._state != DEAD:
            links.adopt(self._supervisor, ref)
        limit = spec.start_timeout
        left = None if limit is None else max(begun + limit - self._system.clock.now(), 0.0)
        try:
            return await self._finish_start(spec, Started(ref, result), left)
        except StartTimeout as error:
            if limit is None:
                raise
            # It is the whole start that had so long.
            raise StartTimeout(spec.id, TimedOut(limit), limit) from error

    def _spawn(
        self,
        spawned: list[ActorRef[Any]],
        actor_class: type[Actor],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Reply[ActorRef[Any]]:
        reply: Reply[ActorRef[Any]] = Reply()
        try:
            ref = lifecycle.spawn(self._system, actor_class, args, kwargs, self._supervisor)
        except StartFailed as failure:
            reply._reject(failure)
            return reply
        spawned.append(ref)
        extra = ref._extra
        if extra is not None and extra.started is not None:
            return extra.started
        reply._resolve(ref)
        return reply

    async def _unless_hurried(self, spec: ChildSpec, waiting: Awaitable[Any]) -> Any:
        loop = self._system.loop
        limit = asyncio.timeout(None)
        seconds = spec.start_timeout
        late = timer = None

        def expire() -> None:
            nonlocal late
            late = seconds
            limit.reschedule(loop.time())

        if seconds is not None:
            timer = self._system.clock.call_later(seconds, expire)
        try:
            async with limit:
                self._let_interrupt(lambda: limit.reschedule(loop.time()))
                return await waiting
        except TimeoutError as error:
            if late is not None:
                raise StartTimeout(spec.id, TimedOut(late), late) from error
            if limit.expired():
                raise StartFailed(spec.id, SHUTDOWN) from error
            raise
        finally:
            self._interrupt = None
            if timer is not None:
                timer.cancel()

    def _let_interrupt(self, interrupt: Callable[[], object]) -> None:
        self._interrupt = interrupt
        if self._hurried:
            interrupt()

    def _discard(self, ref: ActorRef[Any]) -> None:
        links.disown(ref)
        self._system.kill(ref)

    # -- stop

    def stop(self, ref: ActorRef[Any], shutdown: Shutdown) -> ExitReason | Reply[ExitReason]:
        """Stop a child as its ``shutdown`` says, and have its death waited for.

        The link is cut first and the death itself watched, so that neither a child that unlinked
        nor one that ends for a reason of its own can hold the supervisor up.

        Returns:
            The reason it ended with, or a reply for it.
        """
        links.disown(ref)
        if ref._state == DEAD:
            return ref._reason or KILLED
        if shutdown == "brutal_kill":
            links.signal(self._system, ref, KILL, self._supervisor)
            return ref._reason or KILLED
        down: Reply[ExitReason] = Reply()
        timer = None
        if shutdown is not None:
            timer = self._system.clock.call_later(shutdown, self._system.kill, ref)

        def dead(_ref: ActorRef[Any], reason: ExitReason) -> None:
            if timer is not None:
                timer.cancel()
            down._resolve(reason)

        ref._on_death(dead)
        links.shut_down(ref, SHUTDOWN)
        return down


def is_end(message: Any) -> bool:
    """Whether ``message``, or the request it is, asks a supervisor to end."""
    asked = message.message if type(message) is Request else message
    return type(asked) is ParentExit or type(asked) is Stop


def reason_of(error: StartFailed) -> ExitReason:
    """Return why a child did not start, as an exit reason."""
    return error.reason if isinstance(error.reason, ExitReason) else Crash(error)


def refusal_of(error: StartFailed) -> Refuse:
    """Return what to answer to who has asked for a start that failed.

    That a name is taken is said as such, so that the caller can go on with its holder (OTP passes
    ``already_started`` on as it is).
    """
    match error.reason:
        case Crash(NameTaken() as taken):
            return Refuse(taken)
        case _:
            return Refuse(error)


def _ref_in(result: Any) -> ActorRef[Any] | None:
    match result:
        case (first, _) if _is_ref(first):
            return first
        case _:
            return result if _is_ref(result) else None


def _is_ref(value: object) -> TypeGuard[ActorRef[Any]]:
    return isinstance(value, ActorRef)


def _failure(spec: ChildSpec, error: BaseException) -> StartFailed:
    if isinstance(error, StartTimeout):
        return StartTimeout(spec.id, error.reason, error.seconds)
    if isinstance(error, StartFailed):
        return StartFailed(spec.id, error.reason)
    return StartFailed(spec.id, Crash(error))
