"""Starting and stopping one child: what static and dynamic supervisors carry out alike.

Both come as fast as the child allows: a child whose start does not suspend is running when
`start` returns, and only one that takes its time costs a wait.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from puckstream.actors import lifecycle, links
from puckstream.actors.actor import Actor
from puckstream.actors.ref import ActorRef
from puckstream.actors.reply import Reply
from puckstream.actors.signals import KILL, KILLED, SHUTDOWN, Crash, ExitReason
from puckstream.actors.state import DEAD, STARTING
from puckstream.errors import StartFailed
from puckstream.supervision.child import IGNORE, ChildSpec, Ignore, Shutdown

if TYPE_CHECKING:
    from puckstream.actors.scheduler import Scheduler

__all__ = ["Staff", "StartContext", "Started", "reason_of"]


class StartContext(NamedTuple):
    """What a start function is given."""

    supervisor: ActorRef[Any]
    spawn: Callable[..., Reply[ActorRef[Any]]]
    """``spawn(actor_class, *args, **kwargs)``: an actor on the supervisor's node."""


class Started(NamedTuple):
    """A child that runs, and what its start function wanted to tell about it."""

    ref: ActorRef[Any]
    info: Any = None


Outcome = Started | Ignore


class Staff:
    """Starts and stops the children of one supervisor."""

    __slots__ = ("_supervisor", "_system")

    def __init__(self, supervisor: ActorRef[Any]) -> None:
        self._supervisor = supervisor
        self._system: Scheduler = supervisor._system

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
            ref = lifecycle.spawn(self._system, start, spec.args, spec.kwargs, self._supervisor)
            if ref._state == STARTING or spec.name is not None:
                return self._finish_start(spec, ref)
            return Started(ref)
        return self._start_by_function(spec)

    async def _finish_start(self, spec: ChildSpec, ref: ActorRef[Any]) -> Started:
        extra = ref._extra
        if extra is not None and extra.started is not None:
            await extra.started
        return await self._name(spec, Started(ref))

    async def _start_by_function(self, spec: ChildSpec) -> Outcome:
        context = StartContext(self._supervisor, self._spawn)
        try:
            result: Any = spec.start(context, *spec.args, **spec.kwargs)
            if inspect.isawaitable(result):
                result = await result
        except Exception as error:
            raise StartFailed(spec.id, Crash(error)) from error
        if result is IGNORE:
            return IGNORE
        match result:
            case ActorRef():
                started = Started(result)
            case (ActorRef() as ref, info):
                started = Started(ref, info)
            case _:
                msg = (
                    f"start function of child {spec.id!r} returned {result!r}, not a ref or IGNORE"
                )
                raise StartFailed(spec.id, Crash(TypeError(msg)))
        if started.ref._state == DEAD:
            raise StartFailed(spec.id, started.ref.reason)
        links.adopt(self._supervisor, started.ref)
        return await self._name(spec, started)

    def _spawn(self, actor_class: type[Actor], *args: Any, **kwargs: Any) -> Reply[ActorRef[Any]]:
        reply: Reply[ActorRef[Any]] = Reply()
        try:
            ref = lifecycle.spawn(self._system, actor_class, args, kwargs)
        except StartFailed as failure:
            reply._reject(failure)
            return reply
        extra = ref._extra
        if ref._state == STARTING and extra is not None and extra.started is not None:
            return extra.started
        reply._resolve(ref)
        return reply

    async def _name(self, spec: ChildSpec, started: Started) -> Started:
        names = self._system.names
        if spec.name is None or names is None:
            return started
        try:
            await names.register(spec.name, started.ref)
        except Exception as error:
            # A child that could not get its name has not started (OTP: already_started).
            links.disown(started.ref)
            started.ref.kill()
            raise StartFailed(spec.id, Crash(error)) from error
        return started

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


def reason_of(error: StartFailed) -> ExitReason:
    """Return why a child did not start, as an exit reason."""
    return error.reason if isinstance(error.reason, ExitReason) else Crash(error)
