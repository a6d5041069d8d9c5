"""`DynamicSupervisor`: children that come and go by the thousand (Elixir ``DynamicSupervisor``).

Children are known by their refs, have no order, and are restarted one for one. A child costs an
entry in a table; its spec is shared by all that were started from the same one.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import replace
from types import TracebackType
from typing import Any, ClassVar, Literal, NamedTuple

from puckstream.actors import links
from puckstream.actors.actor import Actor
from puckstream.actors.ref import ActorRef
from puckstream.actors.reply import Reply
from puckstream.actors.signals import KILL, KILLED, SHUTDOWN, Exit, ExitReason
from puckstream.actors.state import DEAD
from puckstream.errors import ChildNotFound, InvalidSpec, Refuse, StartFailed, TooManyChildren
from puckstream.supervision import handle
from puckstream.supervision.action import Report
from puckstream.supervision.child import ChildSpec, Flags, Ignore
from puckstream.supervision.intensity import add_restart
from puckstream.supervision.place import ChildRow, Counts
from puckstream.supervision.report import log_report
from puckstream.supervision.staff import Staff, Started, reason_of, refusal_of
from puckstream.supervision.strategy import (
    Verdict,
    is_shutdown_error,
    is_worth_reporting,
    on_dynamic_exit,
)
from puckstream.supervision.survey import state_of, survey_row
from puckstream.supervision.tree import Tree

__all__ = ["DynamicSupervisor"]


class _TryAgain(NamedTuple):
    """A restart that failed or was delayed, behind the requests that already wait."""

    ref: ActorRef[Any]


class _Waiting(NamedTuple):
    """A child between two attempts to start, known by the ref it last had."""

    spec: ChildSpec
    attempts: int
    restarts: int
    cause: ExitReason
    """Why it ended, or did not start."""


class _History(NamedTuple):
    """What is kept of a child that was restarted; ``attempts`` are those in a row."""

    restarts: int
    attempts: int
    started_at: float


_NO_HISTORY = _History(0, 0, 0.0)


class DynamicSupervisor(Actor):
    """Starts children on request, restarts those that want it, stops all at once.

    Args:
        intensity: restarts allowed within ``period``; one more ends the supervisor.
        period: the window, in seconds, above 0.
        max_children: how many there may be, those being restarted included; ``None`` is any
            number.
        extra_args: put before every child's own arguments, at restarts too.
        classify: given an exit reason for which a child would be restarted, answers
            ``"restart"``, ``"stop"`` or ``"escalate"``.

    Raises:
        InvalidSpec: if a flag has an impossible value.
    """

    trap_exit = True
    child_type: ClassVar[Literal["worker", "supervisor"]] = "supervisor"
    _ref_class: ClassVar[type[ActorRef[Any]]] = handle.DynamicSupervisorRef

    def __init__(
        self,
        *,
        intensity: int = 3,
        period: float = 5.0,
        max_children: int | None = None,
        extra_args: tuple[Any, ...] = (),
        classify: Callable[[ExitReason], Verdict] | None = None,
    ) -> None:
        super().__init__()
        self._flags = Flags("one_for_one", intensity, period)
        if max_children is not None and (type(max_children) is not int or max_children < 0):
            raise InvalidSpec("max_children", max_children, "a whole number ≥ 0, or None")
        self._max_children = max_children
        self._extra_args = tuple(extra_args)
        self._classify = classify
        self._children: dict[ActorRef[Any], ChildSpec] = {}
        # Only children that have been restarted are here.
        self._histories: dict[ActorRef[Any], _History] = {}
        self._waiting: dict[ActorRef[Any], _Waiting] = {}
        # Those being stopped, which may have to be described once more.
        self._leaving: dict[ActorRef[Any], ChildSpec] = {}
        self._restarts: tuple[float, ...] = ()
        self._forgotten: ChildSpec | None = None
        self._staff = Staff(self.actor_ref)
        self._born = self._now()

    def _now(self) -> float:
        return self.actor_ref._system.clock.now()

    # -- messages

    def on_receive(self, message: Any) -> Any:
        """Serve exits, retries and admin calls."""
        self._staff.calm()
        if type(message) is handle.StartChild:
            return self._start_child(message.spec)
        if type(message) is Exit:
            return None if message.ref is None else self._exited(message.ref, message.reason)
        if type(message) is _TryAgain:
            return self._attempt(message.ref)
        match message:
            case handle.TerminateChild(ref):
                return self._terminate(ref)
            case handle.CountChildren():
                return self._count()
            case handle.WhichChildren():
                return self.rows()
            case handle.WhichChild(ref):
                return self._row(ref)
            case handle.GetChildSpec(ref):
                return self._row(ref).spec
            case _:
                return super().on_receive(message)

    # -- start

    def _start_child(self, spec: ChildSpec) -> Any:
        limit = self._max_children
        if limit is not None and len(self._children) + len(self._waiting) >= limit:
            problem = f"cannot be started: there are max_children={limit}"
            raise Refuse(TooManyChildren(spec.id, problem))
        if self._extra_args:
            spec = _with_extra(spec, self._extra_args)
        try:
            started = self._staff.start(spec)
        except StartFailed as failure:
            raise refusal_of(failure) from failure
        if isinstance(started, Started):
            self._keep(started.ref, spec)
            return started.answer
        if isinstance(started, Ignore):
            return None
        return self._keep_when_started(started, spec)

    async def _keep_when_started(
        self, starting: Awaitable[Started | Ignore], spec: ChildSpec
    ) -> Any:
        try:
            started = await starting
        except StartFailed as failure:
            raise refusal_of(failure) from failure
        if isinstance(started, Ignore):
            return None
        self._keep(started.ref, spec)
        return started.answer

    def _keep(self, ref: ActorRef[Any], spec: ChildSpec) -> None:
        if spec.restart == "temporary" and (spec.args or spec.kwargs):
            # Never started again, so its arguments need not stay in memory (OTP does the same).
            spec = self._forgotten = spec.forget_arguments(self._forgotten)
        self._children[ref] = spec

    # -- exits and restarts

    def _exited(self, ref: ActorRef[Any], reason: ExitReason) -> Any:
        spec = self._children.pop(ref, None)
        if spec is None:
            return None
        self.child_exited(ref, spec, reason)
        restarts, attempts, started_at = self._histories.pop(ref, _NO_HISTORY)
        decision = on_dynamic_exit(spec, reason, self._classify)
        if decision == "restart":
            backoff = spec.backoff
            if backoff is None:
                self._waiting[ref] = _Waiting(spec, 0, restarts, reason)
                return self._attempt(ref)
            if self._now() - started_at >= backoff.reset_after:
                attempts = 0
            self._waiting[ref] = _Waiting(spec, attempts, restarts, reason)
            self._retry(ref)
            return None
        if decision == "escalate":
            self.finish(reason)
        return None

    def child_exited(self, ref: ActorRef[Any], spec: ChildSpec, reason: ExitReason) -> None:
        """Take note of a child's own end, before it is decided what follows; for subclasses.

        This one reports it.
        """
        if is_worth_reporting(spec.restart, reason):
            self._report(Report("child_terminated", spec.id, ref, reason, self._restarts_of(ref)))

    def _attempt(self, ref: ActorRef[Any]) -> Any:
        waiting = self._waiting.get(ref)
        if waiting is None:
            return None
        flags = self._flags
        self._restarts, allowed = add_restart(
            self._restarts, self._now(), flags.intensity, flags.period
        )
        if not allowed:
            spec, cause, restarts = waiting.spec, waiting.cause, waiting.restarts
            self._report(Report("reached_max_restart_intensity", spec.id, None, cause, restarts))
            del self._waiting[ref]
            self.finish(SHUTDOWN)
            return None
        try:
            started = self._staff.start(waiting.spec)
        except StartFailed as failure:
            self._attempt_failed(ref, failure)
            return None
        if isinstance(started, (Started, Ignore)):
            self._restarted(ref, started)
            return None
        return self._finish_attempt(ref, started)

    async def _finish_attempt(
        self, ref: ActorRef[Any], starting: Awaitable[Started | Ignore]
    ) -> None:
        try:
            started = await starting
        except StartFailed as failure:
            self._attempt_failed(ref, failure)
        else:
            self._restarted(ref, started)

    def _restarted(self, old: ActorRef[Any], started: Started | Ignore) -> None:
        waiting = self._waiting.pop(old)
        if isinstance(started, Started):
            self._children[started.ref] = waiting.spec
            self._histories[started.ref] = _History(
                waiting.restarts + 1, waiting.attempts, self._now()
            )

    def _attempt_failed(self, ref: ActorRef[Any], failure: StartFailed) -> None:
        waiting, reason = self._waiting[ref], reason_of(failure)
        self._report(Report("start_error", waiting.spec.id, None, reason, waiting.restarts))
        self._waiting[ref] = waiting._replace(cause=reason)
        self._retry(ref)

    def _retry(self, ref: ActorRef[Any]) -> None:
        waiting = self._waiting[ref]
        attempts, backoff = waiting.attempts, waiting.spec.backoff
        self._waiting[ref] = waiting._replace(attempts=attempts + 1)
        if backoff is None:
            # By way of the loop, so that a restart that keeps failing at once starves nobody.
            own = self.actor_ref
            own._system.loop.call_soon(own._deliver, _TryAgain(ref))
        else:
            delay = backoff.delay(attempts, random.random())  # jitter, no secret
            self.send_after(delay, _TryAgain(ref))

    # -- stop

    def _terminate(self, ref: ActorRef[Any]) -> Any:
        if self._waiting.pop(ref, None) is not None:
            return None
        spec = self._children.pop(ref, None)
        if spec is None:
            raise _unknown(ref)
        self._leaving[ref] = spec
        reason = self._staff.stop(ref, spec.shutdown)
        if not isinstance(reason, ExitReason):
            return self._finish_stop(ref, spec, reason)
        self._stopped(ref, spec, reason)
        return None

    async def _finish_stop(
        self, ref: ActorRef[Any], spec: ChildSpec, stopping: Reply[ExitReason]
    ) -> None:
        self._stopped(ref, spec, await stopping)

    def _stopped(self, ref: ActorRef[Any], spec: ChildSpec, reason: ExitReason) -> None:
        self._check_stop(ref, spec, reason)
        del self._leaving[ref]
        self._histories.pop(ref, None)

    def _check_stop(self, ref: ActorRef[Any], spec: ChildSpec, reason: ExitReason) -> None:
        asked = KILLED if spec.shutdown == "brutal_kill" else SHUTDOWN
        if is_shutdown_error(spec.restart, reason, asked, dynamic=True):
            self._report(Report("shutdown_error", spec.id, ref, reason, self._restarts_of(ref)))

    def on_stop(self) -> Awaitable[None] | None:
        """Stop all children at once, each within its own shutdown time."""
        children, self._children = self._children, {}
        self._leaving = children
        self._waiting.clear()
        if not children:
            return None
        everybody: Reply[None] = Reply()
        remaining = len(children)
        system = self.actor_ref._system
        by_time: dict[float, list[ActorRef[Any]]] = {}

        own = self.actor_ref._ensure_extra()

        def down(ref: ActorRef[Any], reason: ExitReason) -> None:
            nonlocal remaining
            self._check_stop(ref, children[ref], reason)
            remaining -= 1
            if not remaining:
                own.mourner = None
                everybody._resolve(None)

        own.mourner = down
        own.links = {peer: None for peer in own.links or () if peer not in children}
        for ref, spec in children.items():
            if ref._state == DEAD:
                down(ref, ref._reason or KILLED)
                continue
            if ref._parent is not self.actor_ref:
                ref._on_death(down)
            shutdown = spec.shutdown
            if shutdown == "brutal_kill":
                links.signal(system, ref, KILL, None)
                continue
            if shutdown is not None:
                by_time.setdefault(shutdown, []).append(ref)
            links.shut_down(ref, SHUTDOWN)
        # One timer for all children that have equally long.
        timers = [
            system.clock.call_later(seconds, _kill_all, system, refs)
            for seconds, refs in by_time.items()
        ]

        async def wait() -> None:
            # If this actor is killed meanwhile, the timers see to it that the children end.
            await everybody
            for timer in timers:
                timer.cancel()

        return wait()

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> Awaitable[None] | None:
        """Stop all children likewise: ``classify`` raised, or a handler of a subclass."""
        del exception_type, exception_value, traceback
        return self.on_stop()

    def hurry(self) -> None:
        """Give up waiting for a child to start; called as soon as the end is asked for."""
        self._staff.hurry()

    # -- what there is to see

    def _count(self) -> Counts:
        specs = [*self._children.values(), *(waiting.spec for waiting in self._waiting.values())]
        supervisors = sum(spec.type == "supervisor" for spec in specs)
        return Counts(len(specs), len(self._children), supervisors, len(specs) - supervisors)

    def rows(self) -> tuple[ChildRow[ActorRef[Any]], ...]:
        """Return every child, in the order they were started; their start times are not kept."""
        return tuple(self._row(ref) for ref in (*self._children, *self._waiting))

    def _row(self, ref: ActorRef[Any]) -> ChildRow[ActorRef[Any]]:
        spec = self._children.get(ref)
        if spec is not None:
            return ChildRow(spec, ref, "running", self._restarts_of(ref), 0.0)
        waiting = self._waiting.get(ref)
        if waiting is None:
            raise _unknown(ref)
        return ChildRow(waiting.spec, None, "restarting", waiting.restarts, 0.0)

    def describe_child(self, ref: ActorRef[Any]) -> tuple[Hashable, int]:
        """Return a child's id and how often it has been restarted, for reports about it.

        It takes the same time however many children there are. What is no child, or none yet,
        goes by the name of its class.
        """
        spec = self._children.get(ref) or self._leaving.get(ref)
        if spec is None:
            return ref.actor_class.__name__, 0
        return spec.id, self._restarts_of(ref)

    def survey(self, id: Hashable) -> Tree:  # the field's name
        """Return a snapshot of this supervisor and all below it."""
        now = self._now()
        flags = self._flags
        return Tree(
            id=id,
            ref=self.actor_ref,
            kind="supervisor",
            state=state_of(self.actor_ref),
            strategy="one_for_one",
            intensity=flags.intensity,
            period=flags.period,
            restarts_in_window=sum(at >= now - flags.period for at in self._restarts),
            mailbox=self.actor_ref.mailbox_length,
            uptime=now - self._born,
            children=tuple(survey_row(row, now) for row in self.rows()),
        )

    def _restarts_of(self, ref: ActorRef[Any]) -> int:
        return self._histories.get(ref, _NO_HISTORY).restarts

    def _report(self, report: Report[ActorRef[Any], ExitReason]) -> None:
        log_report(self.actor_ref, self._flags, report)


def _unknown(ref: ActorRef[Any]) -> Refuse:
    return Refuse(ChildNotFound(ref, "is not a child of this supervisor"))


def _with_extra(spec: ChildSpec, extra: tuple[Any, ...]) -> ChildSpec:
    return replace(spec, args=(*extra, *spec.args))


def _kill_all(system: Any, refs: list[ActorRef[Any]]) -> None:
    for ref in refs:
        system.kill(ref)
